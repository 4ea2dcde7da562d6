"""The step `dedup`: of texts that are nearly the same, one stays.

MinHash signatures cut into bands (Broder 1997; Leskovec, Rajaraman and Ullman, section 3.4) only nominate: a pair whose
Jaccard similarity is s shares a band with probability 1 - (1 - s**rows)**bands. What is nominated is then measured on
the full sets of word n-grams.
"""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hornbook.curate.rows import RowTable, table_of
from hornbook.curate.similarity import jaccard, word_ngrams
from hornbook.recipe import DedupConfig
from hornbook.records import Dropped
from hornbook.run.progress import Bar
from hornbook.run.step import Counts, Inputs, Result, Workspace
from hornbook.step_config import DedupStep
from hornbook.tables import BATCH_ROWS, TableWriter, frame, read_rows

if TYPE_CHECKING:
    import daft

UNIQUE_CANARY = (
    "The lamplighter of Quillhaven kept nineteen brass tortoises beneath the stairs, and every Thursday one of them, "
    "never the same, whispered the harbour's tide table backwards in a dialect of clockwork; nobody thanked it, yet "
    "the ferries, which had opinions of their own about punctuality, began to leave precisely when they were painted."
)
CANARY_SOURCES = 3  # rows of which copies are planted
CANARY_WORDS = 40  # such a row has at least so many, so that a copy with one changed word is a near-duplicate
WORD = re.compile(r"\w+|[^\w\s]")
SCRATCH_SCHEMA = pa.schema([("row", pa.int64()), ("id", pa.string()), ("score", pa.float64()), ("text", pa.string())])


@dataclass(frozen=True, slots=True)
class Cluster:
    """A row, and the row that stands for it (itself where it stays)."""

    id: str
    kept: str
    similarity: float  # Jaccard, of the word n-grams of the two


@dataclass(frozen=True, slots=True)
class _Canary:
    """A planted text. Its row number follows those of the table, so it comes last wherever rows are ordered."""

    text: str
    near: str  # id of the row it is a copy of; empty: like nothing else


@dataclass(frozen=True, slots=True)
class _Near:
    kept: str  # id
    similarity: float


def dedup_documents(config: DedupStep, inputs: Inputs, work: Workspace) -> Result:
    """Reads `documents.parquet` or `exercises.parquet` of the input `documents`; writes the table under the same name
    with the same columns, `dropped.parquet`, and `clusters.parquet` (Cluster: the rows of clusters of two or more).

    Rows are taken best first: by score where there is one, then by smallest id. A row that is nominated with a row
    already kept, and whose similarity with it is at or above the threshold, is dropped and names the kept row it is
    nearest to. So every dropped row has a near-duplicate that stays, and no chain of small changes drops a text that is
    far from everything kept. The outcome depends neither on the order of the rows nor on the number of workers.

    Raises RuntimeError where a planted near-duplicate is not caught, or a planted unique text is.
    """
    table = table_of(inputs["documents"])
    with tempfile.TemporaryDirectory(dir=work.directory, prefix="scratch-") as name:
        scratch = Path(name)
        rows, canaries = _write_scratch(table, scratch / "texts.parquet", config.dedup)
        with work.progress.bar("finding near-duplicates", 1 + config.dedup.bands + 1, "passes") as bar:
            _sign(scratch, config, bar)
            nominated = _nominate(scratch, rows + len(canaries), config.dedup, bar)
            near = dict(_judge(_in_order(scratch, nominated, rows), rows, canaries, config.dedup))
            bar.advance()
    _check([near.pop(rows + number, None) for number in range(len(canaries))], canaries)
    return _write(table, near, canaries, work)


def _write_scratch(table: RowTable, path: Path, config: DedupConfig) -> tuple[int, list[_Canary]]:
    """The texts with their row numbers, and after them the canaries; gives the number of rows and the canaries."""
    rows = 0
    sources: list[tuple[str, str]] = []  # the smallest ids that may have copies, with their texts
    columns = ["id", *table.text_columns, *([table.score_column] if table.score_column else [])]
    with pq.ParquetWriter(path, SCRATCH_SCHEMA) as writer, pq.ParquetFile(table.path) as parquet:
        for batch in parquet.iter_batches(BATCH_ROWS, columns=columns):
            ids = batch.column("id")
            texts = pc.binary_join_element_wise(*(batch.column(name) for name in table.text_columns), "")
            score = batch.column(table.score_column) if table.score_column else pa.array(np.zeros(len(ids)))
            numbers = pa.array(np.arange(rows, rows + len(ids)))
            writer.write_batch(pa.record_batch([numbers, ids, score, texts], schema=SCRATCH_SCHEMA))
            rows += len(ids)
            for position, identity in enumerate(ids.to_pylist()):
                if len(sources) < CANARY_SOURCES or identity < sources[-1][0]:
                    text = texts[position].as_py()
                    if text.isascii() and len(WORD.findall(text)) >= max(CANARY_WORDS, 2 * config.ngram_words):
                        sources = sorted([*sources, (identity, text)])[:CANARY_SOURCES]
        canaries = _canaries(sources, config)
        planted = [(rows + number, "", 0.0, canary.text) for number, canary in enumerate(canaries)]
        columns_of_planted = [list(column) for column in zip(*planted, strict=True)]
        writer.write_batch(pa.record_batch(columns_of_planted, schema=SCRATCH_SCHEMA))
    return rows, canaries


def _canaries(sources: list[tuple[str, str]], config: DedupConfig) -> list[_Canary]:
    """A text like no other, and of each source the copies that are near-duplicates by the threshold of the config."""
    canaries = [_Canary(UNIQUE_CANARY, "")]
    for identity, text in sources:
        last = list(WORD.finditer(text))[-1]
        copies = (
            "\n\n" + text.replace(" ", "  ").replace("\n", " \n\n"),  # other white space
            text.rstrip() + "\n# again\n",  # another comment
            text[: last.start()] + "edited" + text[last.end() :],  # one word changed
        )
        grams = word_ngrams(WORD.findall(text), config.ngram_words)
        canaries += [
            _Canary(copy, identity)
            for copy in copies
            if jaccard(grams, word_ngrams(WORD.findall(copy), config.ngram_words)) >= config.threshold
        ]
    return canaries


def _sign(scratch: Path, config: DedupStep, bar: Bar) -> None:
    """Split every text into words and punctuation marks, joined by single spaces; hash the bands of its signature."""
    from daft import col

    dedup = config.dedup
    texts = frame(scratch / "texts.parquet")
    words = col("text").regexp_replace(r"[^\w\s]", " ${0} ").regexp_replace(r"\s+", " ").lstrip().rstrip()
    signed = texts.select("row", "id", "score", words.alias("words")).with_column(
        "signature",
        col("words").minhash(
            num_hashes=dedup.bands * dedup.rows,
            ngram_size=dedup.ngram_words,
            seed=config.seed % 2**32,
            hash_function="xxhash3_64",
        ),
    )
    bands = [
        col("signature").slice(band * dedup.rows, (band + 1) * dedup.rows).hash().alias(f"band{band}")
        for band in range(dedup.bands)
    ]
    signed.select("row", "id", "score", "words", *bands).write_parquet(str(scratch / "signed"))
    bar.advance()


def _signed(scratch: Path) -> "daft.DataFrame":
    return frame(*sorted((scratch / "signed").glob("*.parquet")))


def _nominate(scratch: Path, rows: int, config: DedupConfig, bar: Bar) -> pa.Table:
    """Every row that shares a band with another, with the connected component of such sharing it is in.

    Bands are taken one at a time, so that memory holds one number and one hash per row, whatever the number of bands.
    """
    from daft import col, lit

    ones: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
    others: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
    for band in range(config.bands):
        shared = (
            _signed(scratch)
            .groupby(f"band{band}")
            .agg(col("row").list_agg().alias("rows"))
            .where(col("rows").length() > lit(1))
            .to_arrow()
            .column("rows")
            .combine_chunks()
        )
        lengths = pc.list_value_length(shared).to_numpy(zero_copy_only=False).astype(np.int64)
        members = pc.list_flatten(shared).to_numpy(zero_copy_only=False).astype(np.int64)
        firsts = members[np.cumsum(lengths) - lengths] if len(members) else members
        ones.append(np.repeat(firsts, lengths))
        others.append(members)
        bar.advance()
    one, other = np.concatenate(ones), np.concatenate(others)
    edges = coo_array((np.ones(len(one), np.int32), (one, other)), shape=(rows, rows))
    _, component = connected_components(edges, directed=False)
    nominated = np.unique(other)
    return pa.table({"row": nominated, "component": component[nominated].astype(np.int64)})


def _in_order(scratch: Path, nominated: pa.Table, rows: int) -> "daft.DataFrame":
    """The nominated rows with their words, component after component, best first, canaries last."""
    import daft
    from daft import col, lit

    return (
        daft.from_arrow(nominated)
        .join(_signed(scratch), on="row")
        .with_column("planted", col("row") >= lit(rows))
        .sort(["component", "planted", "score", "id", "row"], desc=[False, False, True, False, False])
    )


@dataclass(slots=True)
class _Kept:
    """The kept rows of one component, found by the bands they share."""

    ids: list[str] = field(default_factory=list)
    grams: list[set[int]] = field(default_factory=list)
    by_band: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def add(self, identity: str, grams: set[int], bands: tuple[int, ...]) -> None:
        for band in enumerate(bands):
            self.by_band.setdefault(band, []).append(len(self.ids))
        self.ids.append(identity)
        self.grams.append(grams)

    def nearest(self, grams: set[int], bands: tuple[int, ...], threshold: float) -> _Near | None:
        """The most similar of those that share a band, the first of equals; None where none reaches the threshold."""
        shared: set[int] = set()
        for band in enumerate(bands):
            shared.update(self.by_band.get(band, ()))
        best, nearest = threshold, None
        for number in sorted(shared):
            one, other = sorted((len(grams), len(self.grams[number])))
            if one < best * other:
                continue  # even if the smaller lay wholly in the larger
            similarity = jaccard(grams, self.grams[number])
            if similarity > best or (similarity == best and nearest is None):
                best, nearest = similarity, _Near(self.ids[number], similarity)
        return nearest


def _judge(
    in_order: "daft.DataFrame", rows: int, canaries: list[_Canary], config: DedupConfig
) -> Iterator[tuple[int, _Near]]:
    """The row numbers to drop, each with the kept row it is nearest to.

    A canary is also held against the row it copies where that row was itself dropped, or it could slip through between
    the two.
    """
    sources = {canary.near for canary in canaries}
    bands = [f"band{band}" for band in range(config.bands)]
    component = -1
    kept, dropped_sources = _Kept(), _Kept()
    for batch in in_order.to_arrow_iter():
        columns = [batch.column(name).to_pylist() for name in ("row", "component", "id", "words", *bands)]
        for row, own_component, identity, words, *own_bands in zip(*columns, strict=True):
            if own_component != component:
                component, kept, dropped_sources = own_component, _Kept(), _Kept()
            grams = word_ngrams(words.split(" "), config.ngram_words)
            hashes = tuple(own_bands)
            near = kept.nearest(grams, hashes, config.threshold)
            if row >= rows and near is None:
                near = dropped_sources.nearest(grams, hashes, config.threshold)
            if near is not None:
                yield row, near
                if identity in sources:
                    dropped_sources.add(identity, grams, hashes)
            elif row < rows:
                kept.add(identity, grams, hashes)


def _check(found: list[_Near | None], canaries: list[_Canary]) -> None:
    for near, canary in zip(found, canaries, strict=True):
        if canary.near and near is None:
            raise RuntimeError(
                f"dedup: a planted copy of row {canary.near} was not caught; "
                "with these `bands` and `rows` near-duplicates slip through"
            )
        if not canary.near and near is not None:
            raise RuntimeError(f"dedup: a planted unique text was taken for a copy of row {near.kept}")


def _write(table: RowTable, near: dict[int, _Near], canaries: list[_Canary], work: Workspace) -> Result:
    sizes: dict[str, int] = {}
    for found in near.values():
        sizes[found.kept] = sizes.get(found.kept, 1) + 1
    folder = work.directory
    read = 0
    with (
        TableWriter(folder / table.path.name, table.row_type) as kept,
        TableWriter(folder / "dropped.parquet", Dropped) as dropped,
        TableWriter(folder / "clusters.parquet", Cluster) as clusters,
    ):
        for number, row in enumerate(read_rows(table.path, table.row_type)):
            read += 1
            stands_for_it = near.get(number)
            if stands_for_it is None:
                kept.write(row)
                if row.id in sizes:
                    clusters.write(Cluster(row.id, row.id, 1.0))
                continue
            detail = f"of {stands_for_it.kept}, similarity {stands_for_it.similarity:.2f}"
            dropped.write(Dropped(row.id, "dedup", "near duplicate", detail))
            clusters.write(Cluster(row.id, stands_for_it.kept, stands_for_it.similarity))
    copies = sum(1 for canary in canaries if canary.near)
    facts = {
        "clusters": len(sizes),
        "largest_cluster": max(sizes.values(), default=0),
        "canaries": {"planted": copies, "caught": copies, "innocent_kept": len(canaries) - copies},
    }
    return Result(Counts(read, kept.rows, {"near duplicate": dropped.rows} if dropped.rows else {}), facts)
