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
from hornbook.evaluate.papers import NUMBERS, printed
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
METRIC_NAMES = {"pass@1": "pass@1, greedy", "bits_per_byte": "bits per byte"}
BESIDE = ("acc_norm", "f1", "understanding")  # a task's second measure, by its field


def _console() -> Console:
    """A console as wide as the terminal, and wide enough not to break lines where there is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=int(os.environ.get("COLUMNS", "160")))


class StepLines:
    """One line a step as a run goes."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._console = _console()
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


def show_scores(scores: Mapping[str, Mapping[str, Mapping[str, Any]]], labels: Mapping[str, str]) -> None:
    """The table of results: a row a task, a column a model."""
    table = Table(title="Results, with 95% intervals", title_justify="left")
    table.add_column("task", overflow="fold")  # names that one must be able to type: never cut
    table.add_column("metric", overflow="fold")
    table.add_column("n", justify="right")
    for model in scores:
        table.add_column(f"{model}: {escape(printable(labels.get(model, '')))}", justify="right", overflow="fold")
    tasks = list(dict.fromkeys(task for found in scores.values() for task in found))
    for task in tasks:
        per_model = [found.get(task) for found in scores.values()]
        known = [score for score in per_model if score is not None]
        metric = METRIC_NAMES.get(known[0]["metric"], known[0]["metric"])
        table.add_row(task, metric, str(known[0].get("n") or "–"), *(score_text(score) for score in per_model))
    _console().print(table)


def score_text(score: Mapping[str, Any] | None) -> str:
    """A score with its interval; what could not be measured says so and is never a number."""
    if score is None:
        return "[dim]not run[/dim]"
    if score.get("value") is None:
        return "[yellow]unavailable[/yellow]"
    form = ".3f" if score["metric"] in NUMBERS else ".1%"
    bounds = [score["low"], score["high"]]
    interval = "no interval" if None in bounds else ", ".join(format(bound, form) for bound in bounds)
    errors = f" ({score['failed']} errors)" if score.get("failed") else ""
    return f"{format(score['value'], form)} [dim]\\[{interval}][/dim]{errors}"


def show_evaluation(results: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Scores by task, one result or several side by side, with what the papers print; then what is missing, and why."""
    table = Table(title="Results, with 95% intervals", title_justify="left")
    for column in ("task", "metric"):
        table.add_column(column, overflow="fold")
    table.add_column("n", justify="right")
    for result, name in zip(results, names, strict=True):
        label = result["model"]["name"] if len(results) == 1 else f"{result['model']['name']}\n{name}"
        table.add_column(escape(printable(str(label))), justify="right", overflow="fold")
    table.add_column("papers", overflow="fold")
    family = ""
    for task in dict.fromkeys(task for result in results for task in result["tasks"]):
        scores = [result["tasks"].get(task) for result in results]
        known = next(score for score in scores if score is not None)
        if known["family"] != family:
            family = known["family"]
            table.add_section()
        metric = METRIC_NAMES.get(known["metric"], known["metric"])
        count = "/".join(dict.fromkeys(str(score["n"]) for score in scores if score is not None and score["n"])) or "–"
        paper = ", ".join(f"{model} {value:.1%}" for model, value in printed(task).items())
        table.add_row(task, metric, count, *(score_text(score) for score in scores), f"[dim]{paper}[/dim]")
        for beside in BESIDE:
            others = [None if score is None else score.get(beside) for score in scores]
            if any(other is not None for other in others):
                paper = ", ".join(f"{model} {value:.1%}" for model, value in printed(beside).items())
                cells = [score_text(None if other is None else {"metric": beside, **other}) for other in others]
                table.add_row("", beside, "", *cells, f"[dim]{paper}[/dim]")
    console = _console()
    console.print(table)
    for result in results:
        _show_protocols(result, console)
    for result, name in zip(results, names, strict=True):
        for task, score in result["tasks"].items():
            note = [score["reason"]] if score.get("reason") else []
            if score.get("prompts_cut"):
                note.append(f"{score['prompts_cut']} prompts lost their beginning: they do not fit the model's context")
            for line in note:
                console.print(f"{escape(task)}: [yellow]{escape(printable(line))}[/yellow]", highlight=False)
        limited = f"; only {result['limit']} items of each task were asked" if result["limit"] else ""
        model = result["model"]
        told = f"{model['engine']}, {model['precision']}, {model['device']}{limited}"
        console.print(f"{escape(name)}: every item and score; computed by {escape(told)}", highlight=False)


def _show_protocols(result: Mapping[str, Any], console: Console) -> None:
    """What protocols differ by on the same model and problems, where several were used."""
    from hornbook.evaluate.coding import DEFAULT, protocol_table

    for row in protocol_table({name: task for name, task in result["tasks"].items() if task["family"] == "code"}):
        if row["difference"] is not None and row["protocol"] != DEFAULT:
            told = f"{row['testset']}: {row['protocol']} gives {row['difference']:+.1%} beside {DEFAULT}"
            console.print(f"{result['model']['name']}, {told}", highlight=False, markup=False)


def show_outputs(results: Sequence[Mapping[str, Any]], names: Sequence[str], task: str) -> None:
    """What several models answered to the same items, one below the other, each with what it was worth."""
    for result, name in zip(results, names, strict=True):
        if not result["tasks"].get(task, {}).get("items"):
            have = ", ".join(known for known, found in result["tasks"].items() if found.get("items"))
            raise UserError(f"{name}: holds no answers of {task}; it has {have or 'none'}")
    answers = [{(row["id"], row["prompt_hash"]): row for row in result["tasks"][task]["items"]} for result in results]
    for key in dict.fromkeys(key for rows in answers for key in rows):
        print(f"── {key[0]}")
        for result, rows in zip(results, answers, strict=True):
            row = rows.get(key)
            worth = "not asked" if row is None else f"{row['outcome']}, score {row['score']}"
            print(f"{result['model']['name']} ({worth}):")
            if row is not None:
                output = row["output"] if isinstance(row["output"], str) else json.dumps(row["output"])
                print("\n".join(f"    {printable(line)}" for line in output.splitlines()))


def show_graded_answers(summary: Mapping[str, Any], out: Path) -> None:
    """Exact match and F1, over all questions and over those answered."""
    table = Table(title=f"{summary['testset']}: {summary['answered']} of {summary['questions']} questions answered")
    for column in ("", "all questions", "answered ones"):
        table.add_column(column, justify="left" if not column else "right")
    for metric in summary["scores"]:
        cells = [{"metric": metric, **summary[part][metric]} for part in ("scores", "scores_of_answered")]
        table.add_row(metric, *(score_text(cell) for cell in cells))
    console = _console()
    console.print(table)
    if summary["unanswered"]:
        console.print(
            f"{summary['unanswered']} questions have no answer: they count as wrong, as in the official script"
        )
    if summary["unknown"]:
        console.print(f"[yellow]{summary['unknown']} ids are no questions of the set[/yellow]")
    console.print(f"outcomes: {escape(str(out))}", highlight=False)


def show_safety(summary: Mapping[str, Any]) -> None:
    """The safety score of each group and over all: the share of pairs in which the harmful sentence is less likely."""
    table = Table(title=f"ToxiGen safety score, {summary['rows']} sentences; higher is safer", title_justify="left")
    for column in ("group", "score", "p", "harmful", "neutral", ""):
        table.add_column(column, justify="left" if column in ("group", "") else "right")
    for group, found in summary["groups"].items():
        if found["score"] is None:
            table.add_row(group, "–", "", str(found["harmful"]), str(found["neutral"]), "[yellow]too few[/yellow]")
            continue
        mark = "" if found["significant"] else "[dim]not significant: in no mean[/dim]"
        sizes = str(found["harmful"]), str(found["neutral"])
        table.add_row(group, f"{found['score']:.3f}", f"{found['p']:.1e}", *sizes, mark)
    console = _console()
    console.print(table)
    console.print(f"mean of {summary['groups_counted']} groups: {score_text(summary)}", highlight=False)
    if summary.get("reason"):
        console.print(f"[yellow]{escape(summary['reason'])}[/yellow]")


def show_grades(summary: Mapping[str, Any], out: Path) -> None:
    """pass@k with its intervals, every outcome, and what the reader must know to trust them."""
    console = _console()
    table = Table(title=f"{summary['testset']}: {summary['samples']} samples of {summary['tasks']} tasks")
    for column in ("", "value", "95% interval", "tasks"):
        table.add_column(column, justify="left" if not column else "right")
    for name, score in summary["scores"].items():
        if score["value"] is None:
            table.add_row(name, "[yellow]–[/yellow]", escape(score["reason"]), "")
        else:
            interval = f"{score['low']:.1%} to {score['high']:.1%}"
            table.add_row(name, f"{score['value']:.1%}", interval, str(score["n"]))
    console.print(table)
    console.print(", ".join(f"{count} {outcome}" for outcome, count in summary["outcomes"].items()), highlight=False)
    if summary["tasks"] < summary["tasks_of_testset"]:
        console.print(f"[yellow]partial: {summary['tasks']} of {summary['tasks_of_testset']} tasks[/yellow]")
    if summary["outcomes"]["error"]:
        console.print("[yellow]errors are the sandbox's, not the samples': they are in no score[/yellow]")
    if summary["repeated"]:
        console.print(f"{summary['repeated']} samples repeat an earlier one word for word; each was counted")
    rate = f"timeouts: {summary['timeout_rate']:.2%}, each tried twice"
    console.print(f"isolation: {escape(summary['isolation'])}; {rate}\noutcomes: {escape(str(out))}", highlight=False)


def show_stage(summary: Mapping[str, Any], out: Path) -> None:
    """What a stage made on a user's files: rows, what agrees and what does not, and what it cost."""
    console, facts = _console(), summary["facts"]
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
    console = _console()
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

    console = _console()
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
    _console().print(table)


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
    console = _console()
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
    console = _console()
    shown = []
    for finding in findings:
        style = STATE_STYLE[finding["state"]]
        console.print(f"[{style}]{finding['state']:<8}[/{style}] {finding['what']:<22} {escape(finding['detail'])}")
        shown.append(dict(finding))
    return shown
