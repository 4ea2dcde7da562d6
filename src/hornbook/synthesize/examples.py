"""Run the code of textbook sections: an example that does not run teaches the wrong thing."""

import doctest
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from hornbook.records import Document, Dropped
from hornbook.run.step import Counts, Inputs, Result, Workspace
from hornbook.run.workers import cpu_quota
from hornbook.sandbox.execute import run_programs
from hornbook.sandbox.probe import choose_backend
from hornbook.sandbox.programs import Program, Verdict, generous_limits
from hornbook.step_config import ExamplesStep
from hornbook.synthesize.verify import check_canaries
from hornbook.tables import TableWriter, count_rows, read_rows

STEP = "examples"
FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([\w+-]*)")
LONGEST_LINE = 500  # of a session: doctest's patterns take quadratic time on a long one
CANARIES = (
    (Program("canary: runs", "print(sum(range(4)))\n", ()), "passed"),
    (Program("canary: does not run", "print(undefined)\n", ()), "failed"),
)
PYTHON = ("python", "py", "python3", "pycon")


def run_examples(config: ExamplesStep, inputs: Inputs, work: Workspace) -> Result:
    """Run the Python blocks of each document of `inputs["documents"]`, one after the other, as one program.

    Writes documents.parquet (meta with `code`: ran, none, failed or timeout) and dropped.parquet (reasons `code failed`
    and `code timeout`; with `failing_sections: mark` there is none). A section that could not be run by fault of ours
    counts as failed. Raises UserError where no isolation works.
    """
    backend = choose_backend(unsafe=work.machine.unsafe_execution)
    limits = generous_limits(config.verify.cpu_seconds, config.verify.memory_mb)
    check_canaries(CANARIES, limits, backend)
    path = inputs["documents"] / "documents.parquet"
    workers = work.machine.workers or cpu_quota()
    outcomes: Counter[str] = Counter()
    dropped_by: Counter[str] = Counter()
    with (
        TableWriter(work.directory / "documents.parquet", Document) as kept,
        TableWriter(work.directory / "dropped.parquet", Dropped) as dropped,
        work.progress.bar(STEP, count_rows(path), "sections") as bar,
    ):
        verdicts = run_programs(programs_of(read_rows(path, Document)), limits, workers, backend)
        # The table is read twice, so that no section waits in memory for its verdict.
        for document in read_rows(path, Document):
            verdict = next(verdicts) if program_in(document.text) else None
            code, detail = _told(verdict)
            outcomes[code] += 1
            if code in ("failed", "timeout") and config.verify.failing_sections == "drop":
                reason = f"code {code}"
                dropped.write(Dropped(document.id, STEP, reason, detail))
                dropped_by[reason] += 1
            elif code != "error":
                kept.write(
                    replace(document, meta=json.dumps({**json.loads(document.meta), "code": code}, ensure_ascii=False))
                )
            bar.advance(1)
    counts = Counts(outcomes.total(), kept.rows, dict(sorted(dropped_by.items())), outcomes["error"])
    return Result(counts, {"code": dict(sorted(outcomes.items())), "backend": backend.name})


def program_in(text: str) -> str:
    """The Python of a section as one program: its blocks in order, sessions (`>>>`) as the lines that were typed."""
    blocks = []
    for language, code in _blocks(text):
        session = code.lstrip().startswith(">>>")
        if language.lower() in PYTHON or (not language and session):
            blocks.append(_typed(code) if session else code)
    return "\n".join(blocks)


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Language and contents of each fenced block of Markdown that is closed, in one pass."""
    fence, language, lines = "", "", list[str]()
    for line in text.split("\n"):
        found = FENCE.match(line)
        if not fence:
            if found:
                fence, language, lines = found[1], found[2], []
        elif found and found[1][0] == fence[0] and len(found[1]) >= len(fence) and line.strip() == found[1]:
            yield language, "".join(f"{inner}\n" for inner in lines)
            fence = ""
        else:
            lines.append(line)


def programs_of(documents: Iterable[Document]) -> Iterator[Program]:
    """The programs of those documents that hold one."""
    for document in documents:
        source = program_in(document.text)
        if source:
            yield Program(document.id, source, ())


def _typed(session: str) -> str:
    if max(map(len, session.split("\n"))) > LONGEST_LINE:
        return session
    try:
        return "".join(example.source for example in doctest.DocTestParser().get_examples(session))
    except ValueError:
        return session  # fails when run, and says where


def _told(verdict: Verdict | None) -> tuple[str, str]:
    if verdict is None:
        return "none", ""
    return ("ran" if verdict.outcome == "passed" else verdict.outcome), verdict.detail
