"""The commands that run one stage on a user's own files. Parses, calls, prints; everything heavy is imported inside."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from hornbook.errors import UserError

if TYPE_CHECKING:
    from hornbook.recipe import MachineConfig, TeacherConfig

Input = Annotated[
    Path, typer.Argument(help="A directory of texts, a glob, JSONL (.gz, .zst) or Parquet.", metavar="INPUT")
]
Out = Annotated[Path, typer.Option("--out", help="The table to write (.jsonl or .parquet).")]
TextColumn = Annotated[str, typer.Option("--text-column", help="Where the text stands in JSONL or Parquet.")]
Count = Annotated[int, typer.Option("--count", min=1, help="How many to write.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1)]
FailureLimit = Annotated[float, typer.Option("--failure-limit", min=0, max=1, help="The share that may fail.")]
TopicsFile = Annotated[
    Path | None,
    typer.Option(
        "--topics", help="Topics to write about: from `hornbook topics`, or rows with a `title`, or lines of a .txt."
    ),
]
CpuSeconds = Annotated[float, typer.Option("--cpu-seconds", min=0.1, help="CPU time of one program.")]
MemoryMb = Annotated[int, typer.Option("--memory-mb", min=64, help="Of each process of a program.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Left out: as many as the CPU quota.")]
Failing = Annotated[str, typer.Option("--failing-sections", help="Sections whose code does not run: drop or mark.")]
Unsafe = Annotated[
    bool, typer.Option("--unsafe-execution", help="Run programs without any isolation. Only where nothing can be lost.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a machine to read.")]
EVERYTHING = 2**61  # rows
WORK = Path("work")
FOR_MODELS = (
    "base_url",
    "price",
    "hour_usd",
    "max_usd",
    "offline",
    "batch_file",
)  # options the built-in has no use for


def _option(name: str, text: str, **more: Any) -> Any:
    return typer.Option(name, help=text, rich_help_panel="The teacher", **more)


@dataclass(frozen=True, slots=True)
class TeacherOptions:
    """The options of every command that asks a teacher."""

    teacher: Annotated[str, _option("--teacher", "builtin (offline rules, not an LLM) or openai:MODEL.")] = "builtin"
    base_url: Annotated[
        list[str] | None,
        _option("--base-url", "An OpenAI-compatible server: http://localhost:8000/v1. May be repeated."),
    ] = None
    key_variable: Annotated[str, _option("--key-variable", "The environment variable that holds the key.")] = (
        "OPENAI_API_KEY"
    )
    temperature: Annotated[float | None, _option("--temperature", "Left out: the server's own.")] = None
    top_p: Annotated[float | None, _option("--top-p", "Left out: the server's own.")] = None
    max_tokens: Annotated[int, _option("--max-tokens", "Of one reply, thinking included.", min=1)] = 1500
    concurrency: Annotated[int, _option("--concurrency", "Requests under way at most.", min=1, max=4096)] = 64
    deadline: Annotated[float, _option("--deadline", "Seconds for one attempt.", min=0.1)] = 300.0
    price: Annotated[str | None, _option("--price", "Dollars a million tokens: INPUT,OUTPUT; or 0.")] = None
    hour_usd: Annotated[float | None, _option("--hour-usd", "Dollars an hour: for servers of your own.", min=0)] = None
    max_usd: Annotated[
        float | None, _option("--max-usd", "Never spend more on this --out, reruns included.", min=0)
    ] = None
    yes: Annotated[bool, _option("--yes", "Go on after the first replies without asking.")] = False
    offline: Annotated[bool, _option("--offline", "Answer from the journal alone; say why where it cannot.")] = False
    batch_file: Annotated[
        Path | None, _option("--batch-file", "Write the requests there, in the providers' batch format, and stop.")
    ] = None
    work: Annotated[Path, _option("--work", "Where the journal of replies is kept.")] = WORK

    def config(self) -> "TeacherConfig":
        """The teacher and how it is sampled."""
        from hornbook.on_files import teacher_of

        return teacher_of(self.teacher, self.temperature, self.top_p, self.max_tokens)

    def machine(self, workers: int | None, unsafe_execution: bool = False) -> "MachineConfig":
        """The machine, and how the teacher is reached from it."""
        from hornbook.on_files import endpoints_of
        from hornbook.recipe import BUILTIN, MachineConfig

        given = [f"--{name.replace('_', '-')}" for name in FOR_MODELS if getattr(self, name)]
        if self.teacher == BUILTIN and given:
            raise UserError(f"{given[0]}: is for a language model; name one: --teacher openai:MODEL")
        endpoints = endpoints_of(
            self.config(),
            self.price,
            self.hour_usd,
            base_urls=tuple(self.base_url or ()),
            key_variable=self.key_variable,
            concurrency=self.concurrency,
            deadline_seconds=self.deadline,
            max_usd=self.max_usd,
            preview="go on" if self.yes else "ask",
            offline=self.offline,
            batch_file=None if self.batch_file is None else str(self.batch_file),
        )
        return MachineConfig(workers=workers, unsafe_execution=unsafe_execution, teacher=endpoints)


def asks_teacher(who: str | None = None, **defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command with the options of a teacher, which it gets as one `options`; some have defaults of their own, and
    its help may say in words of its own `who` can be asked."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        shared = get_type_hints(TeacherOptions, include_extras=True)
        if who is not None:
            shared["teacher"] = Annotated[str, _option("--teacher", who)]
        own = [
            p.replace(annotation=hints[name]) for name, p in signature(command).parameters.items() if name != "options"
        ]
        added = [
            Parameter(
                f.name, Parameter.KEYWORD_ONLY, default=defaults.get(f.name, f.default), annotation=shared[f.name]
            )
            for f in fields(TeacherOptions)
        ]

        @wraps(command)
        def wrapped(**given: Any) -> None:
            options = TeacherOptions(**{f.name: given.pop(f.name) for f in fields(TeacherOptions)})
            command(**given, options=options)

        wrapped.__signature__ = Signature([*own, *added])  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in (*own, *added)}
        return wrapped

    return add


def add_to(app: typer.Typer) -> None:
    """Add the commands, in the order of the pipeline."""
    for command in (annotate, topics, textbooks, exercises, verify, diversity):
        app.command()(command)
    app.command("read-batch")(read_batch)


@asks_teacher(temperature=0.0, max_tokens=400)
def annotate(
    source: Input,
    out: Out,
    about: Annotated[
        str, typer.Option("--about", help="What the texts are, and so what is asked: code or prose.")
    ] = "code",
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, help="Rate so many, drawn evenly. Left out: all.")
    ] = None,
    max_characters: Annotated[
        int | None, typer.Option("--max-characters", min=100, help="Of a text, from its start, that a model sees.")
    ] = 20_000,
    text_column: TextColumn = "text",
    seed: Seed = 1,
    failure_limit: FailureLimit = 0.05,
    workers: Workers = None,
    as_json: Json = False,
    *,
    options: TeacherOptions,
) -> None:
    """Have a teacher rate texts from 0 to 5 for educational value (phi-1, section 2.1; phi-1.5 for prose)."""
    from hornbook import on_files
    from hornbook.recipe import BUILTIN, AnnotateConfig
    from hornbook.run.progress import Terminal
    from hornbook.step_config import AnnotateStep

    config = options.config()
    asked = on_files.checked(
        AnnotateConfig,
        teacher=config,
        about=about,
        sample=sample or EVERYTHING,
        max_characters=None if config == BUILTIN else max_characters,
        failure_limit=failure_limit,
    )
    stage = on_files.Stage(on_files.rate_and_place, AnnotateStep(annotate=asked, seed=seed), "placed", failure_limit)
    progress, machine = Terminal(), options.machine(workers)

    def inputs(folder: Path) -> dict[str, Path]:
        return {"corpus": on_files.stage_documents(source, text_column, folder / "corpus", progress)}

    on_files.check_out(out, source)
    _show(on_files.run_stage("annotate", stage, inputs, out, machine, options.work, progress), out, as_json)


@asks_teacher(max_tokens=2000)
def topics(
    out: Out,
    count: Annotated[int, typer.Option("--count", min=1, help="How many, the seeds (779) among them.")] = 20_000,
    seed: Seed = 1,
    failure_limit: FailureLimit = 0.05,
    workers: Workers = None,
    as_json: Json = False,
    *,
    options: TeacherOptions,
) -> None:
    """Grow a tree of topics from the seed taxonomy, level by level, for general knowledge (phi-1.5)."""
    from hornbook import on_files
    from hornbook.recipe import TopicsConfig
    from hornbook.run.progress import Terminal
    from hornbook.step_config import TopicsStep
    from hornbook.synthesize.topic_tree import grow_topics

    asked = TopicsConfig(teacher=options.config(), count=count, failure_limit=failure_limit)
    stage = on_files.Stage(grow_topics, TopicsStep(topics=asked, seed=seed), "topics", failure_limit)
    on_files.check_out(out)
    machine = options.machine(workers)
    _show(on_files.run_stage("topics", stage, _no_inputs, out, machine, options.work, Terminal()), out, as_json)


@asks_teacher()
def textbooks(
    out: Out,
    count: Count,
    about: Annotated[str, typer.Option("--about", help="code or general.")] = "code",
    topics: TopicsFile = None,
    extracts: Annotated[
        Path | None, typer.Option("--extracts", help="Real texts from which sections start, without copying them.")
    ] = None,
    text_column: TextColumn = "text",
    max_overlap: Annotated[
        float,
        typer.Option("--max-overlap", min=0, max=1, help="Share of 8-word phrases that may stand in the extract."),
    ] = 0.05,
    failing: Failing = "drop",
    cpu_seconds: CpuSeconds = 3.0,
    memory_mb: MemoryMb = 512,
    unsafe_execution: Unsafe = False,
    seed: Seed = 1,
    failure_limit: FailureLimit = 0.05,
    workers: Workers = None,
    as_json: Json = False,
    *,
    options: TeacherOptions,
) -> None:
    """Have a teacher write textbook sections, and run their examples (phi-1, section 2.2; phi-1.5)."""
    from hornbook import on_files
    from hornbook.recipe import ExtractsConfig, TextbooksConfig, VerifyConfig
    from hornbook.run.progress import Terminal
    from hornbook.step_config import ExamplesStep, TextbooksStep
    from hornbook.synthesize.examples import run_examples
    from hornbook.synthesize.textbooks import write_textbooks

    asked = on_files.checked(
        TextbooksConfig,
        teacher=options.config(),
        about=about,
        extracts=None if extracts is None else ExtractsConfig(of="corpus", max_overlap=max_overlap),
        count=count,
        failure_limit=failure_limit,
    )
    limits = on_files.checked(
        VerifyConfig, cpu_seconds=cpu_seconds, memory_mb=memory_mb, failure_limit=0.001, failing_sections=failing
    )
    progress, machine = Terminal(), options.machine(workers, unsafe_execution)
    write = on_files.Stage(write_textbooks, TextbooksStep(textbooks=asked, seed=seed), "documents", failure_limit)
    run = on_files.Stage(run_examples, ExamplesStep(verify=limits), "documents", 0.001)

    def inputs(folder: Path) -> dict[str, Path]:
        made = {}
        if topics is not None:
            made["topics"] = on_files.stage_topics(topics, folder / "topics")
        if extracts is not None:
            made["extracts"] = on_files.stage_documents(extracts, text_column, folder / "extracts", progress)
        return made

    on_files.check_out(out, *(path for path in (topics, extracts) if path is not None))
    _warn_of(unsafe_execution)
    stage = on_files.chain(write, run, "documents")
    _show(on_files.run_stage("textbooks", stage, inputs, out, machine, options.work, progress), out, as_json)


@asks_teacher()
def exercises(
    out: Out,
    count: Count,
    topics: TopicsFile = None,
    test_sets: Annotated[
        int,
        typer.Option(
            "--test-sets",
            min=1,
            max=9,
            help="More: further tests, written without the solution, to OUT.test_sets, for `verify --test-sets`.",
        ),
    ] = 1,
    seed: Seed = 1,
    failure_limit: FailureLimit = 0.05,
    workers: Workers = None,
    as_json: Json = False,
    *,
    options: TeacherOptions,
) -> None:
    """Have a teacher write exercises with solutions and tests; `verify` proves them (phi-1, section 2.2)."""
    from hornbook import on_files
    from hornbook.recipe import ExercisesConfig
    from hornbook.run.progress import Terminal
    from hornbook.step_config import ExercisesStep, IndependentTestsStep
    from hornbook.synthesize.exercises import write_exercises
    from hornbook.synthesize.independent_tests import write_independent_tests

    asked = on_files.checked(
        ExercisesConfig, teacher=options.config(), count=count, test_sets=test_sets, failure_limit=failure_limit
    )
    progress, machine = Terminal(), options.machine(workers)
    stage = on_files.Stage(write_exercises, ExercisesStep(exercises=asked, seed=seed), "exercises", failure_limit)

    def inputs(folder: Path) -> dict[str, Path]:
        if topics is None:
            return {}
        return {"topics": on_files.stage_topics(topics, folder / "topics")}

    on_files.check_out(out, *([] if topics is None else [topics]))
    summary = on_files.run_stage("exercises", stage, inputs, out, machine, options.work, progress)
    _show(summary, out, as_json)
    if test_sets > 1:
        further = out.with_name(f"{out.stem}.test_sets{out.suffix}")
        step = IndependentTestsStep(exercises=asked, seed=seed)
        stage = on_files.Stage(write_independent_tests, step, "test_sets", failure_limit)

        def written(folder: Path) -> dict[str, Path]:
            return {"exercises": on_files.stage_exercises(out, folder / "exercises")[0]}

        summary = on_files.run_stage("independent_tests", stage, written, further, machine, options.work, progress, out)
        _show(summary, further, as_json)


def verify(
    exercises: Annotated[Path, typer.Argument(help="Rows with name, prompt, solution and tests (JSONL or Parquet).")],
    out: Out,
    test_sets: Annotated[
        Path | None,
        typer.Option(
            "--test-sets", help="Further tests, from `exercises --test-sets`: the majority of all sets decides."
        ),
    ] = None,
    cpu_seconds: CpuSeconds = 3.0,
    memory_mb: MemoryMb = 512,
    unsafe_execution: Unsafe = False,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Run exercises in the sandbox and keep those whose solutions pass their tests."""
    from hornbook import on_files
    from hornbook.recipe import MachineConfig, VerifyConfig
    from hornbook.records import TestSet
    from hornbook.run.progress import Terminal
    from hornbook.step_config import VerifyStep
    from hornbook.synthesize.verify import verify_exercises

    limits = VerifyConfig(cpu_seconds=cpu_seconds, memory_mb=memory_mb, failure_limit=0.001, failing_sections="drop")
    machine = MachineConfig(workers=workers, unsafe_execution=unsafe_execution)
    stage = on_files.Stage(verify_exercises, VerifyStep(verify=limits, trusted=False), "exercises", 0.001)
    faults: list[str] = []

    def inputs(folder: Path) -> dict[str, Path]:
        staged, wrong = on_files.stage_exercises(exercises, folder / "exercises")
        faults.extend(wrong)
        made = {"exercises": staged}
        if test_sets is not None:
            made["independent_tests"] = on_files.stage_table(
                test_sets, TestSet, "test_sets.parquet", folder / "test_sets"
            )
        return made

    on_files.check_out(out, exercises, *([] if test_sets is None else [test_sets]))
    _warn_of(unsafe_execution)
    _show(on_files.run_stage("verify", stage, inputs, out, machine, out.parent, Terminal()), out, as_json)
    if faults:
        raise UserError(f"{len(faults)} rows are no exercises, the rest was run: {'; '.join(faults[:3])}")


def diversity(
    source: Annotated[
        Path, typer.Argument(help="Exercises (JSONL or Parquet with prompt and solution), or any texts.")
    ],
    against: Annotated[Path, typer.Option("--against", help="Real texts to compare with.")],
    text_column: TextColumn = "text",
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Measure how diverse a set of texts is beside a real corpus, and whether more of it adds anything."""
    from hornbook.on_files import diversity_of
    from hornbook.run.progress import Terminal
    from hornbook.terminal import show_diversity

    found = diversity_of(source, against, text_column, seed, Terminal())
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        show_diversity(found)


def read_batch(
    results: Annotated[Path, typer.Argument(help="Results of a batch: lines with custom_id, response and error.")],
    work: Annotated[Path, typer.Option("--work", help="Where the journal of replies is kept.")] = WORK,
    as_json: Json = False,
) -> None:
    """Read the results of a batch file into the journal, so that the command that wrote it goes on."""
    from hornbook.teacher import batch
    from hornbook.teacher.journal import FILE, Journal

    if not (work / FILE).is_file():
        raise UserError(f"{work / FILE}: no such journal; give the --work of the command that wrote the batch file")
    with Journal(work / FILE) as journal:
        found = batch.read(results, journal)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        print(f"{found['kept']:,} replies kept, {found['known']:,} known already, ${found['usd']:,.4f}")
    bad = {what: found[what] for what in ("failed", "unknown", "damaged") if found.get(what)}
    if bad:
        counts = ", ".join(f"{count:,} {what}" for what, count in bad.items())
        raise UserError(f"{results}: {counts}; {'; '.join(found['faults'])}")


def _no_inputs(folder: Path) -> dict[str, Path]:
    return {}


def _warn_of(unsafe_execution: bool) -> None:
    from hornbook.terminal import warn_of_unsafe_execution

    if unsafe_execution:
        warn_of_unsafe_execution()


def _show(summary: Mapping[str, Any], out: Path, as_json: bool) -> None:
    """What a stage made, on standard output."""
    if as_json:
        print(json.dumps({"out": str(out), **summary}, indent=1))
        return
    from hornbook.terminal import show_stage

    show_stage(summary, out)
