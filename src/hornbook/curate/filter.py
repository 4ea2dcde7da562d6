"""Keep the best share of the scored documents (phi-1, section 2.1; the paper kept about 17%).

Files: `documents.parquet` (ScoredDocument), `dropped.parquet` (Dropped), `samples.json` (documents on both sides of the
cut, drawn at random in each whole point of score, for a person to read).
"""

import heapq
import json
from pathlib import Path
from typing import Any

from hornbook.curate.annotate import seeded_hash
from hornbook.curate.classify import load_classifier, predict
from hornbook.curate.features import features_of
from hornbook.curate.filter_canaries import canaries
from hornbook.errors import UserError
from hornbook.records import Dropped, ScoredDocument
from hornbook.run.step import Counts, Inputs, Result, Workspace
from hornbook.step_config import FilterStep
from hornbook.tables import TableWriter, read_columns, read_rows
from hornbook.teacher.request import Genre

REASON = "score below the cut"
SAMPLES = 5  # documents a person is shown of each side of the cut in each whole point of score
SAMPLE_CHARACTERS = 600
BINS = 20  # of the histogram of scores, from 0 to 5

Cut = tuple[float, str]  # the negated score and the id of the last document kept


def filter_documents(config: FilterStep, inputs: Inputs, work: Workspace) -> Result:
    """Keep the `keep_share` of the documents with the highest scores; equal scores in the order of their ids.

    Raises UserError where the classifier lets a known piece of junk through or turns a known lesson away.
    """
    scored = inputs["scored"] / "documents.parquet"
    cut, total = find_cut(scored, config.filter.keep_share)
    checked = check_canaries(inputs["classifier"], config.about, -cut[0], config.filter.keep_share)
    samples = _Samples(config.seed)
    histogram = [{"from": place / 4, "to": (place + 1) / 4, "kept": 0, "dropped": 0} for place in range(BINS)]
    by_source: dict[str, dict[str, int]] = {}
    kept = 0
    with (
        TableWriter(work.directory / "documents.parquet", ScoredDocument) as keep,
        TableWriter(work.directory / "dropped.parquet", Dropped) as drop,
        work.progress.bar("filtering", total, "documents") as bar,
    ):
        for document in read_rows(scored, ScoredDocument):
            keeps = (-document.score, document.id) <= cut
            if keeps:
                keep.write(document)
            else:
                drop.write(Dropped(document.id, "filter", REASON, f"{document.score:.4f} < {-cut[0]:.4f}"))
            side = "kept" if keeps else "dropped"
            kept += keeps
            histogram[min(BINS - 1, int(document.score * 4))][side] += 1
            by_source.setdefault(document.source, {"kept": 0, "dropped": 0})[side] += 1
            samples.offer(document, side)
            bar.advance()
    text = json.dumps(samples.drawn(), indent=1, ensure_ascii=False) + "\n"
    (work.directory / "samples.json").write_bytes(text.encode("utf-8", "backslashreplace"))
    # Where everything is kept there is no cut to catch anything.
    junk = sum(row["must"] == "drop" for row in checked) if config.filter.keep_share < 1 else 0
    facts = {
        "cut": round(-cut[0], 6),
        "kept_share": round(kept / total, 6),
        "scores": histogram,
        "sources": {source: by_source[source] for source in sorted(by_source)},
        "canaries": {"planted": junk, "caught": junk, "innocent_kept": 1},
        "canary_scores": checked,
    }
    return Result(Counts(total, kept, {REASON: total - kept}), facts)


def find_cut(scored: Path, share: float) -> tuple[Cut, int]:
    """The last document that is kept, and the number of all.

    Memory: a score and an id per document. Raises UserError where there are no documents.
    """
    order = sorted((-score, identity) for score, identity in read_columns(scored, ["score", "id"]))
    if not order:
        raise UserError(f"{scored}: holds no documents to filter")
    return order[max(1, round(share * len(order))) - 1], len(order)


def check_canaries(classifier: Path, about: Genre, cut_score: float, share: float) -> list[dict[str, Any]]:
    """What the classifier gives to texts of known worth.

    Raises UserError where one lies on the wrong side of the cut. Where everything is kept there is no cut, and
    only the scores are told.
    """
    texts = canaries(about)
    scores = predict(load_classifier(classifier), features_of(text for text, _ in texts.values()))
    checked = [
        {"name": name, "score": round(score, 4), "must": "keep" if wanted else "drop"}
        for (name, (_, wanted)), score in zip(texts.items(), scores, strict=True)
    ]
    wrong = [
        f"{row['name']} scores {row['score']}"
        for row, score in zip(checked, scores, strict=True)
        if share < 1 and (score >= cut_score) != (row["must"] == "keep")
    ]
    if wrong:
        raise UserError(
            f"canaries on the wrong side of the cut at {cut_score:.4f}: {'; '.join(wrong)}; the classifier cannot be "
            f"trusted: give more files, rate more of them (annotate.sample) or keep another share (filter.keep_share)"
        )
    return checked


class _Samples:
    """A seeded draw of a few documents from each side of the cut in each whole point of score; bounded memory."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._heaps: dict[tuple[int, str], list[tuple[int, str, dict[str, Any]]]] = {}

    def offer(self, document: ScoredDocument, side: str) -> None:
        """Let a document take part in the draw."""
        heap = self._heaps.setdefault((min(4, int(document.score)), side), [])
        key = -seeded_hash(self._seed, document.id)
        if len(heap) == SAMPLES and (key, document.id) <= heap[0][:2]:
            return
        row = {
            "id": document.id,
            "source": document.source,
            "meta": document.meta,
            "score": round(document.score, 4),
            "side": side,
            "text": document.text[:SAMPLE_CHARACTERS],
            "characters": len(document.text),
        }
        (heapq.heappush if len(heap) < SAMPLES else heapq.heappushpop)(heap, (key, document.id, row))

    def drawn(self) -> list[dict[str, Any]]:
        """The drawn documents, the highest points of score first, kept before dropped."""
        order = sorted(self._heaps, key=lambda place: (-place[0], place[1] != "kept"))
        return [
            {"from": bucket, "to": bucket + 1, **row}
            for bucket, side in order
            for _, _, row in sorted(self._heaps[bucket, side], key=lambda entry: (-entry[0], entry[1]))
        ]
