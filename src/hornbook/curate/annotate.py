"""Ask a teacher for the educational value of a sample of the corpus (phi-1, section 2.1).

Files: `ratings.parquet` (Rating), `failed.parquet` (Dropped: documents whose reply was of no use).
"""

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from hornbook.errors import UserError
from hornbook.recipe import AnnotateStep
from hornbook.records import Document, Dropped, Rating
from hornbook.run.step import Counts, Inputs, Result, Workspace
from hornbook.run.workers import cpu_quota, ordered_map
from hornbook.tables import TableWriter, read_columns, read_rows
from hornbook.teacher.load import load_teacher
from hornbook.teacher.request import RateRequest, Teacher, TeacherError, request_id

CHUNK_DOCUMENTS = 16  # given to a worker at once: enough to hide the hand-over, few enough to keep the bar moving
HIGHEST = 5.0  # of the scale, which starts at 0


@dataclass(frozen=True, slots=True)
class Reply:
    """A rating, or why there is none."""

    rating: Rating | None
    failure: Dropped | None


def annotate_documents(config: AnnotateStep, inputs: Inputs, work: Workspace) -> Result:
    """Rate `sample` documents drawn evenly over sources, in the order of the corpus.

    Raises UserError for a teacher that is none and for an empty corpus. A reply that is of no use counts as failed.
    """
    teacher = load_teacher(config.annotate.teacher)
    corpus = inputs["corpus"] / "documents.parquet"
    drawn = draw_evenly(corpus, config.annotate.sample, config.seed)
    if not drawn:
        raise UserError(f"{corpus}: holds no documents to rate")
    workers = work.machine.workers or cpu_quota()
    scores: list[float] = []
    failed = 0
    rate = partial(_rate_chunk, config.annotate.teacher)
    with (
        TableWriter(work.directory / "ratings.parquet", Rating) as ratings,
        TableWriter(work.directory / "failed.parquet", Dropped) as failures,
        work.progress.bar(f"rating by {teacher.name}", len(drawn), "documents") as bar,
    ):
        for replies in ordered_map(rate, _chunks(_chosen(corpus, drawn)), workers):
            for reply in replies:
                if reply.rating is not None:
                    ratings.write(reply.rating)
                    scores.append(reply.rating.score)
                elif reply.failure is not None:
                    failures.write(reply.failure)
                    failed += 1
            bar.advance(len(replies))
    by_source: dict[str, int] = {}
    for source in drawn.values():
        by_source[source] = by_source.get(source, 0) + 1
    facts = {
        "teacher": teacher.name,
        "requests": len(drawn),
        "scores": histogram(scores),
        "mean_score": round(sum(scores) / len(scores), 4) if scores else None,
        "sources": dict(sorted(by_source.items())),
    }
    return Result(Counts(read=len(drawn), kept=len(scores), failed=failed), facts)


def draw_evenly(corpus: Path, sample: int, seed: int) -> dict[str, str]:
    """The ids of at most `sample` documents, each with its source.

    Sources take turns, each giving the next of its documents in the order of a seeded hash, until the sample is full:
    a small source is exhausted, and what it cannot give is shared by the others. Memory: at most `sample` ids a source.
    """
    first: dict[str, list[tuple[int, str]]] = {}  # per source a heap of the smallest hashes, negated
    for identity, source in read_columns(corpus, ["id", "source"]):
        heap = first.setdefault(source, [])
        entry = (-seeded_hash(seed, identity), identity)
        if len(heap) < sample:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)
    turns = [[identity for _, identity in sorted(heap, reverse=True)] for heap in first.values()]
    order = sorted(range(len(turns)), key=lambda place: seeded_hash(seed, list(first)[place]))
    drawn: dict[str, str] = {}
    sources = list(first)
    for turn in range(max(map(len, turns), default=0)):
        for place in order:
            if len(drawn) == sample:
                return drawn
            if turn < len(turns[place]):
                drawn.setdefault(turns[place][turn], sources[place])
    return drawn


def seeded_hash(seed: int, name: str) -> int:
    """64 bits that order names anew for every seed."""
    digest = hashlib.blake2b(f"{seed}:{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def histogram(scores: Iterable[float]) -> list[dict[str, float]]:
    """How many scores lie in each half point from 0 to 5: the bounds of a bin (the upper one excluded, but for the
    last) and its count."""
    counts = [0] * 10
    for score in scores:
        counts[min(9, int(score * 2))] += 1
    return [{"from": place / 2, "to": (place + 1) / 2, "count": count} for place, count in enumerate(counts)]


def _chosen(corpus: Path, drawn: dict[str, str]) -> Iterator[Document]:
    waiting = dict(drawn)
    for document in read_rows(corpus, Document):
        if waiting.pop(document.id, None) is not None:
            yield document


def _chunks(documents: Iterator[Document]) -> Iterator[list[Document]]:
    while chunk := list(islice(documents, CHUNK_DOCUMENTS)):
        yield chunk


def _rate_chunk(teacher_name: str, documents: list[Document]) -> list[Reply]:
    teacher = load_teacher(teacher_name)
    return [_rate(teacher, document) for document in documents]


def _rate(teacher: Teacher, document: Document) -> Reply:
    request = RateRequest(document.text, document.source)
    try:
        rated = teacher.rate(request)
        if not 0 <= rated.score <= HIGHEST:
            raise TeacherError(f"a score of {rated.score}, outside of 0 to {HIGHEST:g}")
    except TeacherError as error:
        return Reply(None, Dropped(document.id, "annotate", "teacher error", str(error)))
    return Reply(Rating(document.id, rated.score, rated.rationale, teacher.name, request_id(request)), None)
