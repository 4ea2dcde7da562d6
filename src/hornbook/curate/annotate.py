"""Ask a teacher for the educational value of a sample of the corpus (phi-1, section 2.1; phi-1.5 for prose).

Files: `ratings.parquet` (Rating), `failed.parquet` (Failed: documents whose reply was of no use).
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from hornbook.errors import UserError
from hornbook.recipe import AnnotateConfig
from hornbook.records import Document, Failed, Rating
from hornbook.run.step import Counts, Inputs, Result, Workspace
from hornbook.step_config import AnnotateStep
from hornbook.tables import TableWriter, read_columns, read_rows
from hornbook.teacher.limit import check_failures
from hornbook.teacher.load import load_teacher, sent_prompts
from hornbook.teacher.request import RateRequest, prompt_of_rating

STEP = "annotate"


def annotate_documents(config: AnnotateStep, inputs: Inputs, work: Workspace) -> Result:
    """Rate `sample` documents drawn evenly over sources, in the order of the corpus.

    Raises UserError for an empty corpus, and where more replies than `failure_limit` are of no use.
    """
    asked = config.annotate
    corpus = inputs["corpus"] / "documents.parquet"
    drawn = draw_evenly(corpus, asked.sample, config.seed)
    if not drawn:
        raise UserError(f"{corpus}: holds no documents to rate")
    scores: list[float] = []
    failures: Counter[str] = Counter()
    with load_teacher(asked.teacher, work, STEP) as teacher:
        teacher.rehearse(_requests(corpus, drawn, asked), len(drawn))
        with (
            TableWriter(work.directory / "ratings.parquet", Rating) as ratings,
            TableWriter(work.directory / "failed.parquet", Failed, whole_after=UserError) as failed,
            work.progress.bar(f"rating by {teacher.name}", len(drawn), "documents") as bar,
        ):
            # The corpus is read twice, so that no document waits in memory for its rating.
            answers = teacher.answers(_requests(corpus, drawn, asked))
            for document, answer in zip(_chosen(corpus, drawn), answers, strict=True):
                if answer.value is not None:
                    rated = answer.value
                    ratings.write(Rating(document.id, rated.score, rated.rationale, teacher.name, answer.request))
                    scores.append(rated.score)
                elif answer.failure is not None:
                    what = answer.failure
                    failed.write(Failed(document.id, STEP, what.reason, what.detail, what.raw, answer.request))
                    failures[what.reason] += 1
                    check_failures(failures, asked.failure_limit, len(drawn), "ratings")
                bar.advance(1, teacher.note())
        ledger = teacher.ledger()
    by_source: dict[str, int] = {}
    for source in drawn.values():
        by_source[source] = by_source.get(source, 0) + 1
    facts = {
        "teacher": teacher.name,
        "prompts": sent_prompts(asked.teacher, prompt_of_rating(asked.about)),
        "requests": len(drawn),
        "failures": dict(sorted(failures.items())),
        "scores": histogram(scores),
        "mean_score": round(sum(scores) / len(scores), 4) if scores else None,
        "sources": dict(sorted(by_source.items())),
    }
    counts = Counts(read=len(drawn), kept=len(scores), failed=failures.total())
    return Result(counts, facts, {"ledger": ledger} if ledger else {})


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


def _requests(corpus: Path, drawn: dict[str, str], asked: AnnotateConfig) -> Iterator[RateRequest]:
    for document in _chosen(corpus, drawn):
        yield RateRequest(clip(document.text, asked.max_characters), document.source, asked.about)


def clip(text: str, most: int | None) -> str:
    """The first characters of a text, ending with a line where one ends near, and a note of how much is left out."""
    if most is None or len(text) <= most:
        return text
    end = text.rfind("\n", most * 9 // 10, most) + 1 or most
    return f"{text[:end].rstrip()}\n[… {len(text) - end:,} more characters]\n"
