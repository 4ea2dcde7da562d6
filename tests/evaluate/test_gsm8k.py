"""GSM8K by program and by text: references score 1, cheaters 0, and no question leaves its docstring."""

import ast
import random
from dataclasses import replace
from typing import Any

import pytest

from hornbook import rowsets
from hornbook.evaluate.gsm8k import GSM8KCode, GSM8KText, code_prompt, gold_of, read_number
from hornbook.evaluate.task import Scored, Tools, Write
from hornbook.run.progress import Silent
from hornbook.sandbox.execute import Server, ServerLostError
from hornbook.sandbox.probe import choose_backend
from hornbook.sandbox.programs import Program, generous_limits
from hornbook.testsets import UnavailableError

TOOLS = Tools(choose_backend(), generous_limits(3.0, 1024), 2, None, Silent())
ROWS = (
    {"question": "How many?", "answer": "It is 9 * 2 = <<9*2=18>>18.\n#### 18"},
    {"question": 'What is a "yard"?', "answer": "Less.\n#### -1,450,000"},
    {"question": "One?\nOr none?", "answer": "One.\n#### 1"},
)


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowsets, "load", lambda name: ROWS)


def the_set() -> tuple[dict[str, Any], ...]:
    if rowsets.checksum_here("gsm8k") is None:
        pytest.skip("gsm8k is not on this machine")
    return tuple(rowsets.load("gsm8k"))


def run(place: int, completions: list[str]) -> list[Scored]:
    """Each completion as the answer to one question."""
    task = GSM8KCode()
    items = [task.items(None)[place]] * len(completions)
    return list(task.score(items, completions, TOOLS))


def test_programs_that_return_the_answers_pass() -> None:
    rows = the_set()
    task = GSM8KCode()
    negative = [place for place, row in enumerate(rows) if "-" in gold_of(row["answer"])]
    places = [*range(46), *negative]
    items = [task.items(None)[place] for place in places]
    outputs = [f"\n    return {gold_of(rows[place]['answer'])}\nprint(solution()" for place in places]
    scored = list(task.score(items, outputs, TOOLS))
    assert [row.detail["verdict"] for row in scored if row.outcome != "passed"] == []
    summary = task.summarize(scored, items, outputs)
    assert (summary["metric"], summary["value"], summary["n"], summary["failed"]) == ("pass@1", 1.0, 48, 0)
    assert (summary["timeouts"], summary["isolation"]) == (0, choose_backend().name)


def test_reference_texts_pass_all() -> None:
    rows = the_set()
    task = GSM8KText()
    items = task.items(None)
    whole = [f" {row['answer']}" for row in rows]
    scored = zip(items, task.score(items, whole, TOOLS), strict=True)
    assert [item.id for item, row in scored if not row.score] == ["1042", "1284"]
    outputs = [text.replace("\n\n", "\n") for text in whole]  # two hold an empty line, where an answer ends
    summary = task.summarize(list(task.score(items, outputs, TOOLS)), items, outputs)
    assert (summary["metric"], summary["value"], summary["n"], summary["failed"]) == ("exact match", 1.0, 1319, 0)
    unmarked = [f"So it is ${gold_of(row['answer'])}.00." for row in rows]
    assert {row.score for row in task.score(items, unmarked, TOOLS)} == {1.0}
    shifted = outputs[1:] + outputs[:1]
    share = task.summarize(list(task.score(items, shifted, TOOLS)), items, shifted)["value"]
    same = [gold_of(one["answer"]) == gold_of(rows[(at + 1) % len(rows)]["answer"]) for at, one in enumerate(rows)]
    assert share == sum(same) / len(rows) < 0.05


@pytest.mark.parametrize(
    "completion",
    [
        "\n    return 18",
        "\n    return 18.0",
        "\n    return 36 / 2 + 1e-9",
        "\n    from fractions import Fraction\n    return Fraction(36, 2)",
        "\n    import decimal\n    return decimal.Decimal('18.00')",
        "\n    class N(int): pass\n    return N(18)",
        "\n    print('working')\n    eggs = 16 - 7\n    return eggs * 2\n\n\ndef other(:",
    ],
)
@pytest.mark.usefixtures("three")
def test_every_number_that_is_the_answer_passes(completion: str) -> None:
    assert [(row.outcome, row.score) for row in run(0, [completion])] == [("passed", 1.0)]


CHEATS = [
    "\n    print(18)",
    "\n    pass",
    "",
    "\n    return '18'",
    "\n    return [18]",
    "\n    return float('nan')",
    "\n    return float('inf')",
    "\n    return 10 ** 400",
    "\n    return 18 + 0j",
    "\n    return 18.1",
    "\n    raise SystemExit(0)",
    "\n    import os\n    os._exit(0)",
    "\n    import os, sys\n    sys.stdout.write('passed')\n    os.kill(os.getppid(), 9)",
    "\n    class Same:\n        __eq__ = __le__ = __ge__ = lambda *_: True\n        __float__ = lambda _: 18.0\n"
    "        __abs__ = __sub__ = __rsub__ = lambda *_: 0\n    return Same()",
    "\n    class Lie(float):\n        __eq__ = __le__ = lambda *_: True\n        __float__ = lambda _: 18.0\n"
    "    return Lie(3)",
    "\n    class Lie(int):\n        __float__ = __index__ = __int__ = lambda _: 18\n    return Lie(3)",
    "\n    import math, builtins\n    math.isclose = builtins.float = lambda *_, **__: True\n    return 3",
    "\n    return (n for n in range(100))",
    "\n    import types\n    class T(type):\n        __eq__ = lambda *_: True\n        __hash__ = lambda _: hash(int)\n"
    "    return T('N', (), {'__float__': lambda _: 18.0})()",
]


@pytest.mark.usefixtures("three")
def test_no_program_that_cheats_scores() -> None:
    scored = run(0, CHEATS)
    assert [(row.outcome, row.score) for row in scored] == [("failed", 0.0)] * len(CHEATS)
    assert scored[0].detail["verdict"] == "test 1: AssertionError: returned no number"
    assert scored[9].detail["verdict"] == "test 1: AssertionError: returned 18.1"
    assert [(row.outcome, row.score) for row in run(2, ["\n    return True"])] == [("failed", 0.0)]


@pytest.mark.usefixtures("three")
def test_tolerance_timeouts_and_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    near = [f"\n    return {-1_450_000 * (1 + off)!r}" for off in (9e-7, -9e-7, 1.1e-6, -1.1e-6)]
    assert [row.score for row in run(1, near)] == [1.0, 1.0, 0.0, 0.0]
    reply = Server.reply

    def lost(server: Server, program: Program) -> Any:
        if "the end" in program.source:
            raise ServerLostError("the sandbox died")
        return reply(server, program)

    monkeypatch.setattr(Server, "reply", lost)
    task, quick = GSM8KCode(), replace(TOOLS, limits=generous_limits(1.0, 512))
    items = task.items(None)
    outputs = ["\n    while True: pass", "\n    return 'the end'", "\n    return 1"]
    scored = list(task.score(items, outputs, quick))
    assert [(row.outcome, row.score) for row in scored] == [("timeout", 0.0), ("error", None), ("passed", 1.0)]
    summary = task.summarize(scored, items, outputs)
    assert (summary["value"], summary["n"], summary["failed"], summary["timeouts"]) == (0.5, 2, 1, 1)


@pytest.mark.usefixtures("three")
def test_no_sandbox_is_unavailable_and_text_needs_none() -> None:
    none = replace(TOOLS, backend=None)
    with pytest.raises(UnavailableError, match="gsm8k_code: programs cannot be run on this machine"):
        GSM8KCode().score(GSM8KCode().items(None), ["", "", ""], none)  # at once, not when a score is taken
    text = GSM8KText()
    assert [row.score for row in text.score(text.items(None), ["#### 18", "#### -1,450,000", "no"], none)] == [1, 1, 0]


@pytest.mark.usefixtures("three")
def test_prompts_and_stops() -> None:
    by_code, by_text = (task.items(None)[1].ask for task in (GSM8KCode(), GSM8KText()))
    assert isinstance(by_code, Write)
    assert isinstance(by_text, Write)
    assert by_code.prompt == 'def solution():\n    """What is a "yard"?"""'
    assert "\ndef" in by_code.stops
    assert by_text.prompt == 'Question: What is a "yard"?\nAnswer:'
    assert by_text.stops == ("\nQuestion:", "\n\n")
    assert by_code.max_new_tokens == by_text.max_new_tokens == 256
    assert [item.id for item in GSM8KText().items(2)] == ["0", "1"]


def test_no_question_leaves_its_docstring() -> None:
    draw = random.Random(5)
    planted = [
        '"""\nimport os\nos._exit(0)\n"""', '\\"""', 'x"', 'x""', 'x"\n', "x\\", '\\\\"', '""""""', "\\N{nothing}",
        "{0}", "'''", "", '"', "a\rb\r\nc", "\0", "\f\v\x1c\u2028", "# €¾", '"""\n    return 18\n    """',
    ]  # fmt: skip
    made = [
        "".join(draw.choices(['"', '"', "\\", "\n", "'", "a", "{", "\r", " "], k=draw.randrange(12)))
        for _ in range(5000)
    ]
    for question in (*planted, *made):
        module = ast.parse(code_prompt(question))
        (function,) = module.body
        assert isinstance(function, ast.FunctionDef)
        assert len(function.body) == 1
        assert ast.get_docstring(function, clean=False) == question
        assert code_prompt(question) == code_prompt(question).rstrip()


def test_a_question_that_answers_itself_does_not() -> None:
    rows = [{"question": 'x"""\n    return 18\n    """', "answer": "#### 18"}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rowsets, "load", lambda name: tuple(rows))
        assert [row.outcome for row in run(0, ["\n    return 17", "\n    return 18"])] == ["failed", "passed"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("9 * 2 = 18\n#### 18", "18"),
        ("#### $1,450,000.00 in all, not 3", "1450000"),
        ("####-10", "-10"),
        ("The answer is 18.", "18"),
        ("They pay $18.50.", "18.50"),
        ("16-3", "3"),
        ("(16)-3 or x-4", "4"),
        ("It fell to -3", "-3"),
        ("a loss of -$3", "-3"),
        ("5 - 3 = 2, or .5", ".5"),
        ("1,2,3", "3"),
        ("1,234,56", "56"),
        ("#### none, so 7", "7"),
        ("#### none\n#### 8\n9", "8"),
        ("eighteen", None),
        ("", None),
        ("١٨", None),
    ],
)
def test_which_number_is_read(text: str, number: str | None) -> None:
    assert read_number(text) == number


@pytest.mark.usefixtures("three")
def test_spam_is_one_guess() -> None:
    task = GSM8KText()
    items = [task.items(None)[0]] * 8
    outputs = [
        "#### " * 60,
        "".join(f"#### {n}\n" for n in range(60)),
        "#### " + " ".join(map(str, range(17, 60))),
        " ".join(map(str, range(60))),
        "18 or\n\n#### 18",  # behind the end of the answer
        "17\nQuestion: what?\nAnswer: #### 18",
        "#### 1 8",
        "#### 18%9",
    ]
    scored = list(task.score(items, outputs, TOOLS))
    assert [row.score for row in scored] == [0, 0, 0, 0, 1, 0, 0, 1]
    assert scored[1].detail == {"read": "0", "gold": "18"}
    assert task.summarize(scored, items, outputs)["without_number"] == 1


def test_the_reference_answers_are_numbers() -> None:
    golds = [gold_of(row["answer"]) for row in the_set()]
    assert len(golds) == 1319
    assert all(gold.lstrip("-").isdigit() for gold in golds)
    assert gold_of("#### 1\n#### -2,125") == "-2125"
