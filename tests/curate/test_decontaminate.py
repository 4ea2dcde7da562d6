"""What overlaps with a test set leaves, and says with what; the rest stays."""

import dataclasses
import gzip
import json

import pytest

from hornbook import testsets
from hornbook.curate import decontaminate
from hornbook.curate.decontaminate import decontaminate_documents, description_of, reference_of, statement_of
from hornbook.curate.similarity import renamed
from hornbook.errors import UserError
from hornbook.recipe import DecontaminateConfig, MachineConfig
from hornbook.records import Document, Dropped, Exercise, Problem, ScoredDocument, content_id
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.step_config import DecontaminateStep
from hornbook.tables import read_rows, write_rows

CLOSEST = Problem(
    "Small/0",
    'def closest_pair(numbers, threshold):\n    """Tell whether any two numbers of the list are closer to each other '
    'than the given threshold allows.\n\n    >>> closest_pair([1.0, 2.0], 0.5)\n    False\n    """\n',
    "closest_pair",
    "    ordered = sorted(numbers)\n    for left, right in zip(ordered, ordered[1:]):\n"
    "        if right - left < threshold:\n            return True\n    return False\n",
    (),
    "drill",
)
COUNTED = Problem(
    "Small/1",
    '"""\nWrite a function to count the vowels of a word.\nassert count_vowels("hello") == 2\n"""\n',
    "count_vowels",
    "def count_vowels(word):\n    return sum(1 for letter in word.lower() if letter in 'aeiou')\n",
    (),
    "mbpp",
)
TRIVIAL = Problem("Small/2", 'def same(x):\n    """Give it back."""\n', "same", "    return x\n", (), "drill")
DRILLED = Problem(
    "drill/0",
    'def even_squares(numbers):\n    """Return the list of the squares of the numbers that are even, in the order of '
    'the numbers, largest removed."""\n',
    "even_squares",
    "    squares = [n * n for n in numbers if n % 2 == 0]\n    squares.remove(max(squares))\n    return squares\n",
    (),
    "drill",
)


@pytest.fixture
def small_sets(tmp_path, monkeypatch):
    """Two small test sets in the places of humaneval and drill; mbpp is nowhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, problems in (("humaneval", (CLOSEST, COUNTED, TRIVIAL)), ("drill", (DRILLED,))):
        path = tmp_path / f"{name}.jsonl.gz"
        rows = [json.dumps(dataclasses.asdict(problem)) for problem in problems]
        path.write_bytes(gzip.compress("\n".join(rows).encode()))
        source = dataclasses.replace(
            testsets.SOURCES["drill"], file=str(path), repository="", checksum=testsets.checksum(problems)
        )
        monkeypatch.setitem(testsets.SOURCES, name, source)
    nowhere = dataclasses.replace(testsets.SOURCES["mbpp"], file="nowhere/mbpp.jsonl.gz", repository="")
    monkeypatch.setitem(testsets.SOURCES, "mbpp", nowhere)


def run(folder, rows, row_type, names=("humaneval", "drill"), n=13, workers=1):
    name = "exercises.parquet" if row_type is Exercise else "documents.parquet"
    (folder / "in").mkdir(parents=True, exist_ok=True)
    (folder / "out").mkdir(exist_ok=True)
    write_rows(folder / "in" / name, row_type, rows)
    config = DecontaminateStep(decontaminate=DecontaminateConfig(testsets=names, ngram_words=n))
    work = Workspace(folder / "out", MachineConfig(workers=workers), Silent(), folder / "out", "test")
    result = decontaminate_documents(config, {"documents": folder / "in"}, work)
    kept = list(read_rows(folder / "out" / name, row_type))
    dropped = {row.id: row for row in read_rows(folder / "out" / "dropped.parquet", Dropped)}
    assert result.counts.balanced()
    assert sum(result.counts.dropped.values()) == len(dropped)
    assert [row for row in rows if row.id not in dropped] == kept
    return result, dropped


def document(text):
    return Document(content_id(text), text, "here", "{}")


def exercise(prompt, solution):
    return Exercise(content_id(prompt + solution), "topic", "f", prompt, solution, ("assert f",), "r")


PROSE = "Tell whether any two numbers of the list are closer to each other than the given threshold allows."


@pytest.mark.usefixtures("small_sets")
@pytest.mark.parametrize("row_type", [Document, ScoredDocument])
def test_documents_with_a_piece_of_a_problem_leave(tmp_path, row_type):
    words = PROSE.split()
    texts = {
        "13 words": "Some text. " + " ".join(words[2:15]) + " more text",
        "12 words": "Some text. " + " ".join(words[2:14]) + " more text",
        "hidden": "x = 1\n# " + "  ,\n# ".join(words).upper(),
        "whole short statement": "# write a FUNCTION to count: the vowels of a word\ndef f(): ...",
        "part of the short statement": "# write a function to count the vowels of a sentence",
        "reference": "for left, right in zip(ordered, ordered[1:]):\n  if right - left < threshold:\n    return True",
        "drill": "Return the list of the squares of the numbers that are even, in the order of arrival",
        "innocent": "def f(numbers):\n    return closest(numbers)",
    }
    extra = (0.5,) if row_type is ScoredDocument else ()
    rows = [row_type(content_id(text), text, "here", "{}", *extra) for text in texts.values()]
    result, dropped = run(tmp_path, rows, row_type)
    caught = {name: dropped[content_id(text)].detail for name, text in texts.items() if content_id(text) in dropped}
    assert caught == {
        "13 words": "Small/0: “any two numbers of the list are closer to each other than the”",
        "hidden": f"Small/0: “{PROSE[:-1].lower()}”",
        "whole short statement": "Small/1: “write a function to count the vowels of a word”",
        "reference": "Small/0: “for left right in zip ordered ordered 1 if right left threshold return true”",
        "drill": "drill/0: “return the list of the squares of the numbers that are even in the order of”",
    }
    assert result.counts.dropped == {"n-gram overlap": 5}
    assert result.facts["hits"] == {"Small/0": 3, "Small/1": 1, "drill/0": 1}


@pytest.mark.usefixtures("small_sets")
def test_exercises_are_held_against_drill_by_docstring_alone(tmp_path):
    phrase = "Return the list of the squares of the numbers that are even, in the order of arrival."
    rows = [
        exercise(f'def f(a):\n    """{phrase}"""\n', "    return a\n"),
        exercise('def f(a):\n    """Nothing."""\n', f"    # {phrase}\n    return a\n"),
        exercise('def f(a):\n    """Nothing."""\n', f"    # {PROSE}\n    return a\n"),
        exercise(f'def f(a:\n    """{phrase}"""\n', "    return a\n"),
    ]
    result, dropped = run(tmp_path, rows, Exercise)
    assert [row.id in dropped for row in rows] == [True, False, True, True]
    assert result.facts["unparsed"] == 1


def disguised(problem, words):
    """The reference with other names, other words in its docstring, and remarks."""
    code = renamed(reference_of(problem), "_other").replace(words, "Give back what the ledger holds")
    return code.replace(":\n", ":  # a remark\n")


DISGUISED_CLOSEST = disguised(CLOSEST, PROSE[:-1])
DISGUISED_DRILLED = disguised(DRILLED, description_of(DRILLED))


@pytest.mark.usefixtures("small_sets")
def test_a_renamed_reference_is_the_same_program(tmp_path):
    rows = [
        exercise(DISGUISED_CLOSEST, ""),
        exercise(DISGUISED_DRILLED, ""),
        exercise(DISGUISED_CLOSEST.replace("return True", "return 1"), ""),
        exercise("def same_other(y):\n", "    return y\n"),
    ]
    result, dropped = run(tmp_path, rows, Exercise)
    assert [dropped[row.id].detail if row.id in dropped else "" for row in rows] == [
        "same program as Small/0",
        "same program as drill/0",
        "",
        "",  # too small to be anybody's
    ]
    assert result.counts.dropped == {"same program": 2}


@pytest.mark.usefixtures("small_sets")
def test_programs_of_documents_stand_in_fenced_blocks(tmp_path):
    program = DISGUISED_CLOSEST
    rows = [
        document(f"# A section\n\nProse.\n\n```python\nx = 1\n```\n\nMore.\n\n```python\n{program}\n```\n"),
        document(f"# Other\n\n```python\nx = (\n```\n\n```python\n{program}\n```\n"),
        document(f"# Not Python\n\n```text\n{program}\n```\n"),
        document("```python\nimport re\nprint(re.sub('\\d', '', 'x'))\n```\n"),  # warns when parsed
    ]
    result, dropped = run(tmp_path, rows, Document)
    assert [row.id in dropped for row in rows] == [True, True, False, False]
    assert result.facts["unparsed"] == 1


@pytest.mark.usefixtures("small_sets")
def test_code_no_parser_takes_is_kept_and_counted(tmp_path):
    rows = [
        exercise("def f(x):\n", "    return x\0\n"),
        exercise("def f(x):\n", "    return " + "(" * 500 + "x" + ")" * 500 + "\n"),
        exercise("def f(x):\n", "    return " + "-" * 50_000 + "x\n"),
        exercise("def f(x):\n", "    return " + "x + " * 3_000 + "x\n"),
    ]
    result, dropped = run(tmp_path, rows, Exercise)
    assert not dropped
    assert result.facts["unparsed"] >= 3


@pytest.mark.usefixtures("small_sets")
def test_same_bytes_whatever_the_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(decontaminate, "ROWS_PER_WORKER", 50)
    monkeypatch.setattr(decontaminate, "CHUNK_CHARACTERS", 5_000)
    rows = [document(f"text {n} " + (PROSE if n % 17 == 0 else "and nothing else in particular")) for n in range(300)]
    for workers in (1, 2):
        run(tmp_path / str(workers), rows, Document, workers=workers)
    for name in ("documents.parquet", "dropped.parquet"):
        assert (tmp_path / "1/out" / name).read_bytes() == (tmp_path / "2/out" / name).read_bytes()


@pytest.mark.usefixtures("small_sets")
def test_a_set_that_is_not_here_is_said_to_be_unavailable(tmp_path, capsys):
    result, _ = run(tmp_path, [document("text")], Document, names=("humaneval", "mbpp"))
    assert result.facts["testsets"] == {"humaneval": "checked", "mbpp": "unavailable"}
    assert "not checked against mbpp" in capsys.readouterr().err
    with pytest.raises(UserError, match="none of mbpp is on this machine"):
        run(tmp_path / "again", [document("text")], Document, names=("mbpp",))
    assert list((tmp_path / "again/out").iterdir()) == []


@pytest.mark.usefixtures("small_sets")
@pytest.mark.parametrize("row_type", [Document, ScoredDocument, Exercise])
def test_canaries_are_planted_and_never_written(tmp_path, row_type):
    result, _ = run(tmp_path, [], row_type)
    assert result.facts["canaries"] == {"planted": 4, "caught": 4, "innocent_kept": 1}
    assert result.counts.read == 0


@pytest.mark.usefixtures("small_sets")
def test_innocent_code_that_is_caught_stops_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(decontaminate, "INNOCENT", f"# {PROSE}\n")
    with pytest.raises(RuntimeError, match="planted innocent code was taken for Small/0"):
        run(tmp_path, [document("text")], Document)


@pytest.mark.usefixtures("small_sets")
def test_pieces_that_do_not_reach_the_text_stop_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(decontaminate, "CARRIER", "def settle():\n    pass  # {:.3}\n")
    with pytest.raises(RuntimeError, match="a planted piece of Small/0 was not caught"):
        run(tmp_path, [document("text")], Document)


def test_what_a_problem_asks_for():
    assert statement_of(CLOSEST).startswith("Tell whether any two")
    assert description_of(CLOSEST).split() == PROSE.split()
    assert description_of(COUNTED) == "Write a function to count the vowels of a word.\n"
    assert reference_of(COUNTED).name == "count_vowels"
    broken = dataclasses.replace(COUNTED, prompt="Count (", reference="def count_vowels(:")
    assert reference_of(broken) is None
    assert statement_of(broken) == "Count ("


@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_every_real_problem_finds_itself(tmp_path, name):
    if testsets.find(name) is None:
        pytest.skip(f"{name} is not on this machine")
    problems = testsets.load(name)
    rows = [exercise(p.prompt, p.reference) for p in problems]
    result, dropped = run(tmp_path, rows, Exercise, names=(name,))
    hits = result.facts["hits"]
    missed = [p.task_id for p in problems if p.task_id not in hits]
    # A statement of fewer than 8 words with a reference that is small or has few words is too little to be found by.
    assert len(missed) <= 0.02 * len(problems), missed
    for problem, row in zip(problems, rows, strict=True):
        if problem.task_id not in missed:
            assert problem.task_id in dropped[row.id].detail
