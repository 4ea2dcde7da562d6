"""Packing: documents joined by an end-of-text token into one array, cut into sequences (phi-1, section 2.3).

`tokens.bin` is the flat array of token ids, little-endian, without a header; `index.json` says its type and length. Read
it with `numpy.memmap`.
"""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from hornbook.errors import UserError
from hornbook.recipe import PackStep
from hornbook.run.step import Counts, Inputs, Result, Workspace
from hornbook.tokens.tokenizer import END_OF_TEXT, chosen, load_tokenizer, text_rows

TOKENS = "tokens.bin"
INDEX = "index.json"
BATCH_DOCUMENTS = 256  # encoded at a time
MEASURED_DOCUMENTS = 512  # on which tokens per byte are measured before a set is sampled
SAMPLE_MARGIN = 1.1  # sample a little more than is needed, and stop when there is enough


def pack_set(config: PackStep, inputs: Inputs, work: Workspace) -> Result:
    """Encode a set into `tokens.bin`, at most `max_tokens` of it, drawn at random by document.

    Raises UserError where the set gives less than one sequence.
    """
    tokenizer = load_tokenizer(inputs["tokenizer"])
    end = tokenizer.token_to_id(END_OF_TEXT)
    vocab_size = tokenizer.get_vocab_size()
    dtype = np.dtype("<u2") if vocab_size <= 2**16 else np.dtype("<u4")
    limit, length = config.pack.max_tokens, config.pack.sequence_length
    documents, size, share = _measure(inputs["documents"], tokenizer, config.seed, limit)
    packed = written = 0
    rows = (text for identity, text in text_rows(inputs["documents"]) if chosen(identity, config.seed, share))
    with open(work.directory / TOKENS, "wb") as file, work.progress.bar("packing", limit, "tokens") as bar:
        while written < limit and (texts := list(islice(rows, BATCH_DOCUMENTS))):
            for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
                ids = [*encoding.ids, end][: limit - written]
                if not ids:
                    break
                file.write(np.array(ids, dtype).tobytes())
                written += len(ids)
                packed += 1
                bar.advance(len(ids))
    if written <= length:
        raise UserError(f"{inputs['documents'].name}: {written} tokens give no sequence of {length}; give it more text")
    index = {"dtype": dtype.str, "tokens": written, "sequence_length": length, "documents": packed, "vocab": vocab_size}
    (work.directory / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    counts = Counts(documents, packed, {"not needed": documents - packed} if packed < documents else {})
    return Result(counts, {**index, "bytes_in_set": size})


def _measure(directory: Path, tokenizer: Tokenizer, seed: int, limit: int) -> tuple[int, int, float]:
    """Documents and bytes of a set, and the share of its documents that gives about `limit` tokens."""
    documents = size = 0
    for _, text in text_rows(directory):
        documents += 1
        size += len(text.encode("utf-8", "surrogatepass"))
    share_measured = min(1.0, MEASURED_DOCUMENTS / max(documents, 1))
    sample = [text for identity, text in text_rows(directory) if chosen(identity, seed + 1, share_measured)]
    tokens = sum(len(encoding.ids) + 1 for encoding in tokenizer.encode_batch_fast(sample, add_special_tokens=False))
    sample_bytes = sum(len(text.encode("utf-8", "surrogatepass")) for text in sample)
    expected = size * tokens / sample_bytes if sample_bytes else limit
    return documents, size, min(1.0, SAMPLE_MARGIN * limit / max(expected, 1))


class PackedSet:
    """The sequences of a packed set, memory-mapped: sequence i predicts `sequence_length` tokens.

    A sequence has one token more than `sequence_length`, the first of the next, so that every token but the very first
    is predicted once an epoch.
    """

    def __init__(self, directory: Path) -> None:
        index = json.loads((directory / INDEX).read_text(encoding="utf-8"))
        self.sequence_length = int(index["sequence_length"])
        self.tokens = np.memmap(directory / TOKENS, np.dtype(index["dtype"]), "r")

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.sequence_length

    def __getitem__(self, number: int) -> npt.NDArray[np.int64]:
        """Sequence `number`: (sequence_length + 1,) token ids."""
        start = number * self.sequence_length
        return self.tokens[start : start + self.sequence_length + 1].astype(np.int64)

    def __iter__(self) -> Iterator[npt.NDArray[np.int64]]:
        return (self[number] for number in range(len(self)))
