"""Bits per byte on held-out text, over everything and of each source: comparable across tokenizers."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hornbook.evaluate.bits import Passage, held_out_documents, score_passages
from hornbook.evaluate.task import Family, Item, Likely, Output, Scored, Tools
from hornbook.records import Document, content_id
from hornbook.testsets import UnavailableError

SOURCES_SHOWN = 50  # those of the most text; a corpus of installed packages has hundreds
SEED = 1  # of the bootstrap


class BitsPerByte:
    """A sample of a table of documents that a model was not trained on, each read from end-of-text on.

    A score is bits per byte of one document; the task's value is all bits by all bytes.
    """

    name, version, metric = "bits", 1, "bits_per_byte"
    family: Family = "text"

    def __init__(self, table: Path | None, max_bytes: int) -> None:
        self._table, self._max_bytes = table, max_bytes
        self._documents: dict[str, Document] = {}

    def data(self) -> str:
        """A hash over the ids of the documents, which are hashes of their texts."""
        return content_id(" ".join(self._documents))

    def items(self, limit: int | None) -> Sequence[Item]:
        """Documents of the smallest ids, a random sample that does not depend on the order of the table."""
        if self._table is None:
            raise UnavailableError("bits: there is no held-out text; name a table of documents with --text")
        chosen = [one for one in held_out_documents(self._table, self._max_bytes) if one.text][:limit]
        self._documents = {document.id: document for document in chosen}
        return [Item(document.id, Likely((("", document.text),))) for document in self._documents.values()]

    def score(self, items: Sequence[Item], outputs: Sequence[Output], tools: Tools) -> Iterator[Scored]:
        """Bits per byte of each document."""
        for item, output in zip(items, outputs, strict=True):
            document = self._documents[item.id]
            value = float(output[0][0])
            size = len(document.text.encode("utf-8", "replace"))
            yield Scored("passed", -value / math.log(2) / size, {"source": document.source, "bytes": size})

    def summarize(self, scored: Sequence[Scored], items: Sequence[Item], outputs: Sequence[Output]) -> dict[str, Any]:
        """Over all, with a bootstrap interval over documents, and of each source."""
        by_source: dict[str, list[tuple[Passage, float]]] = defaultdict(list)
        for row, item, output in zip(scored, items, outputs, strict=True):
            if row.score is not None:
                document = self._documents[item.id]
                by_source[document.source].append((Passage("", document.text), float(output[0][0])))
        everything = [pair for pairs in by_source.values() for pair in pairs]
        failed = len(scored) - len(everything)
        if not everything:
            nothing = {"metric": self.metric, "value": None, "n": 0, "low": None, "high": None, "failed": failed}
            return nothing | {"reason": "the held-out text is empty" if not scored else "no text could be scored"}
        told = {source: _of(pairs) for source, pairs in by_source.items()}
        largest = sorted(told, key=lambda source: (-int(told[source]["bytes"]), source))[:SOURCES_SHOWN]
        return {**_of(everything), "failed": failed, "sources": {source: told[source] for source in largest}}


def _of(pairs: Sequence[tuple[Passage, float]]) -> dict[str, Any]:
    return score_passages([passage for passage, _ in pairs], [value for _, value in pairs], SEED)
