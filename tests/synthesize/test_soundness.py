"""Exercises that teach nothing, or contradict themselves, are told from their text."""

import pytest

from hornbook.recipe import BUILTIN
from hornbook.synthesize.sampling import exercise_requests
from hornbook.synthesize.soundness import docstring_claims, flaw_of
from hornbook.teacher.builtin.teacher import answer

PROMPT = 'def f(x: int, y: int = 0) -> int:\n    """Something."""\n'
TESTS = ("assert f(1) == 2", "assert f(2) == 4")


@pytest.mark.parametrize(
    ("solution", "tests", "reason", "detail"),
    [
        ("    return 2 * x\n", TESTS, "", ""),
        ("    y = 2 * x\n    return y\n", TESTS, "", ""),
        ("    return x\n", TESTS, "trivial", "the body is `return x`"),
        ("    return 7\n", TESTS, "trivial", "the body is `return 7`"),
        ("    return\n", TESTS, "trivial", "the body is `return`"),
        ("    pass\n", TESTS, "trivial", "the body is `pass`"),
        ("    ...\n", TESTS, "trivial", "the body is `...`"),
        ("    raise NotImplementedError\n", TESTS, "trivial", "the body is `raise NotImplementedError`"),
        ("    return z\n", TESTS, "", ""),  # no parameter: it fails when it is run, and says so there
        ("    return 2 * x\n", TESTS[:1], "trivial", "1 test"),
        ("    return 2 * x\n", ("assert f(1) == 2", "assert f(2) == 2"), "trivial", "every test expects"),
        ("    return 2 * x\n", ("assert f(1) == 2", "assert f( 1 ) == 3"), "contradiction", "`assert f(1) == 2`"),
        ("    return 2 * x\n", ("assert f(1)", "assert not f(1)"), "contradiction", "`assert f(1)`"),
        ("    return 2 * x\n", ("assert f(1) > 1", "assert f(2) > 1"), "", ""),  # claims that do not compare
    ],
)
def test_flaws(solution, tests, reason, detail):
    found = flaw_of(PROMPT, solution, tests)
    assert found[0] == reason
    assert found[1].startswith(detail)


def test_the_builtin_teacher_has_no_flaws():
    request_of = exercise_requests(BUILTIN, ())
    flaws = []
    for number in range(1500):
        made = answer(request_of(5, number)).value
        flaws.append(flaw_of(made.prompt, made.solution, made.tests))
    assert [flaw for flaw in flaws if flaw[0]] == []


def test_examples_of_a_docstring_become_tests():
    prompt = '''def f(x):
    """Double it.

    >>> f(2)
    4
    >>> f("ab")
    'abab'
    >>> f(f(1))
    4
    >>> y = f(1)
    >>> print(f(1))
    2
    >>> f(None)
    Traceback (most recent call last):
    TypeError: no
    >>> g(1)
    3
    """
'''
    assert docstring_claims(prompt, "f") == ("assert f(2) == 4", "assert f(\"ab\") == 'abab'", "assert f(f(1)) == 4")
    assert docstring_claims('def f(x):\n    """Prose with >>>nothing."""\n', "f") == ()
    last = 'def f(x):\n    """Zero.\n\n    >>> f(0)  # zero\n    0\n    >>> f(1)\n    1, 2\n    """\n'
    assert docstring_claims(last, "f") == ("assert f(0) == 0", "assert f(1) == (1, 2)")


@pytest.mark.parametrize(
    "docstring",
    [
        ">>> f(1)\n    {[1]}\n",
        ">>> f(1)\n    {[1, 2]: 3}\n",
        ">>> f(0)  # doctest:" + " " * 60_000 + "'\n    0\n",
        ">>> f(\n",
    ],
)
def test_examples_that_are_hostile_are_no_claims(docstring):
    assert docstring_claims(f'def f(x):\n    """{docstring}    """\n', "f") == ()


def test_what_is_nested_too_deeply_is_dropped():
    tests = ("assert f(1) == " + "1 + " * 470 + "1", "assert f(2) == 2")
    assert flaw_of(PROMPT, "    return 2 * x\n", tests)[0] == "nested too deeply"
