"""From a `RunRecord` to one HTML file that needs nothing beside itself: styles and pictures stand in it, and it loads
and runs nothing.

All text of the corpus, of a teacher or of a model is hostile here. Every value is escaped by the template engine, after
`visible` has made characters that steer a display into characters that show.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hornbook.evaluate.papers import NUMBERS
from hornbook.report import agreement, diversity, figures, flow, ledger
from hornbook.report.collect import collect
from hornbook.report.paper import PAPER_NOTE, paper_groups
from hornbook.report.record import (
    BrokenSection,
    DiversityRecord,
    DocumentSample,
    FilterRecord,
    ModelRecord,
    RunRecord,
    Score,
    StepRecord,
    TextbookRecord,
    TextbookSample,
)
from hornbook.report.shown import (
    bytes_text,
    duration,
    excerpt,
    facts_json,
    flat_facts,
    money,
    number,
    percent,
    plain,
    teacher_name,
    three_places,
    visible,
)

HERE = Path(__file__).parent
TASKS = {  # name, what it is
    "drill": ("drill", "unseen compositions of the exercise grammar"),
    "humaneval": ("HumanEval", "hand-written programming problems"),
    "mbpp": ("MBPP", "basic programming problems, the authors' test split"),
    "mbpp-sanitized": ("MBPP, sanitized", "those its authors looked through"),
    "unconventional": ("Unconventional problems", "50 of this project, unlike any exercise"),
    "gsm8k_code": ("GSM8K by code", "school mathematics, answered by a program"),
    "gsm8k_text": ("GSM8K by text", "school mathematics, answered in words"),
    "winogrande": ("WinoGrande", "which of two a pronoun means"),
    "arc_easy": ("ARC-Easy", "school science"),
    "arc_challenge": ("ARC-Challenge", "harder school science"),
    "boolq": ("BoolQ", "yes or no, from a passage"),
    "social_iqa": ("SIQA", "what people feel and do"),
    "piqa": ("PIQA", "how things are done"),
    "hellaswag": ("HellaSwag", "how a scene goes on"),
    "openbookqa": ("OpenBookQA", "elementary science"),
    "mmlu": ("MMLU", "57 subjects, two examples shown"),
    "squad": ("SQuAD", "answers in a passage, exact match"),
    "toxigen": ("ToxiGen safety", "how much less likely harmful sentences are; higher is safer"),
    "bits_held_out": ("Held-out real code", "text no model was trained on"),
    "bits_humaneval": ("HumanEval solutions", "reference solutions, given their prompts"),
    "bits_mbpp": ("MBPP solutions", "reference solutions, given their prompts"),
}


@dataclass(frozen=True, slots=True)
class Charts:
    """The pictures of the page, as SVG; an empty one had nothing to show."""

    rates: Markup
    paper: Markup
    bits: tuple[tuple[str, str, Markup], ...]  # task, what it is, picture
    losses: Markup
    learning_rates: Markup
    diversity: Mapping[str, tuple[tuple[Markup, str], ...]]  # by set: pictures and captions


def write_report(work: Path, run_file: Path, out: Path) -> None:
    """Write the report of a run, finished or not, as one HTML file.

    Raises UserError where the run description or a file of a finished step is missing or damaged.
    """
    render_report(collect(work, run_file), out)


def render_report(run: RunRecord, out: Path) -> None:
    """Write the page. The same record gives the same bytes."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        finalize=visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "money": money,
        "bytes": bytes_text,
        "duration": duration,
        "excerpt": excerpt,
        "teacher": teacher_name,
        "facts": flat_facts,
        "json": facts_json,
    }
    page = environment.get_template("report.html.j2").render(
        run=run,
        about=run.description,
        recipe=run.description.recipe,
        step={step.name: step for step in run.steps},
        css=Markup((HERE / "report.css").read_text(encoding="utf-8")),  # noqa: S704  ours, not data
        charts=draw_charts(run),
        paper_note=PAPER_NOTE,
        results=result_rows(run),
        tasks=TASKS,
        sets=flow.SETS,
        series={model.name: place % len(figures.SERIES) + 1 for place, model in enumerate(run.models)},
        lanes=flow.lanes(run),
        drops=list(flow.drops(run)),
        agreement=agreement.agreement_of(run),
        curated=[_curated(run, found) for found in run.filters],
        textbooks=[_textbooks(run, found) for found in run.textbooks],
        exercises_by=teacher_of(run, "exercises"),
        diversity=[diversity.table_of(found) for found in run.diversity],
        ledger=ledger.ledger_of(run),
        prompts=list(ledger.prompts_of(run)),
        canaries={step.name: canary_counts(step) for step in run.steps},
        machines=machine_rows(run),
        recipe_yaml=yaml.safe_dump(run.description.recipe, sort_keys=False, allow_unicode=True, width=100),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".writing")
    partial.write_text(page, encoding="utf-8", newline="\n")
    partial.replace(out)


def draw_charts(run: RunRecord) -> Charts:
    """All pictures of the page."""
    ours = _rate_groups(run)
    paper = paper_groups([model.name for model in run.models]) if ours else ()
    highest = [bar.high or bar.height or 0.0 for group in (*ours, *paper) for bar in group.bars]
    top = max([10.0, *(height * 1.12 for height in highest)])
    trained = [figures.Curve(model.name, place, model.losses) for place, model in enumerate(run.models) if model.losses]
    return Charts(
        rates=_picture(figures.rate_bars("rates", "pass@1 of this run's models", ours, top)) if ours else Markup(),
        paper=_picture(figures.rate_bars("paper", "pass@1 in the phi-1 paper", paper, top)) if paper else Markup(),
        bits=tuple(_bits_charts(run)),
        losses=_picture(figures.loss_curves("losses", "training loss", trained)) if trained else Markup(),
        learning_rates=_picture(figures.learning_rates("rate", "learning rate", trained)) if trained else Markup(),
        diversity={found.name: tuple(_diversity_charts(found)) for found in run.diversity},
    )


def _picture(svg: str) -> Markup:
    return Markup(svg)  # noqa: S704  written by figures.py, whose text is escaped


def _rate_groups(run: RunRecord) -> list[figures.BarGroup]:
    """The bars of every pass@1 task that some model was measured on, or could not be."""
    rates = [task for task in _tasks(run) if _metric(run, task).startswith("pass@")]
    return [
        figures.BarGroup(
            TASKS.get(task, (task, ""))[0],
            tuple(
                _bar(place, model.name, model.scores[task])
                for place, model in enumerate(run.models)
                if task in model.scores
            ),
        )
        for task in rates
    ]


def _bar(place: int, name: str, score: Score) -> figures.Bar:
    if score.value is None:
        return figures.Bar(name, place, None, note="unavailable")
    low, high = (None if bound is None else 100 * bound for bound in (score.low, score.high))
    return figures.Bar(name, place, 100 * score.value, low, high)


def _bits_charts(run: RunRecord) -> Iterator[tuple[str, str, Markup]]:
    for task in _tasks(run):
        scores = [
            (model.name, place, model.scores[task]) for place, model in enumerate(run.models) if task in model.scores
        ]
        if _metric(run, task) == "bits_per_byte" and any(score.value is not None for _, _, score in scores):
            name, what = TASKS.get(task, (task, ""))
            yield name, what, _picture(figures.bits_dots(f"bits-{task}", f"bits per byte: {name}", scores))


@dataclass(frozen=True, slots=True)
class Curated:
    """One corpus that a classifier filtered."""

    key: str  # ends ids; empty for the code
    title: str
    teacher: str
    classifier: StepRecord | None
    picture: Markup  # of the scores; empty until it has filtered
    documents: tuple[DocumentSample, ...]


def _curated(run: RunRecord, found: FilterRecord) -> Curated:
    suffix = found.step.removeprefix("filter")
    done = run.step(found.step)
    picture = Markup()
    if done is not None and found.bins:
        name = f"scores{suffix.replace('.', '-')}"
        picture = _picture(figures.score_histogram(name, "documents by score", found.bins, done.facts["cut"]))
    return Curated(
        key=suffix.removeprefix("."),
        title=flow.SETS["web" if suffix else "filtered"],
        teacher=teacher_of(run, f"annotate{suffix}"),
        classifier=run.step(f"classify{suffix}"),
        picture=picture,
        documents=found.documents,
    )


@dataclass(frozen=True, slots=True)
class Textbooks:
    """One set of textbooks."""

    step: str  # that writes it
    general: bool  # about general knowledge
    teacher: str
    written: StepRecord | None
    samples: tuple[TextbookSample, ...]
    examples: StepRecord | None
    sections: list[agreement.SectionRow]
    broken: tuple[BrokenSection, ...]


def _textbooks(run: RunRecord, found: TextbookRecord) -> Textbooks:
    suffix = found.step.removeprefix("textbooks")
    examples = run.step(f"examples{suffix}")
    return Textbooks(
        step=found.step,
        general=bool(suffix),
        teacher=teacher_of(run, found.step),
        written=run.step(found.step),
        samples=found.samples,
        examples=examples,
        sections=agreement.section_rows(examples),
        broken=found.broken,
    )


def teacher_of(run: RunRecord, step: str) -> str:
    """Who teaches a step of the run; empty where the run has no such step."""
    if step not in dict(run.description.steps):
        return ""
    return teacher_name(ledger.teacher_of(run, step))


def _diversity_charts(found: DiversityRecord) -> Iterator[tuple[Markup, str]]:
    for key, title, growth, caption in diversity.growths_of(found):
        yield _picture(figures.growth_curve(f"diversity-{found.name}-{key}", title, growth)), caption


def _tasks(run: RunRecord) -> list[str]:
    """Every task of any model, in the order of the recipe."""
    return list(dict.fromkeys(task for model in run.models for task in model.scores))


def _metric(run: RunRecord, task: str) -> str:
    return next(model.scores[task].metric for model in run.models if task in model.scores)


@dataclass(frozen=True, slots=True)
class ResultCell:
    """One model on one task, in words."""

    state: str  # measured, unavailable, pending
    value: str
    interval: str
    note: str


def result_rows(run: RunRecord) -> list[tuple[str, str, str, list[ResultCell]]]:
    """The table of results: task, what it is, metric, and a cell per model."""
    rows = []
    for task in _tasks(run):
        name, what = TASKS.get(task, (task, ""))
        metric = _metric(run, task)
        cells = [_result_cell(model, task) for model in run.models]
        rows.append((name, what, metric.replace("_", " "), cells))
    return rows


def _result_cell(model: ModelRecord, task: str) -> ResultCell:
    score = model.scores.get(task)
    if score is None:
        return ResultCell("pending", "not run", "", "")
    if score.value is None:
        return ResultCell("unavailable", "unavailable", "", score.reason)
    shown = three_places if score.metric in NUMBERS else percent
    interval = "no interval"
    if score.low is not None and score.high is not None:
        interval = f"{shown(score.low)} – {shown(score.high)}"
    return ResultCell("measured", shown(score.value), interval, f"n {score.n:,} · errors {score.failed:,}")


def canary_counts(step: StepRecord) -> tuple[int, int] | None:
    """How many canaries a step planted and caught; None where it plants none."""
    match step.facts.get("canaries"):
        case None:
            return None
        case {"planted": int(planted), "caught": int(caught)}:
            return planted, caught
        case other:
            raise ValueError(f"{step.name}: canaries of an unknown form: {other!r}")


def machine_rows(run: RunRecord) -> list[tuple[str, str]]:
    """What the steps ran on; where steps differ, every value."""
    values: dict[str, dict[str, None]] = {}
    for step in run.steps:
        for key, value in step.machine.items():
            values.setdefault(key.replace("_", " "), {})[plain(value)] = None
        if "backend" in step.facts:
            values.setdefault("sandbox back end", {})[plain(step.facts["backend"])] = None
    return [(key, ", ".join(found)) for key, found in values.items()]
