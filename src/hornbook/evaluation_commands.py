"""The commands that measure: a model on benchmarks, and answers that were made elsewhere. Heavy imports are inside."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hornbook.errors import UserError
from hornbook.model_commands import model_source
from hornbook.stage_commands import TeacherOptions, asks_teacher

if TYPE_CHECKING:
    from hornbook.evaluate.task import Tools

NOBODY = "none"  # no teacher
SQUAD, TOXIGEN = "squad", "toxigen"  # graded otherwise than by running programs


class Precision(StrEnum):
    """What a model computes in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a machine to read.")]
UnsafeExecution = Annotated[
    bool, typer.Option("--unsafe-execution", help="Run programs without any isolation. Only where nothing can be lost.")
]
CpuSeconds = Annotated[
    float,
    typer.Option(min=0.1, help="CPU time of a program, or 10 times its reference's; asleep: 10 times that and 5 s."),
]
MemoryMb = Annotated[int, typer.Option(min=64, help="Of each process of a program.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Left out: as many as the CPU quota.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("eval")(evaluate)
    app.command()(grade)


@asks_teacher("Who grades what no test can: none, or openai:MODEL.", teacher=NOBODY, temperature=0.0, max_tokens=600)
def evaluate(
    out: Annotated[
        Path, typer.Option("--out", help="The JSON file to write, or to add tasks to: every item and score.")
    ],
    model: Annotated[
        str | None,
        typer.Argument(help="A trained model's name or directory, or a model of the hub (microsoft/phi-1_5)."),
    ] = None,
    tasks: Annotated[
        str,
        typer.Option(
            "--tasks",
            help="Names by commas, of tasks (arc_easy, humaneval, gsm8k_code; an unknown one lists them all) or of "
            "several at once: all, common-sense, knowledge, code, reasoning, unconventional-problems, emergence, "
            "safety, text, protocols.",
        ),
    ] = "all",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only so many items of each task.")] = None,
    text: Annotated[
        Path | None,
        typer.Option(
            "--text", help="Held-out documents for `bits`; left out: those of the work folder, if of one corpus."
        ),
    ] = None,
    text_bytes: Annotated[int, typer.Option(min=1, help="How much of that text is read.")] = 300_000,
    rescore: Annotated[
        Path | None, typer.Option("--rescore", help="Score the answers in such a JSON file again, without a model.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Commit, tag or branch of a model of the hub. Left out: main.")
    ] = None,
    precision: Annotated[Precision, typer.Option(help="Of weights and products.")] = Precision.FLOAT32,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    cpu_seconds: CpuSeconds = 3.0,
    memory_mb: MemoryMb = 512,
    workers: Workers = None,
    unsafe_execution: UnsafeExecution = False,
    as_json: AsJson = False,
    *,
    options: TeacherOptions,
) -> None:
    """Measure a model on the benchmarks of both papers, item by item. Run again, it goes on where it stopped."""
    from hornbook.evaluate.registry import tasks_named
    from hornbook.evaluate.result_file import read_result, without_items
    from hornbook.terminal_scores import show_evaluation

    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {device}: is none of auto, cpu, cuda")
    if (model is None) == (rescore is None):
        raise UserError("give a model, or answers that are there already with --rescore")
    asks = {
        "--limit": limit,
        "--revision": revision,
        "--precision": precision != "float32",
        "--device": device != "auto",
    }
    if rescore is not None and (idle := [option for option, given in asks.items() if given]):
        raise UserError(f"{', '.join(idle)}: with --rescore no model is asked; leave it out")
    if rescore is not None and out.resolve() == rescore.resolve():
        raise UserError(f"--out {out}: is the file of answers itself; give another name")
    if out.suffix != ".json":
        raise UserError(f"--out {out}: the name must end in .json")
    before: dict[str, Any] = {} if rescore is None else read_result(rescore)
    wanted = ",".join(before["tasks"]) if before and tasks == "all" else tasks
    source = None if model is None else model_source(model, options.work, revision)
    place = source.model if source else _place_of(before["model"]["name"], options.work)
    held_out = text or (_held_out(Path(place)) if place else None)
    chosen = tasks_named(wanted, held_out, text_bytes)
    from hornbook.evaluate import asking

    with _tools(options, cpu_seconds, memory_mb, workers, unsafe_execution) as tools:
        if before:
            result = asking.rescore(before, chosen, out, tools)
        else:
            from hornbook.evaluate.models import open_language_model

            assert model is not None
            assert source is not None
            opened = open_language_model(source, model, precision.value, device)
            result = asking.evaluate(opened, chosen, limit, out, tools)
    if as_json:
        print(json.dumps(without_items(result), indent=1))
    else:
        show_evaluation([result], [str(out)])


def grade(
    samples: Annotated[
        Path,
        typer.Argument(
            help="JSON lines with task_id and completion or solution; for squad, the official {id: answer} JSON; for "
            "toxigen, rows with text, label, toxicity_score, target_groups and perplexity.",
            metavar="FILE",
        ),
    ],
    testset: Annotated[
        str, typer.Option("--testset", help="humaneval, mbpp, mbpp-sanitized, drill, unconventional, squad or toxigen.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Where each row's outcome is written (.jsonl or .parquet); all but toxigen need it."
        ),
    ] = None,
    k: Annotated[str, typer.Option("-k", help="For which k pass@k is estimated.", metavar="K[,K]...")] = "1,10,100",
    partial: Annotated[bool, typer.Option("--partial", help="Grade although some problems have no program.")] = False,
    cpu_seconds: CpuSeconds = 3.0,
    memory_mb: MemoryMb = 512,
    workers: Workers = None,
    unsafe_execution: UnsafeExecution = False,
    as_json: AsJson = False,
) -> None:
    """Grade answers that were made elsewhere: programs in the sandbox, SQuAD's answers, perplexities for ToxiGen."""
    from hornbook import testsets
    from hornbook.terminal_scores import show_graded_answers, show_safety

    if testset not in (*testsets.NAMES, SQUAD, TOXIGEN):
        known = ", ".join((*testsets.NAMES, SQUAD, TOXIGEN))
        raise UserError(f"--testset {testset}: no such test set; the test sets: {known}")
    if not samples.is_file():
        raise UserError(f"{samples}: no such file")
    if testset == TOXIGEN:
        from hornbook.evaluate.toxigen import grade_perplexities

        if out is not None:
            raise UserError("--out: a safety score has no rows of its own; take it with --json")
        summary = grade_perplexities(samples)
        print(json.dumps(summary, indent=1)) if as_json else show_safety(summary)
    else:
        if out is None:
            raise UserError("--out: give the file to write each outcome to, such as outcomes.jsonl")
        if out.suffix not in (".jsonl", ".parquet"):
            raise UserError(f"--out {out}: the name must end in .jsonl or .parquet")
        if out.resolve() == samples.resolve():
            raise UserError(f"--out {out}: is the file of samples itself; give another name")
        if testset == SQUAD:
            from hornbook.evaluate.squad import grade_squad_predictions

            summary = grade_squad_predictions(samples, out)
            print(json.dumps(summary, indent=1)) if as_json else show_graded_answers(summary, out)
        else:
            summary = _grade_programs(
                samples, testset, out, k, partial, cpu_seconds, memory_mb, workers, unsafe_execution, as_json
            )
    bad = summary["faulty"] if "faulty" in summary else summary["outcomes"]["unscored"]
    if bad:
        lines = f"{bad} rows are" if bad > 1 else "1 row is"
        raise UserError(f"{samples}: {lines} of no use ({'; '.join(summary['faults'])}); the rest was graded")


def _grade_programs(
    samples: Path,
    testset: str,
    out: Path,
    k: str,
    partial: bool,
    cpu_seconds: float,
    memory_mb: int,
    workers: int | None,
    unsafe_execution: bool,
    as_json: bool,
) -> dict[str, Any]:
    from hornbook.evaluate.grade import grade_samples
    from hornbook.run.progress import Terminal
    from hornbook.run.workers import cpu_quota
    from hornbook.sandbox.probe import choose_backend
    from hornbook.sandbox.programs import generous_limits
    from hornbook.terminal import warn_of_unsafe_execution
    from hornbook.terminal_scores import show_grades

    ks = [int(word) if word.isdecimal() else 0 for word in k.split(",")]
    if min(ks) < 1:
        raise UserError(f"-k {k}: not a list of whole numbers above 0, such as 1,10,100")
    if unsafe_execution:
        warn_of_unsafe_execution()
    backend = choose_backend(unsafe=unsafe_execution)
    limits = generous_limits(cpu_seconds, memory_mb)
    summary = grade_samples(samples, testset, out, ks, partial, limits, workers or cpu_quota(), backend, Terminal())
    print(json.dumps(summary, indent=1)) if as_json else show_grades(summary, out)
    return summary


@contextmanager
def _tools(
    options: TeacherOptions, cpu_seconds: float, memory_mb: int, workers: int | None, unsafe_execution: bool
) -> "Iterator[Tools]":
    """What scoring needs: where programs run, and who grades."""
    from hornbook.evaluate.task import Tools
    from hornbook.recipe import BUILTIN
    from hornbook.run.progress import Terminal
    from hornbook.run.step import Workspace
    from hornbook.run.workers import cpu_quota
    from hornbook.sandbox.probe import choose_backend
    from hornbook.sandbox.programs import generous_limits
    from hornbook.teacher.load import load_teacher

    if unsafe_execution:
        from hornbook.terminal import warn_of_unsafe_execution

        warn_of_unsafe_execution()
    try:
        backend = choose_backend(unsafe=unsafe_execution)
    except UserError as error:  # programs cannot be run here; everything else can be measured
        backend = None
        print(f"hornbook: {error}; tasks that run programs will be unavailable", file=sys.stderr, flush=True)
    limits, count = generous_limits(cpu_seconds, memory_mb), workers or cpu_quota()
    if options.teacher == BUILTIN:
        raise UserError("--teacher builtin: it cannot grade; name a language model, openai:MODEL, or leave it out")
    if options.teacher == NOBODY:
        yield Tools(backend, limits, count, None, Terminal())
        return
    machine = options.machine(workers, unsafe_execution)
    with TemporaryDirectory() as scratch:
        place = Workspace(Path(scratch), machine, Terminal(), options.work, "eval")
        with load_teacher(options.config(), place, "eval") as teacher:
            yield Tools(backend, limits, count, teacher, Terminal())


def _place_of(model: str, work: Path) -> str:
    """Where a model lies that was measured once; nowhere, where it is gone."""
    try:
        return model_source(model, work, None).model
    except UserError:
        return ""


def _held_out(directory: Path) -> Path | None:
    """The held-out text of the work folder that a model's directory lies in, where it is the only one: another recipe's
    may be what this model was trained on."""
    found = [path for path in directory.parent.glob("corpus-*/held_out.parquet") if path.parent.suffix != ".partial"]
    return found[0] if len(found) == 1 else None
