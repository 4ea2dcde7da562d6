"""Texts to one flat file of tokens: joined by end-of-text, cut into sequences (phi-1, section 2.3)."""

import json
from array import array
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from hornbook.errors import UserError
from hornbook.model.vocabulary import TOKENIZER, end_of_text, entries, load_tokenizer
from hornbook.records import Dropped
from hornbook.run.progress import Bar
from hornbook.run.step import Counts, Inputs, Result, Workspace
from hornbook.step_config import PackStep
from hornbook.tables import TableWriter
from hornbook.tokens.tokenizer import file_sha256, hash_order, read_texts

TOKENS = "tokens.bin"
INDEX = "index.json"
BEYOND = "beyond max_tokens"
BATCH_TEXTS = 256  # encoded together, on all threads
BYTES_PER_TOKEN = 4.0  # first guess of how much text fills the budget; a wrong guess costs another pass, no token

Tokens = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Packed:
    """A packed set on disk, memory-mapped."""

    tokens: Tokens  # (tokens,)
    sequence_length: int
    vocab_size: int
    tokenizer_sha256: str
    end_of_text: int  # the id that separates documents

    @property
    def sequences(self) -> int:
        """Whole sequences, each with the one token after it that its last position predicts."""
        return max(0, (len(self.tokens) - 1) // self.sequence_length)


def open_packed(directory: Path) -> Packed:
    """Raises UserError where the files are missing or do not fit each other."""
    try:
        index = json.loads((directory / INDEX).read_text(encoding="utf-8"))
        tokens = np.memmap(directory / TOKENS, dtype=np.dtype(index["dtype"]), mode="r")
        packed = Packed(
            tokens, index["sequence_length"], index["vocab_size"], index["tokenizer_sha256"], index["end_of_text"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{directory}: not a packed set ({error}); run its `pack` step again") from error
    if len(tokens) != index["tokens"]:
        raise UserError(f"{directory / TOKENS}: holds {len(tokens)} tokens, its index says {index['tokens']}")
    return packed


def pack_set(config: PackStep, inputs: Inputs, work: Workspace) -> Result:
    """Pack the documents or exercises of `documents` with the tokenizer of `tokenizer`.

    Texts stand in an order that seed and id alone decide. Each is followed by end-of-text; the last is cut at
    `max_tokens`, and those after it are dropped. Writes `tokens.bin` (flat little-endian uint16, or uint32 where the
    vocabulary needs it), `index.json` and `dropped.parquet`.
    """
    documents = inputs["documents"]
    tokenizer = load_tokenizer(inputs["tokenizer"])
    sha256 = file_sha256(inputs["tokenizer"] / TOKENIZER)
    vocab_size = entries(tokenizer)
    dtype = np.dtype("<u2" if vocab_size <= 2**16 else "<u4")
    order = _read_order(documents, config.seed)
    if not len(order.rows):
        raise UserError(f"{documents.name}: holds no text to pack; loosen the steps before it")
    encoded = _Encoded(work.directory / "encoded.bin", dtype, np.zeros((len(order.rows), 2), np.int64))
    budget = config.pack.max_tokens
    with work.progress.bar("encoding", float(min(budget * BYTES_PER_TOKEN, order.bytes.sum())) / 1e6, "MB") as bar:
        _encode(documents, tokenizer, order, budget, encoded, bar)
    kept, total = _write_in_order(encoded, order, budget, work.directory / TOKENS)
    encoded.path.unlink()
    _write_dropped(documents, order, kept, work.directory / "dropped.parquet")
    index = {
        "dtype": dtype.str,
        "tokens": total,
        "sequence_length": config.pack.sequence_length,
        "documents": kept,
        "vocab_size": vocab_size,
        "end_of_text": end_of_text(tokenizer),
        "tokenizer_sha256": sha256,
    }
    (work.directory / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    read = len(order.rows)
    sequences = max(0, (total - 1) // config.pack.sequence_length)
    facts = {"tokens": total, "documents": kept, "sequences": sequences, "dtype": dtype.name}
    dropped = {BEYOND: read - kept} if read > kept else {}
    return Result(counts=Counts(read=read, kept=kept, dropped=dropped), facts=facts)


@dataclass(frozen=True, slots=True)
class _Order:
    """The order texts are packed in. 16 bytes of memory per row of the table."""

    rows: npt.NDArray[np.int64]  # row numbers of the table, first to be packed first
    bytes: npt.NDArray[np.int64]  # of each row's text, in the order of the table

    def ranks(self) -> npt.NDArray[np.int64]:
        """Of each row of the table, its place in the order."""
        ranks = np.empty_like(self.rows)
        ranks[self.rows] = np.arange(len(self.rows))
        return ranks


def _read_order(directory: Path, seed: int) -> _Order:
    keys, sizes = array("Q"), array("q")
    for row_id, text in read_texts(directory):
        keys.append(hash_order(seed, row_id))
        sizes.append(len(text.encode()))
    return _Order(np.argsort(np.array(keys, np.uint64), kind="stable"), np.array(sizes, np.int64))


@dataclass(slots=True)
class _Encoded:
    """Texts as tokens, one after another as they were read."""

    path: Path
    dtype: np.dtype[Any]
    spans: npt.NDArray[np.int64]  # (rows of the table, 2): first token and number of tokens
    tokens: int = 0


def _encode(directory: Path, tokenizer: Tokenizer, order: _Order, budget: int, encoded: _Encoded, bar: Bar) -> None:
    """Encode texts in the order until they fill the budget: no more text than that, in few passes over the table."""
    ranks, reach, ending = order.ranks(), np.cumsum(order.bytes[order.rows]), end_of_text(tokenizer)
    done, bytes_per_token = 0, BYTES_PER_TOKEN
    with open(encoded.path, "wb") as file:
        while done < len(ranks) and encoded.tokens < budget:
            taken = int(reach[done - 1]) if done else 0
            until = int(np.searchsorted(reach, taken + (budget - encoded.tokens) * bytes_per_token)) + 1
            chosen = (ranks >= done) & (ranks < until)
            numbered = ((row, text) for row, (_, text) in enumerate(read_texts(directory)) if chosen[row])
            while batch := list(islice(numbered, BATCH_TEXTS)):
                texts = [text for _, text in batch]
                for (row, _), encoding in zip(
                    batch, tokenizer.encode_batch_fast(texts, add_special_tokens=False), strict=True
                ):
                    ids = np.array([*encoding.ids, ending], encoded.dtype)
                    encoded.spans[row] = encoded.tokens, len(ids)
                    encoded.tokens += len(ids)
                    file.write(ids.tobytes())
                bar.advance(sum(int(order.bytes[row]) for row, _ in batch) / 1e6)
            done = min(until, len(ranks))
            bytes_per_token = int(reach[done - 1]) / encoded.tokens


def _write_in_order(encoded: _Encoded, order: _Order, budget: int, path: Path) -> tuple[int, int]:
    """Copy the encoded texts in the order, up to the budget. Gives the numbers of texts and of tokens written."""
    source = np.memmap(encoded.path, dtype=encoded.dtype, mode="r")
    written = 0
    with open(path, "wb") as file:
        for kept, row in enumerate(order.rows):
            if written >= budget:
                return kept, written
            start, length = encoded.spans[row]
            piece = source[start : start + min(int(length), budget - written)]
            file.write(piece.tobytes())
            written += len(piece)
    return len(order.rows), written


def _write_dropped(directory: Path, order: _Order, kept: int, path: Path) -> None:
    ranks = order.ranks()
    with TableWriter(path, Dropped) as dropped:
        for row, (row_id, _) in enumerate(read_texts(directory)):
            if ranks[row] >= kept:
                dropped.write(Dropped(row_id, "pack", BEYOND, f"{order.bytes[row]} bytes"))
