"""The command line: parses, calls, prints. Everything heavy is imported inside the commands."""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hornbook.errors import Paused, UserError
from hornbook.evaluation_commands import add_to as add_evaluation_commands
from hornbook.model_commands import add_to as add_model_commands
from hornbook.run.workers import SPIN_COUNT
from hornbook.stage_commands import add_to as add_stage_commands

if TYPE_CHECKING:
    from hornbook.evaluate.task import Item
    from hornbook.pipeline import Run

app = typer.Typer(
    name="hornbook",
    help="Textbook-quality data for small language models, and the models: from raw corpus to evaluated model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RecipePath = Annotated[Path, typer.Argument(help="A recipe file, such as recipes/mini.yaml.", metavar="RECIPE")]
WorkDirectory = Annotated[Path, typer.Option("--work", help="Where steps and runs are kept.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Change a field: --set filter.keep_share=0.2. May be repeated.")
]
ArmName = Annotated[str | None, typer.Option("--arm", help="Run this arm (variant) of the recipe.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a machine to read.")]
UnsafeExecution = Annotated[
    bool, typer.Option("--unsafe-execution", help="Run programs without any isolation. Only where nothing can be lost.")
]
WORK = Path("work")
INTERRUPTED = 130


def main() -> None:
    """The entry point: what a user can mend is one line on standard error and exit code 1."""
    if "OMP_WAIT_POLICY" not in os.environ:  # OpenMP reads both once, when PyTorch or scikit-learn is loaded
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    try:
        app()
    except UserError as error:
        line = " ".join(str(error).splitlines())  # it may hold what a server or a file said
        print(f"hornbook: {''.join(c if c.isprintable() else '�' for c in line)}", file=sys.stderr)
        sys.exit(1)
    except Paused as pause:
        print(f"hornbook: {pause}")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has left; nothing is lost
        sys.exit(1)
    except OSError as error:
        print(f"hornbook: {error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
        sys.exit(1)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # what typer makes of Ctrl-C, without a word
            print("\nhornbook: interrupted; the same command goes on from here", file=sys.stderr)
        raise


def _build(recipe: Path, arm: str | None, overrides: list[str] | None, work: Path) -> "Run":
    from hornbook.pipeline import build_run
    from hornbook.recipe_file import read_recipe

    return build_run(read_recipe(recipe), arm, overrides or [], work)


@app.command()
def run(
    recipe: RecipePath,
    work: WorkDirectory = WORK,
    set_: Overrides = None,
    arm: ArmName = None,
    until: Annotated[str | None, typer.Option("--until", help="Stop after this step.")] = None,
    max_usd: Annotated[float | None, typer.Option("--max-usd", min=0, help="Never spend more than this on it.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Go on after a teacher's first replies without asking.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Answer for teachers from the journal alone.")] = False,
    batch_file: Annotated[
        Path | None, typer.Option("--batch-file", help="Write a teacher's requests there, as a batch, and stop.")
    ] = None,
    unsafe_execution: UnsafeExecution = False,
) -> None:
    """Carry out a recipe, from raw corpus to report. What is done already is not done again."""
    from hornbook.pipeline import run_directory, save_run
    from hornbook.report.collect import read_run, read_scores
    from hornbook.report.render import write_report
    from hornbook.run.engine import run_steps
    from hornbook.run.progress import Terminal
    from hornbook.terminal import StepLines
    from hornbook.terminal_scores import show_scores
    from hornbook.train.trackers import check_installed

    started = time.monotonic()
    options = {
        "machine.unsafe_execution": unsafe_execution or None,
        "machine.teacher.max_usd": max_usd,
        "machine.teacher.preview": "go on" if yes else None,
        "machine.teacher.offline": offline or None,
        "machine.teacher.batch_file": None if batch_file is None else str(batch_file),
    }
    given = [f"{field}={json.dumps(value)}" for field, value in options.items() if value is not None]
    overrides = [*(set_ or []), *given]
    planned = _build(recipe, arm, overrides, work)
    _warn_of(planned.recipe.machine.unsafe_execution)
    check_installed(planned.recipe.machine.trackers)  # now, and not when the first model is trained
    targets = planned.until(until) if until else list(planned.steps)
    lines = StepLines(planned.steps)
    run_steps(work, planned.name, targets, planned.recipe.machine, Terminal(), lines.tell)
    if until:
        print(f"stopped after {until}, as asked; {lines.summary(time.monotonic() - started)}")
        return
    run_file = save_run(work, planned)  # only now: a run that stops leaves the record of a finished one alone
    report = run_directory(work, planned) / "report.html"
    write_report(work, run_file, report)
    print()
    record = read_run(work, run_file)
    show_scores(read_scores(record), record.models)
    print(f"\n{lines.summary(time.monotonic() - started)}\nreport: {report}")


@app.command()
def join(work: WorkDirectory = WORK) -> None:
    """Take part, as another node, in the training runs of a work directory that both nodes see.

    The first node runs the recipe with `machine.nodes` and `machine.rendezvous`; this one serves until Ctrl-C.
    """
    from hornbook.train.launch import join as join_runs

    join_runs(work, lambda line: print(line, file=sys.stderr, flush=True))


@app.command()
def plan(
    recipe: RecipePath,
    work: WorkDirectory = WORK,
    set_: Overrides = None,
    arm: ArmName = None,
    gpu: Annotated[str | None, typer.Option("--gpu", help="A100-40GB, A100-80GB, H100 or H200; A100 is both.")] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", min=1, help="How many; else as the recipe says.")] = None,
    mfu: Annotated[float | None, typer.Option("--mfu", min=0.01, max=1, help="Share of a GPU's peak in use.")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Train a few steps here; say how long all takes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show which steps a run would carry out, and why, and what it will cost in time, memory, disk and dollars."""
    from hornbook.plan.forecast import forecast, manifests, plan_run, with_measured_hours
    from hornbook.plan.gpus import chosen_gpus
    from hornbook.recipe_file import read_recipe
    from hornbook.run.engine import intents
    from hornbook.run.fingerprint import directory_name
    from hornbook.terminal import show_plan

    chosen = chosen_gpus(gpu)
    resolved, wired, unknown = plan_run(read_recipe(recipe), arm, set_ or [], work)
    planned = [] if wired is None else intents(work, wired.steps)
    done = {} if wired is None else manifests(work, wired)
    machine = resolved.machine
    found = forecast(resolved, done, chosen, gpus or machine.processes * machine.nodes, mfu)
    if measure:
        found = with_measured_hours(resolved, found)
    if as_json:
        rows = [
            {"step": i.step.name, "directory": directory_name(i.step), "state": i.state, "why": i.why} for i in planned
        ]
        print(json.dumps({"steps": rows, "steps_unknown": unknown, **dataclasses.asdict(found)}, indent=1))
        return
    show_plan(planned, unknown, found)


@app.command()
def status(
    recipe: RecipePath, work: WorkDirectory = WORK, set_: Overrides = None, arm: ArmName = None, as_json: AsJson = False
) -> None:
    """Show which steps are done, running, failed or pending."""
    from hornbook.terminal import show_status, step_states

    states = step_states(work, _build(recipe, arm, set_, work).steps)
    if as_json:
        print(json.dumps(states, indent=1))
        return
    show_status(states)


@app.command("why-miss")
def why_miss(
    recipe: RecipePath,
    work: WorkDirectory = WORK,
    set_: Overrides = None,
    arm: ArmName = None,
    step: Annotated[str | None, typer.Option("--step", help="Only this step, such as annotate.")] = None,
) -> None:
    """Say why a run would ask a teacher again: what differs from the replies in the journal. Sends nothing."""
    from hornbook.why_miss import explain

    for name, told in explain(_build(recipe, arm, set_, work), work, step):
        print(f"{name}: {told}")


@app.command()
def peek(
    path: Annotated[Path, typer.Argument(help="A table, or the directory of a step.")],
    n: Annotated[int, typer.Option("-n", min=1, max=1_000_000, help="How many rows.")] = 5,
    dropped: Annotated[bool, typer.Option("--dropped", help="Look at what the step dropped, and why.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look at rows of a table, or of what a step made or dropped."""
    from hornbook.terminal import peek_rows, show_rows

    table, rows = peek_rows(path, n, "dropped" if dropped else "made")
    if as_json:
        for row in rows:
            print(json.dumps(row, default=str))
        return
    show_rows(table, rows)


@app.command()
def results(
    run_path: Annotated[
        list[Path],
        typer.Argument(
            help="A run's folder (work/runs/mini) or its run.json; or files that `hornbook eval` wrote, side by side.",
            metavar="RUN_OR_JSON...",
        ),
    ],
    outputs: Annotated[
        str | None, typer.Option("--outputs", help="Of such files: show what each model answered in this task.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print every score, each with its interval, n and failures."""
    from hornbook.evaluate.result_file import is_result, read_result, without_items
    from hornbook.report.collect import read_run, read_scores
    from hornbook.terminal_scores import show_evaluation, show_outputs, show_scores

    if all(map(is_result, run_path)):
        found = [read_result(path) for path in run_path]
        if outputs is not None:
            show_outputs(found, [str(path) for path in run_path], outputs, _asked(found, outputs))
        elif as_json:
            print(json.dumps([without_items(result) for result in found], indent=1))
        else:
            show_evaluation(found, [str(path) for path in run_path])
        return
    if len(run_path) > 1 or outputs is not None:
        wrong = next(path for path in run_path if not is_result(path))
        raise UserError(f"{wrong}: not a file that `hornbook eval` wrote; only those are shown side by side")
    work, run_file = _locate(run_path[0])
    record = read_run(work, run_file)
    scores = read_scores(record)
    if as_json:
        print(json.dumps(scores, indent=1))
        return
    show_scores(scores, record.models)


@app.command()
def report(
    run_path: Annotated[Path, typer.Argument(help="A run's folder (work/runs/mini) or its run.json.", metavar="RUN")],
    out: Annotated[Path | None, typer.Option("--out", help="Where the page is written.")] = None,
) -> None:
    """Write the report of a run: one self-contained HTML page."""
    from hornbook.report.render import write_report

    work, run_file = _locate(run_path)
    target = out or run_file.with_name("report.html")
    write_report(work, run_file, target)
    print(target)


def _asked(results: Sequence[Mapping[str, Any]], task: str) -> "dict[str, Item]":
    """The items of a task by the hashes of their prompts, as far as its data are on this machine."""
    from hornbook.evaluate.registry import tasks_named
    from hornbook.setfiles import UnavailableError

    limits = {result["limit"] for result in results}
    try:
        chosen = tasks_named(task, None, 1)
        return {item.prompt_hash: item for one in chosen for limit in limits for item in one.items(limit)}
    except (UserError, UnavailableError):
        return {}


def _locate(path: Path) -> tuple[Path, Path]:
    """The work directory and the record of a run given by its folder, its record, or a work directory of one run."""
    if path.is_file():
        if path.name != "run.json" or len(path.resolve().parents) < 3:
            raise UserError(f"{path}: is neither the record of a run (run.json) nor a whole file of `hornbook eval`")
        return path.resolve().parents[2], path
    if (path / "run.json").is_file():
        return path.resolve().parents[1], path / "run.json"
    found = sorted(path.glob("runs/*/run.json"))
    if len(found) == 1:
        return path, found[0]
    if found:
        raise UserError(f"{path}: holds {len(found)} runs; name one: {', '.join(str(f.parent) for f in found)}")
    known = sorted({path for place in (path, path.parent, WORK / "runs") for path in place.glob("*/run.json")})
    have = f"; the runs: {', '.join(str(run.parent) for run in known)}" if known else ", such as work/runs/mini"
    raise UserError(f"{path}: no run here; give a run's folder{have}; or a file that `hornbook eval` wrote")


def _warn_of(unsafe_execution: bool) -> None:
    from hornbook.terminal import warn_of_unsafe_execution

    if unsafe_execution:
        warn_of_unsafe_execution()


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Try what this machine can do, for real, and say what is missing."""
    from hornbook.doctor import examine
    from hornbook.terminal import show_findings

    findings: list[dict[str, Any]] = []
    if as_json:
        findings = list(examine())
        print(json.dumps(findings, indent=1))
    else:
        findings = show_findings(examine())
    if any(finding["state"] == "broken" for finding in findings):
        raise typer.Exit(1)


add_stage_commands(app)
add_model_commands(app)
add_evaluation_commands(app)

if __name__ == "__main__":
    main()
