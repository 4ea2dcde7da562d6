"""The step `corpus`: real text as documents, sampled by content hash, a part of it held out.

The sources are read twice: once to learn how much text there is and where the sample ends, once to write it. Between
the two only an id of 16 bytes and a size are held per document.
"""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hornbook.corpus.listing import SourceFile, list_files
from hornbook.corpus.reading import Found, read_texts
from hornbook.errors import UserError
from hornbook.recipe import CorpusConfig, FilesSource, HubSource
from hornbook.records import Document, Dropped
from hornbook.run.progress import Bar, Progress
from hornbook.run.step import Counts, Inputs, Result, Workspace
from hornbook.step_config import CorpusStep
from hornbook.tables import TableWriter

HASH_RANGE = 1 << 64


def read_corpus(config: CorpusStep, inputs: Inputs, work: Workspace) -> Result:
    """Writes `documents.parquet`, `held_out.parquet` (Document) and `dropped.parquet`.

    Which documents are sampled, and which of them are held out, depends on their text and the seed alone: not on the
    order of the files, nor on what else the corpus holds, save for where the sample ends.

    Raises UserError, before anything is written, where a source is missing or holds no usable text.
    """
    files = list_files(config.corpus)
    with work.progress.bar("reading the corpus", 2 * len(files), "files") as bar:
        end = _sample_end(config, files, bar)
        return _write(config, files, end, work, bar)


def copy_documents(source: FilesSource, max_bytes: int, folder: Path, progress: Progress) -> None:
    """Every usable text of a user's files, each once, in order: `documents.parquet`, and `dropped.parquet` beside it.

    Raises UserError where there is none.
    """
    everything = CorpusConfig(
        sources=(source,), sample_bytes=HASH_RANGE // 8, max_document_bytes=max_bytes, held_out_share=1.0
    )
    files = list_files(everything)
    seen: set[bytes] = set()
    unusable: Counter[str] = Counter()
    with (
        TableWriter(folder / "documents.parquet", Document) as documents,
        TableWriter(folder / "dropped.parquet", Dropped) as rejects,
        progress.bar("reading", len(files), "files") as bar,
    ):
        for _, file, found in _read(everything, files, bar):
            reason = found.reason or ("exact duplicate" if bytes.fromhex(found.id) in seen else "")
            seen.add(bytes.fromhex(found.id))
            if reason:
                unusable[reason] += 1
                rejects.write(Dropped(found.id, "read", reason, f"{found.place(file)}: {found.detail}"))
                continue
            documents.write(Document(found.id, found.text, file.source, _meta(file, found)))
    if not documents.rows:
        raise UserError(f"{source.path}: holds no usable text ({_told(unusable)}); mend the path or --text-column")


def _told(unusable: Counter[str]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(unusable.items())) or "no rows"


def _meta(file: SourceFile, found: Found) -> str:
    meta = {"path": file.name, "line": found.line} if found.line else {"path": file.name}
    return json.dumps(meta, ensure_ascii=False)


def draw(seed: int, purpose: str, document_id: str) -> int:
    """A number in [0, 2**64) that depends on nothing but its arguments, evenly spread over ids."""
    digest = hashlib.blake2b(f"{seed}\n{purpose}\n{document_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _sample_end(config: CorpusStep, files: list[SourceFile], bar: Bar) -> int:
    """The largest draw that is still sampled: documents in the order of their draws add up to `sample_bytes`."""
    seen: set[bytes] = set()
    draws, sizes = array("Q"), array("Q")
    usable: Counter[str] = Counter()
    unusable: Counter[str] = Counter()
    for _, file, found in _read(config.corpus, files, bar):
        if found.reason:
            unusable[found.reason] += 1
            continue
        usable[file.source] += 1
        identity = bytes.fromhex(found.id)
        if identity not in seen:
            seen.add(identity)
            draws.append(draw(config.seed, "sample", found.id))
            sizes.append(found.size)
    for source in config.corpus.sources:
        if isinstance(source, FilesSource) and not usable[source.source]:
            raise UserError(f"{source.path}: holds no usable text ({_told(unusable)}); mend `path` or `text_column`")
        if isinstance(source, HubSource) and not usable[source.source]:
            place = f"hf://datasets/{source.repo}"
            raise UserError(f"{place}: holds no usable text ({_told(unusable)}); mend `files` or `text_column`")
    if not draws:
        raise UserError("corpus.sources: hold no usable text; name a source that does")
    draw_of, size_of = np.frombuffer(draws, np.uint64), np.frombuffer(sizes, np.uint64)
    order = np.argsort(draw_of, kind="stable")
    within = int(np.searchsorted(np.cumsum(size_of[order]), config.corpus.sample_bytes, side="right"))
    return int(draw_of[order[max(within, 1) - 1]])


def _read(config: CorpusConfig, files: list[SourceFile], bar: Bar) -> Iterator[tuple[int, SourceFile, Found]]:
    """Every text of every file, with the number of the file."""
    for number, file in enumerate(files):
        for found in read_texts(file, config.max_document_bytes):
            yield number, file, found
        bar.advance()


def _write(config: CorpusStep, files: list[SourceFile], end: int, work: Workspace, bar: Bar) -> Result:
    first: dict[bytes, tuple[int, int]] = {}  # file number and line of each text, for naming the first of duplicates
    held_out_below = round(config.corpus.held_out_share * HASH_RANGE)
    dropped: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    kept_bytes = read = 0
    folder = work.directory
    with (
        TableWriter(folder / "documents.parquet", Document) as documents,
        TableWriter(folder / "held_out.parquet", Document) as held_out,
        TableWriter(folder / "dropped.parquet", Dropped) as rejects,
    ):
        for number, file, found in _read(config.corpus, files, bar):
            read += 1
            reason, detail = found.reason, found.detail
            if not reason:
                where = (number, found.line)
                earlier, line = first.setdefault(bytes.fromhex(found.id), where)
                if (earlier, line) != where:
                    reason, detail = "exact duplicate", f"of {files[earlier].name}" + (f", line {line}" if line else "")
                elif draw(config.seed, "sample", found.id) > end:
                    reason = "not sampled"
            if reason:
                place = found.place(file)
                rejects.write(Dropped(found.id, "corpus", reason, f"{place}: {detail}" if detail else place))
                dropped[reason] += 1
                continue
            row = Document(found.id, found.text, file.source, _meta(file, found))
            is_held_out = draw(config.seed, "held out", found.id) < held_out_below
            (held_out if is_held_out else documents).write(row)
            sources[file.source] += 1
            kept_bytes += found.size
    facts = {
        "documents": documents.rows,
        "held_out": held_out.rows,
        "bytes": kept_bytes,
        "sources": dict(sorted(sources.items())),
    }
    return Result(Counts(read, documents.rows + held_out.rows, dict(sorted(dropped.items()))), facts)
