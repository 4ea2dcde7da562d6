"""One stage on a user's own files: the same functions that a recipe runs, without a recipe."""

import fcntl
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from hornbook.corpus.reading import open_lines
from hornbook.corpus.sources import copy_documents
from hornbook.curate.annotate import annotate_documents
from hornbook.errors import UserError
from hornbook.recipe import BUILTIN, EndpointsConfig, FilesSource, LanguageModel, MachineConfig, TeacherConfig
from hornbook.records import Document, Dropped, Exercise, PlacedRating, Rating, Topic, content_id
from hornbook.run.engine import check_counts
from hornbook.run.progress import Progress
from hornbook.run.step import Counts, Result, StepFunction, Workspace
from hornbook.step_config import AnnotateStep, DiversityStep
from hornbook.tables import TableWriter, read_rows, write_rows
from hornbook.teacher.parsing import whole

MAX_DOCUMENT_BYTES = 1_000_000  # longer texts are dropped as `too long`: no teacher reads them
SIDES = ("dropped", "outcomes")  # tables written beside the main one, where they have rows
SUFFIXES = (".parquet", ".jsonl")
LONGEST_TITLE = 300  # characters of a topic

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage to run alone: its function and config, the name of its main table, and how much of it may fail."""

    function: StepFunction
    config: BaseModel
    table: str  # file name without suffix
    failure_limit: float


def check_out(out: Path, *sources: Path) -> None:
    """Raises UserError for an output of another kind than a table, or one that is an input."""
    if out.suffix not in SUFFIXES:
        raise UserError(f"--out {out}: the name must end in .jsonl or .parquet")
    if out.is_dir():
        raise UserError(f"--out {out}: is a directory; give the name of a file")
    if any(out.resolve() == source.resolve() for source in sources):
        raise UserError(f"--out {out}: is the input itself; give another name")


def run_stage(
    name: str,
    stage: Stage,
    inputs: Callable[[Path], Mapping[str, Path]],
    out: Path,
    machine: MachineConfig,
    work: Path,
    progress: Progress,
    charged_to: Path | None = None,
) -> dict[str, Any]:
    """Run a stage, and write its main table to `out` and the others beside it (`out.dropped.jsonl`, …).

    `inputs` makes the stage's inputs below the directory it is given. Nothing appears under its name before it is
    whole; a stage that stops leaves `out` as it was, and `out.failed` with what failed. Costs are entered, and capped,
    under the path of `out`, or of `charged_to`. Gives counts, facts and timing.
    """
    partial = out.with_name(out.name + ".partial")
    with _held(partial, out):
        made = partial / "made"
        made.mkdir()
        workspace = Workspace(made, machine, progress, work, str((charged_to or out).resolve()))
        failed = _beside(out, "failed")
        try:
            result = stage.function(stage.config, inputs(partial), workspace)
        finally:
            if (made / "failed.parquet").exists():  # also where the stage stopped because of them
                _deliver(made / "failed.parquet", failed)
        check_counts(name, result.counts, stage.failure_limit, str(failed))
        for side in SIDES:
            if (made / f"{side}.parquet").exists():
                _deliver(made / f"{side}.parquet", _beside(out, side))
        _deliver(made / f"{stage.table}.parquet", out, keep_empty=True)
    beside = [str(path) for side in ("failed", *SIDES) if (path := _beside(out, side)).exists()]
    return {**_summary(result), "beside": beside}


@contextmanager
def _held(partial: Path, out: Path) -> Iterator[None]:
    """The working folder of an output, empty, for one command alone; it goes with everything in it.

    Raises UserError where another command is writing this output.
    """
    partial.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"--out {out}: another command is writing it; wait for it, or give another name") from None
        for entry in partial.iterdir():  # what a killed command left
            shutil.rmtree(entry)
        try:
            yield
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    finally:
        os.close(descriptor)


def _beside(out: Path, side: str) -> Path:
    return out.with_name(f"{out.stem}.{side}{out.suffix}")


def _deliver(table: Path, out: Path, keep_empty: bool = False) -> None:
    """Move a table to its place, as JSON lines where that is asked; one without rows goes, and an older one with it."""
    if not keep_empty and not pq.read_metadata(table).num_rows:
        out.unlink(missing_ok=True)
        return
    if out.suffix == ".parquet":
        table.replace(out)
        return
    partial = table.with_suffix(".jsonl")  # in the working folder, which goes whatever happens
    with open(partial, "w", encoding="utf-8") as lines, pq.ParquetFile(table) as parquet:
        for batch in parquet.iter_batches(1024):
            lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist())
    partial.replace(out)


def _summary(result: Result) -> dict[str, Any]:
    counts = None if result.counts is None else asdict(result.counts)
    return {"counts": counts, "facts": dict(result.facts), "timing": dict(result.timing)}


def chain(first: Stage, second: Stage, name: str) -> Stage:
    """Two stages as one: the second takes what the first made as its input `name`."""

    def both(config: Any, inputs: Mapping[str, Path], place: Workspace) -> Result:
        made = place.directory / "first"
        made.mkdir()
        before = first.function(first.config, inputs, replace(place, directory=made))
        if (made / "failed.parquet").exists():
            (made / "failed.parquet").replace(place.directory / "failed.parquet")
        assert before.counts is not None  # every stage that takes part counts its rows
        check_counts("the first stage", before.counts, first.failure_limit, "the table of failed rows")
        after = second.function(second.config, {name: made}, place)
        assert after.counts is not None
        _join(Dropped, made / "dropped.parquet", place.directory / "dropped.parquet")
        dropped = {**before.counts.dropped, **after.counts.dropped}
        failed = before.counts.failed + after.counts.failed
        counts = Counts(before.counts.read, after.counts.kept, dropped, failed)
        return Result(counts, {**before.facts, **after.facts}, {**before.timing, **after.timing})

    return Stage(both, second.config, second.table, max(first.failure_limit, second.failure_limit))


def _join(row_type: type[Any], before: Path, after: Path) -> None:
    joined = after.with_name("joined.parquet")
    with TableWriter(joined, row_type) as table:
        for part in (before, after):
            for row in read_rows(part, row_type):
                table.write(row)
    joined.replace(after)


def rate_and_place(config: AnnotateStep, inputs: Mapping[str, Path], place: Workspace) -> Result:
    """The step `annotate`, with where each rated document stands in the user's files, and what is no text in them."""
    result = annotate_documents(config, inputs, place)
    documents, ratings = inputs["corpus"] / "documents.parquet", place.directory / "ratings.parquet"
    place_ratings(documents, ratings, place.directory / "placed.parquet")
    unread = list(read_rows(inputs["corpus"] / "dropped.parquet", Dropped))
    write_rows(place.directory / "dropped.parquet", Dropped, unread)
    reasons = dict(sorted(Counter(row.reason for row in unread).items()))
    assert result.counts is not None  # a rated sample is counted
    counts = replace(result.counts, read=result.counts.read + len(unread), dropped=reasons)
    return replace(result, counts=counts)


def diversity_of(source: Path, against: Path, text_column: str, seed: int, progress: Progress) -> dict[str, Any]:
    """The measures of `diversity.json` for a set of a user beside real texts."""
    from hornbook.synthesize.diversity import measure_diversity  # half a second of imports that the others spare

    with TemporaryDirectory(prefix="hornbook-") as scratch:
        folder = Path(scratch)
        texts = _set_of(source, text_column, folder / "set", progress)
        corpus = _set_of(against, text_column, folder / "corpus", progress)
        made = folder / "made"
        made.mkdir()
        place = Workspace(made, MachineConfig(), progress, folder, "diversity")
        measure_diversity(DiversityStep(seed=seed), {"set": texts, "corpus": corpus}, place)
        found: dict[str, Any] = json.loads((made / "diversity.json").read_text(encoding="utf-8"))
        return found


def _set_of(path: Path, text_column: str, folder: Path, progress: Progress) -> Path:
    """Exercises, where a file holds them; else its texts."""
    if path.is_file():
        try:
            return stage_exercises(path, folder)[0]
        except UserError:
            shutil.rmtree(folder, ignore_errors=True)
    return stage_documents(path, text_column, folder, progress)


# ---- a teacher and a machine from options ----


def checked(section: type[S], **fields: Any) -> S:
    """A section of the configuration from options. Raises UserError that names the option."""
    try:
        return section(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = f"--{str(first['loc'][0]).replace('_', '-')}: " if first["loc"] else ""
        raise UserError(option + _message(first)) from None


def teacher_of(name: str, temperature: float | None, top_p: float | None, max_tokens: int) -> TeacherConfig:
    """`builtin`, or `openai:MODEL` with its sampling. Raises UserError for anything else."""
    if name == BUILTIN:
        return BUILTIN
    try:
        return LanguageModel(model=name, temperature=temperature, top_p=top_p, max_tokens=max_tokens)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = str(first["loc"][0])
        if field == "model":
            raise UserError(f"--teacher {name}: a teacher is `builtin` or `openai:MODEL`") from None
        raise UserError(f"--{field.replace('_', '-')}: {_message(first)}") from None


def endpoints_of(teacher: TeacherConfig, price: str | None, hour_usd: float | None, **options: Any) -> EndpointsConfig:
    """How the teacher is reached and what it costs. Raises UserError that names the option."""
    prices: dict[str, Any] = {}
    if price is not None and hour_usd is not None:
        raise UserError("--price and --hour-usd: an endpoint costs by the token or by the hour; give one of them")
    if teacher != BUILTIN:
        model = teacher.model.removeprefix("openai:")
        if price is not None:
            prices[model] = _price(price)
        if hour_usd is not None:
            prices[model] = {"hour_usd": hour_usd}
    try:
        return EndpointsConfig.model_validate({"prices": prices, **options}, strict=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]  # the input may hold a key
        raise UserError(f"--{str(first['loc'][0]).replace('_', '-').removesuffix('s')}: {_message(first)}") from None


def _message(error: Any) -> str:
    return str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "should be")


def _price(text: str) -> dict[str, float]:
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or (len(numbers) == 1 and numbers[0] != 0) or min(numbers) < 0:
        raise UserError(f"--price {text}: write INPUT,OUTPUT in dollars a million tokens, such as 0.15,0.6, or 0")
    return {"input_usd": numbers[0], "output_usd": numbers[-1]}


# ---- a user's files as the tables that stages read ----


def stage_documents(path: Path, text_column: str, folder: Path, progress: Progress) -> Path:
    """The texts of a directory, a glob, JSONL or Parquet as `documents.parquet`; gives the folder.

    Raises UserError where there is no usable text.
    """
    source = FilesSource(kind="files", path=str(path), text_column=text_column, source=path.name)
    folder.mkdir()
    copy_documents(source, MAX_DOCUMENT_BYTES, folder, progress)
    return folder


def stage_table(path: Path, row_type: type[Any], name: str, folder: Path) -> Path:
    """A table of ours, Parquet or JSONL, as `name` in a folder; gives the folder."""
    folder.mkdir()
    with TableWriter(folder / name, row_type) as table:
        for row in read_rows(path, row_type):
            table.write(row)
    return folder


def stage_topics(path: Path, folder: Path) -> Path:
    """Topics of a user as `topics.parquet`: a table of ours, rows with a `title` (and perhaps a `path`), or the lines
    of a .txt; gives the folder. Raises UserError for a row without a title, or where there is none."""
    folder.mkdir()
    with TableWriter(folder / "topics.parquet", Topic) as table:
        for number, row in _titles(path) if path.suffix == ".txt" else _own_rows(path):
            title = row.get("title") if isinstance(row, dict) else None
            if not isinstance(title, str) or not title.strip() or len(title) > LONGEST_TITLE:
                raise UserError(f"{path}, row {number}: has no text `title` of at most {LONGEST_TITLE} characters")
            if row.get("level") == 0:
                continue  # a root of a tree of ours
            title, where = whole(" ".join(title.split())), row.get("path")
            where = whole(where) if isinstance(where, str) and where else title
            table.write(Topic(content_id(where), title, where, 1, str(row.get("origin") or "own"), ""))
    if not table.rows:
        raise UserError(f"{path}: holds no topics")
    return folder


def _titles(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with open(path, encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, {"title": line.strip()}


def stage_exercises(path: Path, folder: Path) -> tuple[Path, list[str]]:
    """Exercises of a user, JSONL or Parquet with `name`, `prompt`, `solution` and `tests`; other fields may be missing.

    Gives the folder, and what is wrong with the rows that are no exercises. Raises UserError where no row is one.
    """
    folder.mkdir()
    faults: list[str] = []
    with TableWriter(folder / "exercises.parquet", Exercise) as table:
        for line, row in _own_rows(path):
            made = _exercise(row)
            if isinstance(made, str):
                faults.append(f"{path}, row {line}: {made}")
            else:
                table.write(made)
    if not table.rows:
        raise UserError(faults[0] if faults else f"{path}: holds no rows")
    return folder, faults


def _own_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Rows with their numbers; what is no row is a text that says why."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix == ".parquet":
        try:
            with pq.ParquetFile(path) as parquet:
                number = 0
                for batch in parquet.iter_batches(256):
                    for row in batch.to_pylist():
                        number += 1
                        yield number, row
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{path}: not a sound Parquet file ({str(error).splitlines()[0]})") from error
        return
    with open_lines(path) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except (ValueError, RecursionError) as error:
                    yield number, f"not JSON ({error})"


def _exercise(row: Any) -> Exercise | str:
    if not isinstance(row, dict):
        return row if isinstance(row, str) else "not an object"
    for field in ("name", "prompt", "solution"):
        if not isinstance(row.get(field), str):
            return f"`{field}` is missing or no text"
    tests = row.get("tests")
    if not isinstance(tests, list) or not tests or not all(isinstance(test, str) for test in tests):
        return "`tests` is missing or no list of assert statements"
    if any(text != whole(text) for text in (row["name"], row["prompt"], row["solution"], *tests)):
        return "holds half of a surrogate pair"
    identity = content_id(row["prompt"] + row["solution"])
    topic, request = str(row.get("topic") or ""), str(row.get("request") or "")
    return Exercise(identity, topic, row["name"], row["prompt"], row["solution"], tuple(tests), request)


def place_ratings(documents: Path, ratings: Path, out: Path) -> None:
    """The ratings with where each document stands in the user's files. Both tables are in the order of the files."""
    rated = read_rows(ratings, Rating)
    waiting = next(rated, None)
    with TableWriter(out, PlacedRating) as table:
        for document in read_rows(documents, Document):
            if waiting is not None and waiting.id == document.id:
                meta = json.loads(document.meta)
                place = (str(meta["path"]), int(meta.get("line", 0)))
                table.write(
                    PlacedRating(*place, waiting.id, waiting.score, waiting.rationale, waiting.teacher, waiting.request)
                )
                waiting = next(rated, None)
