"""A plan as a person reads it: one table a question, and below it what its figures stand on."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from hornbook.plan.disk import DiskUse
from hornbook.plan.forecast import Forecast
from hornbook.plan.papers import Comparison
from hornbook.plan.sets import SetTokens, Vocabulary
from hornbook.plan.teacher import TeacherCost
from hornbook.plan.training import FLOPS_BASIS, Fit, Hours, ModelCost

CERTAINTY = {"measured": "", "at most": "≤ ", "about": "~ "}
EPOCHS = {"measured": "", "at most": "≥ ", "about": "~ "}  # the fewer tokens a set has, the more often it is read
SMALL_PARAMETERS = 100_000_000
PARALLEL = {"one process": "one GPU", "ddp": "DDP", "fsdp": "FSDP"}


def forecast_view(found: Forecast) -> Iterator[RenderableType]:
    """Every part of a forecast, in the order of the pipeline."""
    yield from _teacher(found.teacher, found.max_usd)
    yield from _sets(found.sets, found.models, found.vocabulary)
    yield from _models(found.models)
    yield from _hours(found.hours, found.models)
    if found.papers:
        yield from _papers(found.papers)
    yield from _memory(found.memory)
    yield from _disk(found.disk)


def _table(title: str, *columns: str) -> Table:
    """The first column to the left, figures to the right."""
    table = Table(title=f"[bold]{title}[/bold]", title_justify="left", title_style="", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        # A number that is cut is wrong; a name may be folded.
        table.add_column(column, justify="right" if number else "left", no_wrap=number > 0, header_style="dim")
    return table


def _notes(notes: Sequence[str]) -> RenderableType:
    return Padding(
        "[dim]" + "\n".join(escape(note) for note in dict.fromkeys(notes)) + "[/dim]", (0, 0, 1, 2), expand=False
    )


def _teacher(costs: Sequence[TeacherCost], max_usd: float | None) -> Iterator[RenderableType]:
    if not costs:
        yield "[bold]Teacher[/bold]"
        yield _notes(["built in: nothing is asked, and nothing paid"])
        return
    table = _table("Teacher", "step", "requests", "tokens in", "tokens out", "at most", "$", "at most")
    for cost in costs:
        table.add_row(
            cost.step,
            amount(cost.requests),
            amount(cost.prompt_tokens),
            amount(cost.reply_tokens),
            amount(cost.reply_tokens_at_most),
            _usd(cost.usd),
            _usd(cost.usd_at_most),
        )
    known = [cost for cost in costs if cost.usd is not None]
    if known:
        total, most = (sum(cost.usd or 0 for cost in known), sum(cost.usd_at_most or 0 for cost in known))
        what = "all" if len(known) == len(costs) else "those with a price"
        table.add_row(what, "", "", "", "", _usd(total), _usd(most), style="bold")
    yield table
    notes = [f"{cost.step}: {cost.teacher}, {cost.basis}" for cost in costs]
    notes.append("tokens out: a reply as long as its prompt asks for; at most: max_tokens, thinking included")
    if max_usd is not None:
        notes.append(f"machine.teacher.max_usd stops all of it at ${max_usd:,.2f}")
    yield _notes(notes)


def _usd(usd: float | None) -> str:
    return "[yellow]?[/yellow]" if usd is None else f"{usd:,.0f}" if usd >= 1000 else f"{usd:,.2f}"


def _sets(sets: Sequence[SetTokens], models: Sequence[ModelCost], words: Vocabulary) -> Iterator[RenderableType]:
    table = _table("Tokens and epochs", "set", "tokens", *(f"epochs in {escape(model.name)}" for model in models))
    for each in sets:
        epochs = (model.epochs.get(each.name) for model in models)
        table.add_row(
            each.name,
            CERTAINTY[each.certainty] + amount(each.tokens),
            *("" if epoch is None else EPOCHS[each.certainty] + _number(epoch) for epoch in epochs),
        )
    yield table
    yield _notes(
        [*(f"{each.name}: {each.basis}" for each in sets), f"tokenizer: {words.entries:,} entries, {words.basis}"]
    )


def _models(models: Sequence[ModelCost]) -> Iterator[RenderableType]:
    table = _table("Models", "model", "parameters", "steps", "tokens", "FLOPs")
    for model in models:
        name = f"{escape(model.name)} [dim]{escape(model.label)}[/dim]" + (" [green]done[/green]" if model.done else "")
        table.add_row(name, f"{model.parameters:,}", f"{model.steps:,}", amount(model.tokens), f"{model.flops:.3g}")
    yield table
    yield _notes([f"FLOPs: {FLOPS_BASIS}"])


def _hours(hours: Sequence[Hours], models: Sequence[ModelCost]) -> Iterator[RenderableType]:
    left = [model for model in models if not model.done]
    if not left:
        return
    processes = max(each.processes for each in hours)
    headings = [escape(model.name) for model in left]
    totals = (["all"] if len(left) > 1 else []) + ([f"on {processes}"] if processes > 1 else [])
    table = _table("GPU time", "GPU", "TFLOP/s", "of peak", *headings, *totals)
    for each in hours:
        own = [span(each.hours[model.name]) for model in left]
        share = "measured" if each.utilization is None else f"{each.utilization:.0%}"
        total = [f"[bold]{span(each.total_hours)}[/bold]"] if len(left) > 1 else []
        together = [f"[bold]{span(each.wall_hours, days=True)}[/bold]"] if processes > 1 else []
        table.add_row(escape(each.device), f"{each.teraflops:.3g}", share, *own, *total, *together)
    yield table
    notes = [f"{each.device}: {each.basis}" for each in hours]
    if left[0].parameters < SMALL_PARAMETERS:
        notes.append("a model this small does not fill a GPU: it will take longer there than this")
    notes.append("training alone, without data and evaluation" + ("; GPUs side by side lose nothing" * (processes > 1)))
    yield _notes(notes)


def _papers(papers: Sequence[Comparison]) -> Iterator[RenderableType]:
    yield "[bold]Beside the papers[/bold]"
    yield _notes([f"{each.model}: {each.note}" for each in papers])


def _memory(memory: Sequence[Fit]) -> Iterator[RenderableType]:
    processes = max(fit.processes for fit in memory)
    unit, size_of = _unit(max(fit.total_bytes for fit in memory))
    title = f"Memory of one GPU, in {unit}" if processes == 1 else f"Memory of each of {processes} GPUs, in {unit}"
    table = _table(title, "GPU", "fits", "weights", "grads", "moments", "copies", "activ.", "working", "all")
    for fit in memory:
        parts = fit.parts
        name = fit.gpu if processes == 1 else f"{fit.gpu} {PARALLEL[fit.parallel]}"
        fitting = f"{fit.micro_batch}" if fit.micro_batch else "[red]no[/red]"
        sizes = (
            parts.weights,
            parts.gradients,
            parts.moments,
            parts.copies + parts.gathered,
            parts.activations,
            parts.working,
            fit.total_bytes,
        )
        table.add_row(name + ("*" if fit.checkpointing else ""), fitting, *(_number(size / size_of) for size in sizes))
    yield table
    notes = [
        "fits: the largest micro-batch, in sequences, at which all parts stay within 90% of the GPU's memory",
        "copies: of weights at the precision of matrix products, and what FSDP gathers; working: the loss or one block",
    ]
    if any(fit.checkpointing for fit in memory):
        notes.append("*: with activation checkpointing, which computes a third more")
    yield _notes(notes)


def _disk(disk: Sequence[DiskUse]) -> Iterator[RenderableType]:
    total = sum(use.bytes for use in disk)
    unit, size_of = _unit(total)
    table = _table("Disk", "", unit)
    for use in disk:
        table.add_row(use.what, _number(use.bytes / size_of))
    table.add_row("all", _number(total / size_of), style="bold")
    yield table
    yield _notes([f"{use.what}: {use.basis}" for use in disk])


def amount(count: int) -> str:
    """A count in three digits: 812, 51.2k, 880k, 50.3B."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * size:
            scaled = count / size
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}{letter}"
    return str(count)


def _unit(largest: int) -> tuple[str, float]:
    """The decimal unit in which a table whose largest figure this is can be read, and its bytes."""
    return ("GB", 1e9) if largest >= 1e9 else ("MB", 1e6)


def span(hours: float, days: bool = False) -> str:
    """A time in the unit that suits it; in `days` too where it is wall time, for GPUs are rented by the hour."""
    if days and hours >= 48:
        return f"{hours / 24:.1f} days"
    if hours >= 1:
        return f"{hours:,.0f} h" if hours >= 9.95 else f"{hours:.1f} h"
    return f"{hours * 60:.0f} min" if hours * 60 >= 1 else f"{hours * 3600:.1f} s"


def _number(value: float) -> str:
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"
