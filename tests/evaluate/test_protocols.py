"""Prompts and stops against the field's own: golden files made by running its code, and lm_eval where it is installed.

The files in golden/ hold, for each test set and protocol, how many problems are asked, the first two prompts, the
SHA-256 of all (as a JSON list in ASCII), the stop strings and the room for an answer. Those of `paper` were made by our
code; the others by the sources' own functions, expressions and templates, at the commits `Protocol.source` names, on
the authors' files.
"""

import gzip
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hornbook import testsets
from hornbook.errors import UserError
from hornbook.evaluate.code import trim_prompt
from hornbook.evaluate.protocols import EXAMPLES, PROTOCOLS, find_protocol, split_mbpp
from hornbook.records import Problem

GOLDEN = Path(__file__).with_name("golden")
ALL = [(testset, name) for testset, protocols in PROTOCOLS.items() for name in protocols]
FIXED = [(testset, name) for testset, name in ALL if testset != "unconventional"]


def problems_of(testset: str) -> Sequence[Problem]:
    if testset not in testsets.NAMES or testsets.find(testset) is None:
        pytest.skip(f"{testset} is not on this machine")
    return testsets.load(testset)


def rows_of(testset: str) -> list[dict[str, Any]]:
    """The authors' rows, which our problems are made from, in the same order."""
    problems_of(testset)
    path = testsets.find(testset)
    assert path is not None
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
        rows = json.load(lines) if path.name.endswith(".json.gz") else list(map(json.loads, lines))
    if testset == "mbpp":
        rows = [row for row in rows if 11 <= row["task_id"] <= 510]
    return sorted(rows, key=lambda row: int(row["task_id"])) if "mbpp" in testset else rows


def test_every_protocol_has_its_golden_file() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{testset}.{name}.json" for testset, name in FIXED}


@pytest.mark.parametrize(("testset", "name"), FIXED)
def test_prompts_and_stops_are_the_sources_own(testset: str, name: str) -> None:
    protocol = find_protocol(testset, name)
    prompts = [protocol.prompt(p) for p in problems_of(testset) if p.task_id not in protocol.solved]
    assert {
        "asked": len(prompts),
        "first": prompts[:2],
        "sha256": hashlib.sha256(json.dumps(prompts).encode("ascii")).hexdigest(),
        "stops": list(protocol.stops),
        "max_new_tokens": protocol.max_new_tokens,
    } == json.loads((GOLDEN / f"{testset}.{name}.json").read_text())


def test_the_unconventional_are_asked_as_humaneval_is() -> None:
    assert find_protocol("unconventional", "paper") == find_protocol("humaneval", "paper")
    problems = problems_of("unconventional")
    asked = find_protocol("unconventional", "paper").prompt
    assert [asked(problem) for problem in problems] == [trim_prompt(problem.prompt) for problem in problems]


@pytest.mark.filterwarnings("ignore")  # lm_eval's own
@pytest.mark.parametrize(
    ("testset", "file", "shots", "every"),
    [("humaneval", "humaneval/humaneval.yaml", 0, 1), ("mbpp", "mbpp/mbpp.yaml", 3, 8),
     ("mbpp-sanitized", "mbpp/mbpp_plus.yaml", 3, 8)],
)  # fmt: skip
def test_lm_eval_itself_asks_and_puts_together_as_we_do(
    testset: str, file: str, shots: int, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = pytest.importorskip("evaluate")
    monkeypatch.setattr(metrics, "load", lambda name: SimpleNamespace(compute=lambda **_: None))  # wants the network
    tasks = pytest.importorskip("lm_eval.tasks")
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks._yaml_loader import load_yaml

    protocol = find_protocol(testset, "lm-eval")
    chosen = [
        (problem, row)
        for problem, row in zip(problems_of(testset), rows_of(testset), strict=True)
        if problem.task_id not in protocol.solved
    ][::every]
    config = load_yaml(Path(tasks.__file__).parent / file, resolve_func=True)
    rows = Dataset.from_list([row for _, row in chosen])
    task = ConfigurableTask(config=config | {"custom_dataset": lambda **_: {"test": rows}})
    assert task.config.num_fewshot == shots
    settings = task.config.generation_kwargs
    assert protocol.stops == (*settings["until"], "<|endoftext|>")
    default = HFLM.max_gen_toks.fget(None)
    assert protocol.max_new_tokens == settings.get("max_gen_toks", default)
    for problem, row in chosen:
        asked = protocol.prompt(problem)
        assert asked == task.fewshot_context(row, shots)
        if testset == "humaneval":  # lm_eval's filter joins prompt and answer; MBPP has none
            (whole,) = task.config.filter_list[0]["filter"][0]["filter_fn"]([["    return 1"]], [row])
            assert protocol.program(asked, "    return 1") == f"{whole[0]}\n"
        else:
            assert task.config.filter_list is None
            assert protocol.program(asked, "def f(): ...") == "def f(): ...\n"


@pytest.mark.parametrize(("testset", "text"), [("mbpp", "text"), ("mbpp-sanitized", "prompt")])
def test_an_mbpp_problem_splits_into_what_it_was_made_from(testset: str, text: str) -> None:
    split = [split_mbpp(problem) for problem in problems_of(testset)]
    assert split == [(row[text], tuple(row["test_list"])) for row in rows_of(testset)]
    with pytest.raises(ValueError, match="d/0: its prompt does not end in its tests"):
        split_mbpp(Problem("d/0", "def f(): ...\n", "f", "", ("assert f() is None",), "drill"))


def test_the_solved_examples_are_the_authors() -> None:
    path = testsets.find("mbpp")
    if path is None or path.parent.name != "mbpp":
        pytest.skip("the authors' file of MBPP is not on this machine")
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
        rows = [row for row in map(json.loads, lines) if row["task_id"] in (2, 3, 4)]
    assert [(row["text"], row["code"], tuple(row["test_list"])) for row in rows] == list(EXAMPLES)


def test_no_prompt_holds_its_own_answer() -> None:
    """The sanitized set holds the three that lm_eval shows solved."""
    protocol = find_protocol("mbpp-sanitized", "lm-eval")
    problems = problems_of("mbpp-sanitized")
    assert {p.task_id for p in problems if any(f"def {p.entry_point}(" in code for _, code, _ in EXAMPLES)} == set(
        protocol.solved
    )


@pytest.mark.parametrize(
    ("testset", "name", "program"),
    [
        ("humaneval", "paper", "p\n\treturn 1\n"),
        ("humaneval", "bigcode", "p\n\treturn 1\n"),
        ("humaneval", "evalplus", "p\n    return 1\n"),
        ("mbpp", "evalplus", "p\n    return 1\n"),
        ("mbpp", "lm-eval", "\n\treturn 1\n"),
    ],
)
def test_prompt_and_completion_are_put_together(testset: str, name: str, program: str) -> None:
    assert find_protocol(testset, name).program("p", "\n\treturn 1") == program


@pytest.mark.parametrize(
    ("testset", "name", "said"),
    [
        ("mbpp", "openai", "mbpp:openai: no protocol of mbpp; it has paper, bigcode, evalplus, lm-eval"),
        (
            "arc",
            "paper",
            "arc: no set of code problems; they are humaneval, mbpp, mbpp-sanitized, drill, unconventional",
        ),
    ],
)
def test_what_there_is_none_of_is_one_line(testset: str, name: str, said: str) -> None:
    with pytest.raises(UserError) as raised:
        find_protocol(testset, name)
    assert str(raised.value) == said
