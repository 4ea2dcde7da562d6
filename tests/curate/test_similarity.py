"""Canonical forms of programs, and Jaccard similarity of word n-grams."""

import ast
import random
from textwrap import indent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hornbook.curate.similarity import canonical_form, definitions_of, jaccard, renamed, word_ngrams

WORDS = st.lists(st.sampled_from("abcd"), max_size=12)


def form(source):
    return canonical_form(next(iter(definitions_of(ast.parse(source)))))[0]


BASE = '''
def total(numbers, limit=3):
    """Add up what is above the limit."""
    result = 0
    for number in numbers:
        if number > limit:
            result += number
    return result
'''

SAME = {
    "names": BASE.replace("numbers", "xs").replace("number", "x").replace("result", "r").replace("total", "f"),
    "docstring": BASE.replace('"""Add up what is above the limit."""', "'Other words.'"),
    "no docstring": BASE.replace('    """Add up what is above the limit."""\n', ""),
    "comments and layout": BASE.replace("result = 0", "result = (0)  # start\n\n"),
    "annotations": BASE.replace("numbers, limit=3", "numbers: list[int], limit: int = 3").replace("):", ") -> int:"),
    "annotated assignment": BASE.replace("result = 0", "result: int = 0"),
    "pass": BASE.replace("result = 0", "pass\n    result = 0"),
}
OTHER = {
    "constant": BASE.replace("result = 0", "result = 1"),
    "kind of constant": BASE.replace("result = 0", "result = 0.0"),
    "default": BASE.replace("limit=3", "limit=4"),
    "operator": BASE.replace(">", ">="),
    "swapped names": BASE.replace("number > limit", "limit > number"),
    "assignment": BASE.replace("+=", "="),
    "no return": BASE.replace("    return result\n", ""),
    "parameters in another order": BASE.replace("numbers, limit=3", "limit, numbers"),
}


@pytest.mark.parametrize("variant", SAME.values(), ids=SAME)
def test_what_does_not_count(variant):
    assert form(variant) == form(BASE)


@pytest.mark.parametrize("variant", OTHER.values(), ids=OTHER)
def test_what_counts(variant):
    assert form(variant) != form(BASE)


NESTED = "def f(x):\n    def g(y):\n        return x\n    return g"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        # builtins and modules keep their names
        ("def f(x):\n    return sum(x)", "def g(y):\n    return max(y)", False),
        ("def f(x):\n    return math.sqrt(x)", "def f(x):\n    return cmath.sqrt(x)", False),
        ("def f(x):\n    return x.lower()", "def f(x):\n    return x.upper()", False),
        # a keyword names a parameter of what is called
        ("def f(x, key):\n    return sorted(x, key=key)", "def f(x, k):\n    return sorted(x, key=k)", True),
        ("def f(x, key):\n    return g(x, key=key)", "def f(x, k):\n    return g(x, k=k)", False),
        # what binds a name: recursion, nested functions, exceptions, patterns, methods
        ("def f(n):\n    return n and n * f(n - 1)", "def g(m):\n    return m and m * g(m - 1)", True),
        (NESTED, "def a(b):\n    def c(d):\n        return b\n    return c", True),
        (NESTED, "def a(b):\n    def c(d):\n        return d\n    return c", False),
        ("try:\n    x()\nexcept E as e:\n    raise e", "try:\n    x()\nexcept E as q:\n    raise q", True),
        ("match x:\n    case [a, *b]:\n        a + b", "match x:\n    case [c, *d]:\n        c + d", True),
        ("match x:\n    case [a, *b]:\n        a + b", "match x:\n    case [c, *d]:\n        d + c", False),
        (
            "class A:\n    def m(self, x):\n        return x * 2",
            "class B:\n    def m(this, y):\n        return y * 2",
            True,
        ),
        # structure
        ("def f(a, b):\n    return a - b", "def f(a, b):\n    return b - a", False),
        ("def f(x):\n    return [a for a in x if a]", "def f(x):\n    return [a for a in x]", False),
        ("if x:\n    f()\nelse:\n    g()", "if x:\n    f()\ng()", False),
        ("['a', 'b'].sort()", "['a\\', \\'b'].sort()", False),
    ],
)
def test_pairs(one, other, same):
    def form_of(code):
        return form(code if code.startswith(("def", "class")) else "def f():\n" + indent(code, "    "))

    assert (form_of(one) == form_of(other)) == same


def test_a_builtin_that_is_a_parameter_is_a_name_like_any_other():
    assert form("def f(list):\n    return list[0]") == form("def f(x):\n    return x[0]")


def test_nodes_are_counted_in_the_body():
    nodes = {
        "def f(x):\n    return x": 2,
        'def f(x: int, y: int = 3):\n    """Doc."""\n    return x': 2,
        "def f(xs):\n    return sorted(set(xs))": 6,
        "def f(xs):\n    return [x for x in xs if x > 0]": 10,
    }
    for source, count in nodes.items():
        assert canonical_form(next(iter(definitions_of(ast.parse(source)))))[1] == count


def test_renaming_standard_library_functions_keeps_their_form():
    for module in (random, ast):
        with open(module.__file__, encoding="utf-8") as stream:
            tree = ast.parse(stream.read())
        for definition in definitions_of(tree):
            copy = renamed(definition, "_x")
            assert form(copy) == canonical_form(definition)[0]
            if any(isinstance(node, ast.arg) for node in ast.walk(definition)):
                assert copy != ast.unparse(definition)


@given(WORDS, st.integers(1, 5))
def test_ngrams_are_those_of_a_sliding_window(words, n):
    windows = {tuple(words[i : i + n]) for i in range(len(words) - n + 1)} or {tuple(words)}
    assert len(word_ngrams(words, n)) == len(windows)


@given(WORDS, WORDS, st.integers(1, 4))
def test_jaccard_is_that_of_the_sets(one, other, n):
    def windows(words):
        return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)} or {tuple(words)}

    expected = len(windows(one) & windows(other)) / len(windows(one) | windows(other))
    assert jaccard(word_ngrams(one, n), word_ngrams(other, n)) == expected
