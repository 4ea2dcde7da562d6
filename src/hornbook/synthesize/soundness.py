"""Whether an exercise teaches anything, and whether it contradicts itself: read from its text, before it is run."""

import ast
import doctest
from collections.abc import Sequence

from hornbook.teacher.parsing import parse_python

FEWEST_TESTS = 2
LONGEST_LINE = 500  # of a docstring with examples: doctest's patterns take quadratic time on a long one
MOST_EXAMPLES = 20


def flaw_of(prompt: str, solution: str, tests: Sequence[str]) -> tuple[str, str]:
    """Why an exercise is not wanted, as (reason, detail); empty texts where it is wanted.

    `trivial`: the body does nothing, gives a constant or a parameter back; or the tests are fewer than two or all
    expect the same value. `contradiction`: two tests expect different values of the same call. `nested too deeply`: it
    cannot be read. Raises TeacherError for what is no Python.
    """
    try:
        return _flaw_of(prompt, solution, tests)
    except RecursionError:
        return "nested too deeply", "an expression of hundreds of levels"


def _flaw_of(prompt: str, solution: str, tests: Sequence[str]) -> tuple[str, str]:
    body = parse_python(prompt + solution, "the exercise").body[-1]
    if isinstance(body, (ast.FunctionDef, ast.AsyncFunctionDef)) and (emptiness := _emptiness(body)):
        return "trivial", emptiness
    asserts = [node for test in tests for node in parse_python(test, "a test").body]
    if len(asserts) < FEWEST_TESTS:
        return "trivial", f"{len(asserts)} test"
    expected: dict[str, tuple[str, str]] = {}
    for node in asserts:
        call, value = _claim(node)
        earlier, place = expected.setdefault(call, (value, ast.unparse(node)))
        if earlier != value and call:
            return "contradiction", f"`{place}` and `{ast.unparse(node)}`"
    claims = [_claim(node) for node in asserts]
    if all(call for call, _ in claims) and len({value for _, value in claims}) == 1:
        return "trivial", f"every test expects `{ast.unparse(asserts[0])[-60:]}`"
    return "", ""


def _emptiness(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """What is empty about a body; nothing where it does something."""
    rest = function.body[1:]  # the docstring stands first
    if len(rest) != 1:
        return ""
    only = rest[0]
    names = {a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)}
    match only:
        case ast.Pass() | ast.Raise() | ast.Expr(value=ast.Constant()) | ast.Return(value=None):
            return f"the body is `{ast.unparse(only)[:60]}`"
        case ast.Return(value=ast.Constant()):
            return f"the body is `{ast.unparse(only)[:60]}`"
        case ast.Return(value=ast.Name(id=name)) if name in names:
            return f"the body is `{ast.unparse(only)[:60]}`"
    return ""


def _claim(node: ast.stmt) -> tuple[str, str]:
    """The call and the expected value of an assert; an empty call where it claims something else."""
    match node:
        case ast.Assert(test=ast.Compare(left=ast.Call() as call, ops=[ast.Eq() | ast.Is()], comparators=[value])):
            return ast.dump(call), ast.dump(value)
        case ast.Assert(test=ast.Call() as call):
            return ast.dump(call), "True"
        case ast.Assert(test=ast.UnaryOp(op=ast.Not(), operand=ast.Call() as call)):
            return ast.dump(call), "False"
    return "", ""


def docstring_claims(prompt: str, name: str) -> tuple[str, ...]:
    """The examples of a docstring as assert statements, so that it, too, must agree with the solution."""
    try:
        documented = ast.parse(prompt).body[-1]
        text = ast.get_docstring(documented) or ""  # type: ignore[arg-type]
        if max(map(len, text.split("\n"))) > LONGEST_LINE:
            return ()
        examples = doctest.DocTestParser().get_examples(text)
    except (SyntaxError, TypeError, ValueError, IndexError, RecursionError, MemoryError):
        return ()  # prose that happens to hold `>>>`
    claims = []
    for example in examples[:MOST_EXAMPLES]:
        call, want = example.source.strip(), example.want.strip()
        try:
            parsed = ast.parse(call, mode="eval").body
            value = ast.literal_eval(want)
        except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
            continue
        if isinstance(parsed, ast.Call) and isinstance(parsed.func, ast.Name) and parsed.func.id == name:
            if "\n" not in call:
                call = call.encode()[: parsed.end_col_offset].decode()  # without a comment behind it
            claims.append(f"assert {call} == {want if not isinstance(value, tuple) or want[0] == '(' else f'({want})'}")
    return tuple(claims)
