# ruff: noqa: E501 (programs in one line each)
"""Honest programs get the verdict that one shared namespace gives them: the oracle is `exec` of program and tests."""

import textwrap

import pytest

from hornbook.sandbox.execute import run_programs
from hornbook.sandbox.probe import choose_backend
from hornbook.sandbox.programs import Program, generous_limits, makes_objects

# name: program, tests
CASES = {
    "typed signature": ("from typing import List\ndef f(x: List[int]) -> int:\n    return sum(x)\n", "assert f([1, 2]) == 3"),
    "exact types": ("def f(x): return x / 2\n", "assert f(4) == 2 and isinstance(f(4), float) and f(4) is not 2"),
    "tuple is no list": ("def f(x): return [x, x]\n", "assert f(1) != (1, 1) and f(1) == [1, 1]"),
    "nan and infinity": ("def f(x): return [x, float('inf')]\n", "import math\nassert math.isnan(f(float('nan'))[0])"),
    "big integers": ("def f(n): return 7 ** n\n", "assert f(9000) == 7 ** 9000"),
    "keywords and stars": (
        "def f(*a, b=1, **k): return a, b, k\n",
        "assert f(1, 2, b=3, verb=4, self=5) == ((1, 2), 3, {'verb': 4, 'self': 5})",
    ),
    "in place": (
        "def f(x):\n    x.sort()\n    x[0].append(9)\n",
        "x = [[2], [1]]\ny = x[1]\nassert f(x) is None\nassert x == [[1, 9], [2]] and x[0] is y",
    ),
    "gives its argument back": ("def f(x): return x\n", "x = [1]\nassert f(x) is x"),
    "gives a copy": ("def f(x): return list(x)\n", "x = [[1]]\nassert f(x) == x and f(x) is not x and f(x)[0] is x[0]"),
    "shallow where deep was asked": (
        "def f(x): return list(x)\n",
        "x = [[1]]\nc = f(x)\nc[0].append(2)\nassert x == [[1]]",
    ),
    "rows that are one row": ("def f(n): return [[0] * n] * n\n", "g = f(2)\ng[0][0] = 1\nassert g == [[1, 0], [0, 0]]"),
    "default dict": (
        "from collections import defaultdict\ndef f(w):\n    d = defaultdict(list)\n    for x in w: d[len(x)].append(x)\n"
        "    return d\n",
        "d = f(['a', 'bb'])\nassert d == {1: ['a'], 2: ['bb']} and d[7] == []",
    ),
    "counter argument": (
        "def f(c): c.update('ab')\n",
        "from collections import Counter\nc = Counter('a')\nf(c)\nassert c == Counter('aab')",
    ),
    "generator": ("def f(n):\n    for i in range(n): yield i\n", "g = f(3)\nassert next(g) == 0 and list(g) == [1, 2]"),
    "endless generator": (
        "def f():\n    n = 0\n    while True:\n        yield n\n        n += 1\n",
        "from itertools import islice\nassert list(islice(f(), 3)) == [0, 1, 2]",
    ),
    "generator that is sent to": (
        "def f():\n    total = 0\n    while True: total += yield total\n",
        "g = f()\nnext(g)\nassert g.send(2) == 2 and g.send(3) == 5",
    ),
    "closure": ("def f(n): return lambda x: x + n\n", "assert f(2)(3) == 5 and callable(f(1))"),
    "functions of the tests": (
        "def f(g, x): return [g(y) for y in x], sorted(x, key=g)\n",
        "assert f(lambda y: -y, [1, 2]) == ([-1, -2], [2, 1])\nassert f(len, ['bb', 'a'])[1] == ['a', 'bb']",
    ),
    "a function handed back": ("def f(b, g, h): return g if b else h\n", "assert f(True, len, str) is len"),
    "decorator": (
        "import functools\ndef f(g):\n    @functools.wraps(g)\n    def h(*a):\n        h.calls += 1\n        return g(*a)\n"
        "    h.calls = 0\n    return h\n",
        "@f\ndef double(x): return 2 * x\nassert double(4) == 8 and double.calls == 1 and double.__name__ == 'double'",
    ),
    "cache": (
        "from functools import lru_cache\n@lru_cache\ndef f(n): return n if n < 2 else f(n - 1) + f(n - 2)\n",
        "assert f(30) == 832040 and f.cache_info().misses == 31",
    ),
    "exception": (
        "def f(x):\n    if x < 0: raise ValueError(f'{x} is negative')\n",
        "try:\n    f(-1)\n    assert False\nexcept ValueError as e:\n    assert str(e) == '-1 is negative'",
    ),
    "own exception": (
        "class TooFew(Exception):\n    def __init__(self, n):\n        super().__init__(f'only {n}')\n        self.n = n\n"
        "def f(x): raise TooFew(x)\n",
        "try:\n    f(2)\n    assert False\nexcept TooFew as e:\n    assert e.n == 2 and str(e) == 'only 2'",
    ),
    "family of exceptions": (
        "class Base(Exception): pass\nclass Derived(Base): pass\ndef f(): raise Derived('x')\n",
        "try:\n    f()\n    assert False\nexcept Base as e:\n    assert type(e).__name__ == 'Derived'",
    ),
    "chained exception": (
        "def f(x):\n    try: return int(x)\n    except ValueError as e: raise TypeError('bad') from e\n",
        "try:\n    f('x')\n    assert False\nexcept TypeError as e:\n    assert isinstance(e.__cause__, ValueError)",
    ),
    "class": (
        "class Stack:\n    def __init__(self): self.items = []\n    def push(self, x):\n        self.items.append(x)\n"
        "        return self\n    def __len__(self): return len(self.items)\n    def __iter__(self): return iter(self.items)\n",
        "s = Stack()\nassert s.push(1).push(2) is s and len(s) == 2 and list(s) == [1, 2] and s.items == [1, 2]",
    ),
    "operators": (
        "class V:\n    def __init__(self, x): self.x = x\n    def __add__(self, o): return V(self.x + o.x)\n"
        "    def __mul__(self, n): return V(self.x * n)\n    __rmul__ = __mul__\n"
        "    def __eq__(self, o): return self.x == o.x\n    def __repr__(self): return f'V({self.x})'\n",
        "assert V(1) + V(2) == V(3) and 2 * V(2) == V(4) and repr(V(1)) == 'V(1)' and V(1) != V(2)",
    ),
    "property": (
        "class C:\n    def __init__(self): self.x = 1\n    @property\n    def y(self): return self.x + 1\n",
        "c = C()\nc.x = 4\nassert c.y == 5\ntry:\n    c.y = 1\n    assert False\nexcept AttributeError: pass",
    ),
    "inheritance": (
        "class A:\n    def who(self): return 'a'\nclass B(A):\n    def who(self): return 'b' + super().who()\n",
        "assert B().who() == 'ba' and isinstance(B(), A) and issubclass(B, A) and not isinstance(A(), B)",
    ),
    "linked nodes": (
        "class Node:\n    def __init__(self, v, n=None): self.v, self.n = v, n\n"
        "def f(a):\n    b = None\n    while a: a.n, b, a = b, a, a.n\n    return b\n",
        "a = Node(1, Node(2))\nb = a.n\nassert f(a) is b and b.n is a and a.n is None",
    ),
    "context manager": (
        "class C:\n    def __enter__(self): return self\n    def __exit__(self, *e): self.left = True\n",
        "with C() as c: pass\nassert c.left",
    ),
    "dataclass": (
        "from dataclasses import dataclass\n@dataclass(order=True)\nclass P:\n    x: int\n    y: int = 0\n",
        "assert P(1) == P(1, 0) and P(1) < P(2) and repr(P(1)) == 'P(x=1, y=0)'",
    ),
    "subclass of list": ("class L(list):\n    def total(self): return sum(self)\n", "assert L([1, 2]) == [1, 2] and L([1]).total() == 1"),
    "enumeration": (
        "from enum import Enum\nclass C(Enum):\n    A = 1\n    B = 2\ndef f(c): return C.B if c is C.A else C.A\n",
        "assert f(C.A) is C.B and f(C.B).name == 'A' and [c.value for c in C] == [1, 2]",
    ),
    "namedtuple": (
        "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)\n",
        "assert f() == (1, 2) and f().y == 2 and f() == P(1, 2)",
    ),
    "dates": (
        "from datetime import date, timedelta\ndef f(d): return d + timedelta(days=1)\n",
        "assert f(date(2024, 2, 28)) == date(2024, 2, 29)",
    ),
    "decimals": ("from decimal import Decimal\ndef f(x): return Decimal(x) * 2\n", "assert f('1.10') == Decimal('2.20')"),
    "match object": ("import re\ndef f(s): return re.match('a+$', s)\n", "assert f('aa')\nassert not f('ab')"),
    "coroutine": ("async def f(x): return x + 1\n", "import asyncio\nassert asyncio.run(f(1)) == 2"),
    "sentinel": ("def f(d, k, default): return d.get(k, default)\n", "s = object()\nassert f({}, 1, s) is s"),
    "constant": ("LIMIT = 3\ndef f(x): return min(x, LIMIT)\n", "assert f(9) == LIMIT"),
    "tests that print": ("def f(x): return x\n", "print(f('x' * 100))\nassert f(1) == 1"),
    "tests with a class": (
        "def f(x): return 2 * x\n",
        "class T:\n    double = staticmethod(f)\n    values: list = [f(1)]\nassert T.double(2) == 4 and T.values == [2]",
    ),
    "threads": (
        "from concurrent.futures import ThreadPoolExecutor\ndef f(g, x):\n    with ThreadPoolExecutor(2) as p: return list(p.map(g, x))\n",
        "assert f(lambda y: y + 1, [1, 2, 3]) == [2, 3, 4]",
    ),
    "nodes from a helper": (
        "class Node:\n    def __init__(self, v, n=None): self.v, self.n = v, n\n"
        "def build(items):\n    node = None\n    for item in reversed(items): node = Node(item, node)\n    return node\n"
        "def f(node):\n    total = 0\n    while node: total, node = total + node.v, node.n\n    return total\n",
        "assert f(build([1, 2, 3])) == 6",
    ),
    "context manager that swallows": (
        "import contextlib\n@contextlib.contextmanager\ndef ignoring(kind):\n    try: yield\n    except kind: pass\n",
        "with ignoring(ValueError):\n    raise ValueError('x')\n",
    ),
    "wrong": ("def f(x): return x\n", "assert f(1) == 2"),
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes():  # type: ignore[no-untyped-def]
    programs = [
        Program(name, source, (tests,), source, "f", makes_objects(source), trusted)
        for trusted in (True, False)
        for name, (source, tests) in CASES.items()
    ]
    verdicts = list(run_programs(programs, generous_limits(2.0, 512), 2, choose_backend()))
    half = len(verdicts) // 2
    return {one.id: (one, other) for one, other in zip(verdicts[:half], verdicts[half:], strict=True)}


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("name", CASES)
def test_the_verdict_is_that_of_one_namespace(outcomes, name: str) -> None:  # type: ignore[no-untyped-def]
    source, tests = CASES[name]
    namespace: dict[str, object] = {"__name__": "candidate"}
    try:
        exec(textwrap.dedent(source), namespace)
        exec(tests, namespace)
        expected = "passed"
    except AssertionError:
        expected = "failed"
    assert [verdict.outcome for verdict in outcomes[name]] == [expected] * 2, outcomes[name]
