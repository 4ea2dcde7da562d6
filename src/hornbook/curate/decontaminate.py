"""The step `decontaminate`: what overlaps with a test set leaves the training data (phi-1, section 5)."""

import ast
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import tee

from hornbook import testsets
from hornbook.curate.overlap import SHORTEST, Needles, NgramIndex, words_of
from hornbook.curate.rows import Row, RowTable, table_of, text_of
from hornbook.curate.similarity import MIN_NODES, Definition, canonical_form, definitions_of, renamed
from hornbook.errors import UserError
from hornbook.records import Document, Dropped, Exercise, Problem, ScoredDocument
from hornbook.run.step import Counts, Inputs, Result, Workspace
from hornbook.run.workers import cpu_quota, ordered_map
from hornbook.step_config import DecontaminateStep
from hornbook.tables import TableWriter, count_rows, read_rows

Testsets = Mapping[str, Sequence[Problem]]  # by name

# Exercises come from the grammar that drill comes from, and share its phrases and idioms by construction. So drill's
# n-grams are those of its statements alone, and in an exercise only the docstring is held against them, docstring
# against docstring as in the paper; its programs are compared as syntax trees.
OF_THE_GRAMMAR = frozenset(("drill",))
CHUNK_CHARACTERS = 2_000_000
ROWS_PER_WORKER = 4000  # a worker takes about a second to start: fewer rows are quicker without another
SPAN_CHARACTERS = 300
FENCED = re.compile(r"^```(?:python|py)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)

EXAMPLES = re.compile(r"^\s*(?:>>>|assert\b)", re.MULTILINE)  # what follows the words of a statement

INNOCENT = '''
def brew_table(kettles, minutes):
    """Tell when each kettle in the harbour canteen will be warm enough for the nine o'clock ferry crew."""
    ready = {}
    for kettle, warmth in kettles.items():
        missing = max(0, 96 - warmth)
        ready[kettle] = minutes + missing * 7 // 3
    return sorted(ready.items(), key=lambda pair: (pair[1], pair[0]))
'''
CARRIER = '''
def settle(harbour, ledger):
    """The canteen opens early. {} The ferry leaves at nine."""
    return [name for name, debt in ledger.items() if debt > harbour.allowance * 3 and name not in harbour.closed]
'''


@dataclass(frozen=True, slots=True)
class TestIndex:
    """The test sets as the rows of one kind are held against them."""

    anywhere: NgramIndex  # in the whole text
    docstrings: NgramIndex  # in docstrings
    programs: Mapping[str, tuple[str, ...]]  # task ids by the canonical form of their reference


@dataclass(frozen=True, slots=True)
class Scan:
    """What a worker finds in a chunk of rows, by position in the chunk."""

    suspects: frozenset[int]  # share the hash of an n-gram
    programs: Mapping[int, tuple[str, ...]]  # canonical forms that are a reference's
    unparsed: int  # rows with code that is no Python


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a row leaves."""

    reason: str
    detail: str
    tasks: tuple[str, ...]
    programs: tuple[str, ...]  # of the tasks, those whose reference it repeats


def decontaminate_documents(config: DecontaminateStep, inputs: Inputs, work: Workspace) -> Result:
    """Reads `documents.parquet` or `exercises.parquet` of the input `documents`; writes the table under the same name
    with the same columns, and `dropped.parquet`.

    A row is dropped for an `n-gram overlap` where it shares `ngram_words` words in a row with the statement or the
    reference solution of a problem (a statement of 8 words or more that is shorter counts as a whole), and as the `same
    program` where a function or class of it is a problem's reference up to renaming. The syntax trees compared are
    those of exercises and of the fenced code blocks of documents: parsing takes 10 times as long as n-grams.

    A test set that is not on this machine is reported as unavailable. Raises UserError where none is, RuntimeError
    where a planted piece of a test problem is not caught or planted innocent code is.
    """
    problems, unavailable = _load(config.decontaminate.testsets)
    table = table_of(inputs["documents"])
    index = build_index(problems, config.decontaminate.ngram_words, table.row_type)
    planted = _check_canaries(index, problems, config.decontaminate.ngram_words, table.row_type)

    total = count_rows(table.path)
    workers = max(1, min(work.machine.workers or cpu_quota(), total // ROWS_PER_WORKER))
    hits: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    unparsed = 0
    with (
        TableWriter(work.directory / table.path.name, table.row_type) as kept,
        TableWriter(work.directory / "dropped.parquet", Dropped) as dropped,
        work.progress.bar("decontaminating", total, "rows") as bar,
    ):
        for rows, found in _search(table, index, workers):
            for row, finding in zip(rows, found.findings, strict=True):
                if finding is None:
                    kept.write(row)
                    continue
                dropped.write(Dropped(row.id, "decontaminate", finding.reason, finding.detail))
                reasons[finding.reason] += 1
                hits.update(finding.tasks)
            unparsed += found.unparsed
            bar.advance(len(rows))
    facts = {
        "testsets": {
            name: "unavailable" if name in unavailable else "checked" for name in config.decontaminate.testsets
        },
        "problems": {name: len(of_set) for name, of_set in problems.items()},
        "hits": dict(sorted(hits.items())),
        "unparsed": unparsed,
        "canaries": planted,
    }
    return Result(Counts(total, kept.rows, dict(sorted(reasons.items()))), facts)


def _load(names: Sequence[str]) -> tuple[dict[str, tuple[Problem, ...]], list[str]]:
    problems: dict[str, tuple[Problem, ...]] = {}
    unavailable = []
    for name in names:
        try:
            problems[name] = testsets.load(name)
        except testsets.UnavailableError as error:
            print(f"decontaminate: not checked against {name}: {error}", file=sys.stderr)
            unavailable.append(name)
    if not problems:
        raise UserError(f"decontaminate.testsets: none of {', '.join(names)} is on this machine; name one that is")
    return problems, unavailable


def build_index(problems: Testsets, n: int, row_type: type[Row]) -> TestIndex:
    """The test sets as rows of that type are held against them."""
    whole: list[tuple[str, str]] = []
    statements: list[tuple[str, str]] = []
    programs: dict[str, tuple[str, ...]] = {}
    for name, of_set in problems.items():
        for problem in of_set:
            statement = statement_of(problem)
            pieces = [(problem.task_id, statement), (problem.task_id, description_of(problem))]
            if name in OF_THE_GRAMMAR:
                statements += pieces
            else:
                whole += pieces
                if len(words_of(problem.reference)) >= n:  # a shorter one is nobody's: `while b: a, b = b, a % b`
                    whole.append((problem.task_id, problem.reference))
            reference = reference_of(problem)
            if reference is not None:
                digest, nodes = canonical_form(reference)
                if nodes >= MIN_NODES:
                    programs[digest] = (*programs.get(digest, ()), problem.task_id)
    if row_type is Exercise:
        return TestIndex(NgramIndex(whole, n), NgramIndex(statements, n), programs)
    return TestIndex(NgramIndex(whole + statements, n), NgramIndex((), n), programs)


def statement_of(problem: Problem) -> str:
    """What a problem asks for: the docstrings of its prompt and its entry point, or the prompt where there are none."""
    tree, entry = _program_of(problem), reference_of(problem)
    return docstrings_of(node for node in (tree, entry) if node is not None) or problem.prompt


def description_of(problem: Problem) -> str:
    """The words of a statement, without the examples that follow them."""
    return EXAMPLES.split(statement_of(problem), maxsplit=1)[0]


def reference_of(problem: Problem) -> Definition | None:
    """The definition a problem asks for, as its reference solves it; None where the reference does not parse."""
    tree = _program_of(problem)
    if tree is None:
        return None
    named = [node for node in definitions_of(tree) if node.name == problem.entry_point]
    return named[-1] if named else None


def _program_of(problem: Problem) -> ast.Module | None:
    """Prompt and reference as one program, or the reference where it is one by itself."""
    for code in (problem.prompt + problem.reference, problem.reference):
        try:
            return _parse(code)
        except SyntaxError:
            continue
    return None


def docstrings_of(nodes: Iterable[ast.Module | Definition]) -> str:
    """The docstrings of modules, functions and classes, a line between two."""
    return "\n\n".join(filter(None, (ast.get_docstring(node) for node in nodes)))


def _parse(code: str) -> ast.Module:
    """A syntax tree. Raises SyntaxError, whatever it is that the parser cannot take."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the code's style, such as invalid escapes
            return ast.parse(code)
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes; nested too deep
        raise SyntaxError(str(error)) from error


def _codes(row: Row) -> list[str]:
    """The programs of a row: an exercise is one, a document's stand in its fenced blocks."""
    return [text_of(row)] if isinstance(row, Exercise) else FENCED.findall(row.text)


def _docstring_text(row: Row) -> str:
    """What is held against statements alone: an exercise's docstrings, or its prompt where the code does not parse."""
    if not isinstance(row, Exercise):
        return ""
    try:
        tree = _parse(text_of(row))
        return docstrings_of((tree, *definitions_of(tree)))
    except SyntaxError:
        return row.prompt


def scan(needles: tuple[Needles, Needles], references: frozenset[str], rows: Sequence[Row]) -> Scan:
    """One worker's chunk: which rows are worth a closer look, and which hold a reference's program."""
    programs: dict[int, tuple[str, ...]] = {}
    docstrings: list[str] = []
    unparsed = 0
    for position, row in enumerate(rows):
        texts: list[str] = []
        forms: set[str] = set()
        failed = False
        for code in _codes(row):
            try:
                tree = _parse(code)
                definitions = list(definitions_of(tree))
                texts.append(docstrings_of((tree, *definitions)))
                forms.update(canonical_form(node)[0] for node in definitions)
            except (SyntaxError, RecursionError):
                failed = True
        unparsed += failed
        docstrings.append(_docstring_text(row) if failed else "\n\n".join(texts))
        if shared := forms & references:
            programs[position] = tuple(sorted(shared))
    anywhere, in_docstrings = needles
    suspects = anywhere.suspects([text_of(row) for row in rows]) + in_docstrings.suspects(docstrings)
    return Scan(frozenset(suspects), programs, unparsed)


@dataclass(frozen=True, slots=True)
class Searched:
    """The findings of a chunk, None for a row that stays."""

    findings: list[Finding | None]
    unparsed: int


def _search(table: RowTable, index: TestIndex, workers: int) -> Iterator[tuple[list[Row], Searched]]:
    """Chunks of rows with what was found in them, in order."""
    chunks, for_workers = tee(_chunks(table))
    work = partial(scan, (index.anywhere.needles(), index.docstrings.needles()), frozenset(index.programs))
    for rows, scanned in zip(chunks, ordered_map(work, for_workers, workers), strict=True):
        yield rows, Searched(judge(index, rows, scanned), scanned.unparsed)


def _chunks(table: RowTable) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    characters = 0
    for row in read_rows(table.path, table.row_type):
        chunk.append(row)
        characters += len(text_of(row))
        if characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def judge(index: TestIndex, rows: Sequence[Row], scanned: Scan) -> list[Finding | None]:
    """What is found in each row: suspects are held against the n-grams themselves, with all their owners."""
    findings: list[Finding | None] = []
    for position, row in enumerate(rows):
        spans: dict[str, list[str]] = {}
        if position in scanned.suspects:
            shared = index.anywhere.overlaps(text_of(row)) + index.docstrings.overlaps(_docstring_text(row))
            for overlap in shared:
                spans.setdefault(overlap.span, []).append(overlap.task_id)
        programs = [index.programs[form] for form in scanned.programs.get(position, ())]
        same = tuple(sorted({task for tasks in programs for task in tasks}))
        if not spans and not same:
            findings.append(None)
            continue
        details = [f"{', '.join(tasks)}: “{_cut(span)}”" for span, tasks in spans.items()]
        details += [f"same program as {', '.join(same)}"] if same else []
        tasks = tuple(sorted({task for owners in spans.values() for task in owners} | set(same)))
        reason = "n-gram overlap" if spans else "same program"
        findings.append(Finding(reason, "; ".join(details), tasks, same))
    return findings


def _cut(span: str) -> str:
    return span if len(span) <= SPAN_CHARACTERS else span[:SPAN_CHARACTERS] + "…"


def _check_canaries(index: TestIndex, problems: Testsets, n: int, row_type: type[Row]) -> dict[str, int]:
    """Hold planted rows against the index: of each test set a piece of a statement inside ordinary code, and a renamed
    reference; and code that has nothing to do with any. They go no further than this.

    Raises RuntimeError where one is misjudged.
    """
    expected: list[tuple[Row, str, str]] = [(_planted(row_type, INNOCENT), "", "")]
    for of_set in problems.values():
        longest = max(of_set, key=lambda problem: len(words_of(description_of(problem))))
        words = words_of(description_of(longest))
        if len(words) >= min(n, SHORTEST):
            middle = max(0, len(words) - n) // 2
            piece = "; ".join(words[middle : middle + n]).capitalize()
            expected.append((_planted(row_type, CARRIER.format(piece)), longest.task_id, ""))
        references = [(problem, reference_of(problem)) for problem in of_set]
        sizes = [(canonical_form(node)[1], problem.task_id, node) for problem, node in references if node is not None]
        nodes, task_id, node = max(sizes, key=lambda size: size[:2], default=(0, "", None))
        if node is not None and nodes >= MIN_NODES:
            expected.append((_planted(row_type, renamed(node, "_of_the_canteen")), "", task_id))
    rows = [row for row, _, _ in expected]
    needles = (index.anywhere.needles(), index.docstrings.needles())
    findings = judge(index, rows, scan(needles, frozenset(index.programs), rows))
    for finding, (_, overlap, program) in zip(findings, expected, strict=True):
        if finding is None and (overlap or program):
            raise RuntimeError(f"decontaminate: a planted piece of {overlap or program} was not caught")
        if finding is not None and program and program not in finding.programs:
            raise RuntimeError(f"decontaminate: a renamed copy of the reference of {program} was not caught")
        if finding is not None and overlap and overlap not in finding.tasks:
            raise RuntimeError(f"decontaminate: a planted piece of {overlap} was taken for one of {finding.detail}")
        if finding is not None and not overlap and not program:
            raise RuntimeError(f"decontaminate: planted innocent code was taken for {finding.detail}")
    return {"planted": len(expected) - 1, "caught": len(expected) - 1, "innocent_kept": 1}


def _planted(row_type: type[Row], code: str) -> Row:
    if row_type is Exercise:
        return Exercise("", "", "", code, "", (), "")
    text = f"{code}\n\n```python\n{code}\n```\n"
    return Document("", text, "", "{}") if row_type is Document else ScoredDocument("", text, "", "{}", 0.0)
