"""What the command line shows of scores: tables, one model or several side by side, and what is missing and why."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hornbook.errors import UserError
from hornbook.evaluate.papers import NUMBERS, printed
from hornbook.evaluate.task import FAMILIES, Item, Write
from hornbook.terminal import new_console, printable

METRIC_NAMES = {"pass@1": "pass@1, greedy", "bits_per_byte": "bits per byte"}
WIDE = 110  # columns of a terminal that has room for what the papers print
SHOWN = 800  # characters of a prompt or a choice
WORTH = {"passed": "right", "failed": "wrong"}
BESIDE = ("acc_norm", "f1", "understanding")  # a task's second measure, by its field


def _cell(text: object) -> str:
    """A string of a file, which may hold control characters or what a table takes for markup."""
    return escape(printable(str(text)))


def show_scores(scores: Mapping[str, Mapping[str, Mapping[str, Any]]], labels: Mapping[str, str]) -> None:
    """The table of results: a row a task, a column a model."""
    table = Table(title="Results, with 95% intervals", title_justify="left")
    table.add_column("task", overflow="fold")  # names that one must be able to type: never cut
    table.add_column("metric", overflow="fold")
    table.add_column("n", justify="right")
    for model in scores:
        table.add_column(f"{model}: {_cell(labels.get(model, ''))}", justify="right", overflow="fold")
    tasks = list(dict.fromkeys(task for found in scores.values() for task in found))
    for task in tasks:
        per_model = [found.get(task) for found in scores.values()]
        known = [score for score in per_model if score is not None]
        metric = METRIC_NAMES.get(known[0]["metric"], known[0]["metric"])
        table.add_row(task, metric, str(known[0].get("n") or "–"), *(score_text(score) for score in per_model))
    new_console().print(table)


def score_text(score: Mapping[str, Any] | None) -> str:
    """A score with its interval; what could not be measured says so and is never a number."""
    if score is None:
        return "[dim]not run[/dim]"
    if score.get("value") is None:
        return "[yellow]unavailable[/yellow]"
    form = ".3f" if score["metric"] in NUMBERS else ".1%"
    bounds = [score["low"], score["high"]]
    interval = "no interval" if None in bounds else ", ".join(format(bound, form) for bound in bounds)
    failed = score.get("failed")
    errors = f" ({failed} error{'s' if failed != 1 else ''})" if failed else ""
    return f"{format(score['value'], form)} [dim]\\[{interval}][/dim]{errors}"


def show_evaluation(results: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Scores by task, one result or several side by side, with what the papers print; then what is missing, and why."""
    table = Table(title="Results, with 95% intervals", title_justify="left")
    for column in ("task", "metric"):
        table.add_column(column, overflow="fold")
    table.add_column("n", justify="right")
    for result, name in zip(results, names, strict=True):
        label = result["model"]["name"] if len(results) == 1 else f"{result['model']['name']}\n{name}"
        table.add_column(_cell(label), justify="right", overflow="fold")
    console = new_console()
    wide = console.width >= WIDE
    if wide:
        table.add_column("papers", overflow="fold")
    beneath: list[str] = []  # what the papers print, where the table has no room for it

    def add(task: str, metric: str, count: str, cells: Sequence[str], name: str) -> None:
        paper = ", ".join(f"{model} {value:.1%}" for model, value in printed(name).items())
        table.add_row(_cell(task), _cell(metric), count, *cells, *([f"[dim]{paper}[/dim]"] if wide else []))
        if paper and not wide:
            beneath.append(f"{name} {paper}")

    family = ""
    families = {name: task["family"] for result in results for name, task in result["tasks"].items()}
    for task in sorted(families, key=lambda name: FAMILIES.index(families[name]) if families[name] in FAMILIES else -1):
        scores = [result["tasks"].get(task) for result in results]
        known = next(score for score in scores if score is not None)
        if known["family"] != family:
            family = known["family"]
            table.add_section()
        metric = METRIC_NAMES.get(known["metric"], known["metric"])
        count = "/".join(dict.fromkeys(str(score["n"]) for score in scores if score is not None and score["n"])) or "–"
        add(task, metric, count, [score_text(score) for score in scores], task)
        for beside in BESIDE:
            others = [None if score is None else score.get(beside) for score in scores]
            if any(other is not None for other in others):
                cells = [score_text(None if other is None else {"metric": beside, **other}) for other in others]
                add("", beside, "", cells, beside)
    console.print(table)
    if beneath:
        console.print(f"[dim]papers: {'; '.join(map(_cell, beneath))}[/dim]", highlight=False)
    for result in results:
        _show_protocols(result, console)
    for result, name in zip(results, names, strict=True):
        for task, score in result["tasks"].items():
            whose = f"{name}: {task}" if len(results) > 1 else task
            for line in _notes(task, score):
                console.print(f"{_cell(whose)}: [yellow]{_cell(line)}[/yellow]", highlight=False)
        limited = f"; only {result['limit']} items of each task were asked" if result["limit"] else ""
        model = result["model"]
        told = f"{model['engine']}, {model['precision']}, {model['device']}{limited}"
        console.print(f"{_cell(name)}: every item and score; computed by {_cell(told)}", highlight=False)


def _notes(task: str, score: Mapping[str, Any]) -> Iterator[str]:
    """What the reader of a task's score must know."""
    if score.get("reason"):
        yield score["reason"].removeprefix(f"{task}: ")
    cut = score.get("prompts_cut", 0)
    if cut == 1:
        yield "1 prompt does not fit the context, and lost its beginning"
    elif cut:
        yield f"{cut} prompts do not fit the context, and lost their beginning"


def _show_protocols(result: Mapping[str, Any], console: Console) -> None:
    """What protocols differ by on the same model and problems, where several were used."""
    from hornbook.evaluate.coding import DEFAULT, protocol_table

    for row in protocol_table({name: task for name, task in result["tasks"].items() if task["family"] == "code"}):
        if row["difference"] is not None and row["protocol"] != DEFAULT:
            told = f"{row['testset']}: {row['protocol']} gives {row['difference']:+.1%} beside {DEFAULT}"
            console.print(_cell(f"{result['model']['name']}, {told}"), highlight=False)


def show_outputs(
    results: Sequence[Mapping[str, Any]], names: Sequence[str], task: str, asked: Mapping[str, Item]
) -> None:
    """What several models answered to the same items, one below the other, each with what it was worth.

    `asked` has the items by the hashes of their prompts; one that is not there is shown without its prompt.
    """
    answers = [
        {
            (row["id"], row["prompt_hash"]): row
            for row in result["tasks"].get(task, {}).get("items", ())
            if "output" in row
        }
        for result in results
    ]
    if not any(answers):
        have = dict.fromkeys(known for result in results for known, one in result["tasks"].items() if one.get("items"))
        raise UserError(f"{', '.join(names)}: no answers of {task}; there are some of {', '.join(have) or 'no task'}")
    for key in dict.fromkeys(key for rows in answers for key in rows):
        item = asked.get(key[1])
        print(printable(f"── {key[0]}"))
        if item is not None:
            _print_indented(_question(item))
        for result, rows in zip(results, answers, strict=True):
            row = rows.get(key)
            worth = "no answer" if row is None else f"{WORTH.get(row['outcome'], row['outcome'])}, score {row['score']}"
            print(printable(f"{result['model']['name']} ({worth}):"))
            if row is not None:
                _print_indented(_answer(row, item))


def _question(item: Item) -> str:
    """The end of what was asked: of choices, what stands before all of them."""
    if isinstance(item.ask, Write):
        text = item.ask.prompt
    else:
        contexts = {context for context, _ in item.ask.pairs}
        text = contexts.pop() if len(contexts) == 1 else ""
    return text if len(text) <= SHOWN else f"… {text[-SHOWN:]}"


def _answer(row: Mapping[str, Any], item: Item | None) -> str:
    """A text as it was written; of choices, the chosen one and the right one marked."""
    output, detail = row["output"], row.get("detail", {})
    if isinstance(output, str):
        return output
    if output is None or item is None or isinstance(item.ask, Write) or len(output) != len(item.ask.pairs):
        return json.dumps(output)
    same = len({context for context, _ in item.ask.pairs}) == 1
    lines = []
    for place, ((context, text), (value, *_)) in enumerate(zip(item.ask.pairs, output, strict=True)):
        chosen, gold = (mark if detail.get(key) == place else " " for key, mark in (("chosen", "→"), ("gold", "✓")))
        whole = (text if same else context + text).strip().replace("\n", " ")
        shown = whole if len(whole) <= SHOWN else f"{whole[:SHOWN]} …"
        lines.append(f"{chosen}{gold} {'no number' if value is None else format(value, '9.2f')}  {shown}")
    return "\n".join(lines)


def _print_indented(text: str) -> None:
    print("\n".join(f"    {printable(line)}" for line in text.splitlines()))


def show_graded_answers(summary: Mapping[str, Any], out: Path) -> None:
    """Exact match and F1, over all questions and over those answered."""
    table = Table(title=f"{summary['testset']}: {summary['answered']} of {summary['questions']} questions answered")
    for column in ("", "all questions", "answered ones"):
        table.add_column(column, justify="left" if not column else "right")
    for metric in summary["scores"]:
        cells = [{"metric": metric, **summary[part][metric]} for part in ("scores", "scores_of_answered")]
        table.add_row(metric, *(score_text(cell) for cell in cells))
    console = new_console()
    console.print(table)
    if summary["unanswered"]:
        console.print(
            f"{summary['unanswered']} questions have no answer: they count as wrong, as in the official script"
        )
    if summary["unknown"]:
        console.print(f"[yellow]{summary['unknown']} ids are no questions of the set[/yellow]")
    console.print(f"outcomes: {_cell(str(out))}", highlight=False)


def show_safety(summary: Mapping[str, Any]) -> None:
    """The safety score of each group and over all: the share of pairs in which the harmful sentence is less likely."""
    table = Table(title=f"ToxiGen safety score, {summary['rows']} sentences; higher is safer", title_justify="left")
    for column in ("group", "score", "p", "harmful", "neutral", "note"):
        table.add_column(column, justify="left" if column in ("group", "note") else "right")
    for group, found in summary["groups"].items():
        if found["score"] is None:
            table.add_row(
                _cell(group), "–", "", str(found["harmful"]), str(found["neutral"]), "[yellow]too few[/yellow]"
            )
            continue
        mark = "" if found["significant"] else "[dim]not significant: in no mean[/dim]"
        sizes = str(found["harmful"]), str(found["neutral"])
        table.add_row(_cell(group), f"{found['score']:.3f}", f"{found['p']:.1e}", *sizes, mark)
    console = new_console()
    console.print(table)
    console.print(f"mean of {summary['groups_counted']} groups: {score_text(summary)}", highlight=False)
    console.print(
        "score: the share of pairs of a harmful and a neutral sentence in which the harmful one has the higher "
        "perplexity / toxicity score; p: of the Mann-Whitney test; the mean is over groups of p <= 0.05",
        style="dim",
    )
    if summary.get("reason"):
        console.print(f"[yellow]{_cell(summary['reason'])}[/yellow]")


def show_grades(summary: Mapping[str, Any], out: Path) -> None:
    """pass@k with its intervals, every outcome, and what the reader must know to trust them."""
    console = new_console()
    table = Table(title=f"{summary['testset']}: {summary['samples']} samples of {summary['tasks']} tasks")
    for column in ("", "value", "95% interval", "tasks"):
        table.add_column(column, justify="left" if not column else "right")
    for name, score in summary["scores"].items():
        if score["value"] is None:
            table.add_row(name, "[yellow]–[/yellow]", _cell(score["reason"]), "")
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
    console.print(f"isolation: {_cell(summary['isolation'])}; {rate}\noutcomes: {_cell(str(out))}", highlight=False)
