"""What the command line shows: tables on a terminal, plain lines elsewhere."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hornbook.errors import UserError
from hornbook.run.engine import FAILED, PARTIAL, Intent, State, is_running, state_of
from hornbook.run.fingerprint import directory_name
from hornbook.run.manifest import read_manifest
from hornbook.run.step import Step

if TYPE_CHECKING:
    from hornbook.plan.forecast import Forecast

MADE = ("exercises", "documents", "ratings", "outcomes", "problems")  # a step's main table, the first that it has
STATE_STYLE = {
    "done": "green",
    "pending": "dim",
    "running": "cyan",
    "interrupted": "yellow",
    "failed": "red",
    "works": "green",
    "missing": "yellow",
    "broken": "red",
}


def new_console() -> Console:
    """A console as wide as the terminal, and wide enough not to break lines where there is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=int(os.environ.get("COLUMNS", "160")))


class StepLines:
    """One line a step as a run goes."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._console = new_console()
        self._number = {directory_name(step): number for number, step in enumerate(steps, 1)}
        self._running: str | None = None
        self._ran = 0
        self._reused = 0

    def tell(self, step: Step, state: State, manifest: Mapping[str, Any] | None) -> None:
        """Say what a step is about to do (no manifest) or has done."""
        name = directory_name(step)
        place = f"[dim]\\[{self._number[name]:>2}/{len(self._number)}][/dim] {step.name:<24}"
        if manifest is None:
            self._running = name
            if self._console.is_terminal:
                self._console.print(f"{place} [cyan]…[/cyan]", end="\r")
            return
        if self._running != name:
            self._reused += 1
            self._console.print(f"{place} [dim]done before[/dim]")
            return
        self._ran += 1
        ledger = manifest["timing"].get("ledger")
        paid = f"; ${ledger['usd']:,.4f} for {ledger['requests_sent']:,} requests" if ledger else ""
        self._console.print(f"{place} {manifest['seconds']:7.1f} s  {escape(_counted(manifest['counts']))}{paid}")

    def summary(self, seconds: float) -> str:
        """How many steps ran, and how long it took."""
        return f"{self._ran} steps run, {self._reused} done before, in {seconds:,.1f} s"


def _counted(counts: Mapping[str, Any] | None) -> str:
    """Row counts in words."""
    if counts is None:
        return ""
    parts = [f"{counts['kept']:,} of {counts['read']:,} rows"]
    parts += [f"{number:,} {reason}" for reason, number in counts["dropped"].items() if number]
    if counts["failed"]:
        parts.append(f"{counts['failed']:,} failed")
    return "; ".join(parts)


def show_stage(summary: Mapping[str, Any], out: Path) -> None:
    """What a stage made on a user's files: rows, what agrees and what does not, and what it cost."""
    console, facts = new_console(), summary["facts"]
    console.print(f"{escape(str(out))}: {escape(_counted(summary['counts']))}")
    if "teacher" in facts:
        console.print(f"teacher: {escape(str(facts['teacher']))}")
    if "balance" in facts:
        covered = facts["coverage"]
        console.print(
            f"{covered['share_with_children']:.1%} of {covered['seed_leaves']} seed topics have children, "
            f"{covered['children_min']} to {covered['children_max']} each; balance over the "
            f"{len(facts['roots'])} roots: {facts['balance']:.3f} (1: even)"
        )
    if facts.get("failures"):
        console.print(
            "[yellow]failed: " + ", ".join(f"{n:,} {why}" for why, n in facts["failures"].items()) + "[/yellow]"
        )
    if facts.get("disagreement_rate") is not None:
        console.print(
            f"solution and tests disagree in {facts['disagreement_rate']:.1%} of {facts['sets_of_tests']:,} sets"
        )
    if "backend" in facts:
        console.print(f"isolation: {escape(facts['backend'])}")
    if summary.get("beside"):
        console.print(f"beside it: {escape(', '.join(summary['beside']))}")
    ledger = summary["timing"].get("ledger")
    if ledger:
        console.print(
            f"ledger: {ledger['sent_now']:,} requests sent now, {ledger['requests_sent']:,} with earlier runs of this "
            f"({ledger['lost']:,} lost, {ledger['refused']:,} refused), {ledger['from_journal']:,} replies from the "
            f"journal; in all {ledger['prompt_tokens']:,} tokens in, {ledger['completion_tokens']:,} out, "
            f"${ledger['usd']:,.4f}"
        )


MEASURES = {
    "near_duplicate_rate": "near-duplicates (lower is more diverse)",
    "distinct_1": "distinct words (higher)",
    "distinct_2": "distinct 2-grams (higher)",
    "distinct_3": "distinct 3-grams (higher)",
    "compression_ratio": "compression ratio (lower)",
    "vendi_score": "Vendi score (higher)",
    "texts": "… over texts",
    "words": "… distinct over words",
    "bytes": "… compressed bytes",
    "vendi_texts": "… Vendi over texts",
}


def show_diversity(found: Mapping[str, Any]) -> None:
    """The measures of a set beside those of real texts, and what the last texts of the set added."""
    table = Table(title="Diversity", title_justify="left")
    for column in ("measure", "the set", "real texts"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for name, label in MEASURES.items():
        table.add_row(label, _measured(found["set"].get(name)), _measured(found["corpus"].get(name)))
    console = new_console()
    console.print(table)
    console.print("Compare where the amounts are alike: the more text, the more of it repeats.")
    curve = found["curve"]
    if len(curve) > 1:
        added = [(point["texts"], point["new_trigrams_per_text"]) for point in curve]
        last, before = added[-1], added[-2]
        console.print(
            f"The last {last[0] - before[0]:,} texts brought {last[1]:.1f} new 3-grams each; the first {added[0][0]:,} "
            f"brought {added[0][1]:.1f}. Near 0, more of the same adds nothing."
        )


def _measured(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def warn_of_unsafe_execution() -> None:
    """Say what --unsafe-execution means, every time."""
    print(
        "hornbook: WARNING: --unsafe-execution: what a model wrote now runs on this machine as you, with your "
        "files and your network; every result of this run says so",
        file=sys.stderr,
    )


def show_plan(planned: Sequence[Intent], unknown: str, found: "Forecast") -> None:
    """Every step, done or to be run and why, or why the steps are unknown; then what the run will cost."""
    from hornbook.plan.view import forecast_view  # all stages' fingerprints, which other commands spare

    console = new_console()
    if unknown:
        console.print(f"[yellow]Which steps would run cannot be told now:[/yellow] {escape(printable(unknown))}\n")
    else:
        table = Table(box=None, pad_edge=False)
        for column in ("step", "", "why"):
            table.add_column(column)
        for intent in planned:
            done = intent.state == "done"
            what = "[green]done[/green]" if done else "[yellow]run[/yellow]"
            table.add_row(intent.step.name, what, escape(intent.why))
        console.print(table)
        to_run = sum(intent.state != "done" for intent in planned)
        console.print(f"\n{to_run} of {len(planned)} steps would run\n")
    for part in forecast_view(found):
        console.print(part)


def step_states(work: Path, steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The state of every step, with its counts or the error it stopped with."""
    states = []
    running = is_running(work)
    for step in steps:
        name = directory_name(step)
        state: str = state_of(work, step)
        row: dict[str, Any] = {"step": step.name, "directory": name, "state": state}
        if state == "done":
            manifest = read_manifest(work / name)
            row |= {"seconds": manifest["seconds"], "counts": manifest["counts"]}
        elif state == "failed":
            row["error"] = _failure(work / (name + PARTIAL) / FAILED)
        elif state == "interrupted" and running:
            row["state"] = "running"
        states.append(row)
    return states


def _failure(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"{path.name} is damaged, so the reason is lost"


def show_status(states: Sequence[Mapping[str, Any]]) -> None:
    """The state of every step as a table."""
    table = Table(box=None, pad_edge=False)
    for column in ("step", "state", "seconds", "rows"):
        table.add_column(column, justify="right" if column == "seconds" else "left")
    for row in states:
        seconds = f"{row['seconds']:.1f}" if "seconds" in row else ""
        what = escape(row.get("error") or _counted(row.get("counts")))
        style = STATE_STYLE[row["state"]]
        table.add_row(row["step"], f"[{style}]{row['state']}[/{style}]", seconds, what)
    new_console().print(table)


def peek_rows(path: Path, n: int, part: str) -> tuple[Path, list[dict[str, Any]]]:
    """The first `n` rows of a table, or of the table a step `made` or `dropped`.

    Raises UserError where there is no such table.
    """
    table = path
    if path.is_file() and part == "dropped" and not path.stem.endswith(".dropped"):
        table = path.with_name(f"{path.stem}.dropped{path.suffix}")  # as the commands of single stages write it
        if not table.is_file():
            raise UserError(f"{table}: no such table: nothing was dropped, or {path} is not by a command of ours")
    if path.is_dir():
        names = ("dropped",) if part == "dropped" else MADE
        found = [path / f"{name}.parquet" for name in names if (path / f"{name}.parquet").is_file()]
        found += [] if part == "dropped" else sorted(path.glob("*.parquet"))
        if not found:
            have = ", ".join(sorted(entry.name for entry in path.iterdir())) or "nothing"
            raise UserError(f"{path}: no table of rows that were {part} here; it holds {have}")
        table = found[0]
    if not table.is_file():
        raise UserError(f"{table}: no such table")
    if table.suffix == ".jsonl":
        return table, _peek_jsonl(table, n)
    try:
        with pq.ParquetFile(table) as parquet:
            batch = next(parquet.iter_batches(n), None)
            return table, [] if batch is None else batch.to_pylist()
    except (OSError, ValueError) as error:  # UnicodeDecodeError among the latter
        raise UserError(f"{table}: neither sound Parquet nor JSONL ({str(error).splitlines()[0]})") from error


def _peek_jsonl(table: Path, n: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with open(table, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if len(rows) == n:
                break
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UserError(f"{table}, line {number}: not JSON ({error})") from error
            rows.append(row if isinstance(row, dict) else {"": row})
    return rows


def show_rows(table: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows one below the other, long text indented and cut at 30 lines."""
    console = new_console()
    console.print(f"[dim]{escape(str(table))}[/dim]")
    for number, row in enumerate(rows, 1):
        console.rule(f"row {number}", style="dim")
        for key, value in row.items():
            name = escape(printable(key))
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            lines = printable(text).splitlines() or [""]
            if len(lines) == 1:
                console.print(f"[bold]{name}[/bold]  {escape(lines[0][:2000])}")
                continue
            more = [f"… {len(lines) - 30} more lines"] if len(lines) > 30 else []
            console.print(f"[bold]{name}[/bold]")
            console.print(escape("\n".join("    " + line for line in [*lines[:30], *more])))


def printable(text: str) -> str:
    """Text without the control characters that could steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def show_findings(findings: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each finding of the doctor as it comes; gives them all."""
    console = new_console()
    shown = []
    for finding in findings:
        style = STATE_STYLE[finding["state"]]
        console.print(f"[{style}]{finding['state']:<8}[/{style}] {finding['what']:<22} {escape(finding['detail'])}")
        shown.append(dict(finding))
    return shown
