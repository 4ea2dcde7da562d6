"""Bits per byte: how well a model predicts real text, comparable across tokenizers.

A passage is read in windows of the model's context length. Every token of the target is predicted exactly once; a
window after the first begins with the last token of the one before it, much as sequences are cut in training.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from hornbook.evaluate.code import trim_prompt
from hornbook.evaluate.stats import ratio_interval
from hornbook.model.vocabulary import end_of_text
from hornbook.records import Document, Problem
from hornbook.tables import read_rows

if TYPE_CHECKING:
    from hornbook.model.transformer import Phi


@dataclass(frozen=True, slots=True)
class Passage:
    """A text to predict, and what the model has read before it."""

    context: str
    target: str


def held_out_documents(path: Path, max_bytes: int) -> list[Document]:
    """Documents of a held-out table: as many as fit in `max_bytes` of text, at least one.

    The smallest ids first. Ids are hashes of content, so this is a random sample over all sources that does not depend
    on the order of the table. Holds only the sample in memory.
    """
    chosen: list[tuple[int, int, Document]] = []  # a heap whose first is the largest id; the second tells equals apart
    size = 0
    for place, document in enumerate(read_rows(path, Document)):
        heapq.heappush(chosen, (-int(document.id, 16), -place, document))
        size += _size(document.text)
        # What is let go lies beyond a prefix that already fills the sample, so the order of rows does not matter.
        while size - _size(chosen[0][2].text) >= max_bytes:
            size -= _size(heapq.heappop(chosen)[2].text)
    if size > max_bytes and len(chosen) > 1:
        heapq.heappop(chosen)
    return [document for _, _, document in sorted(chosen, reverse=True)]


def held_out_passages(path: Path, max_bytes: int) -> list[Passage]:
    """The same as passages without context; empty texts are left out."""
    return [Passage("", document.text) for document in held_out_documents(path, max_bytes) if document.text]


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def reference_passages(problems: Iterable[Problem]) -> Iterator[Passage]:
    """The reference solution of each problem, given its prompt.

    The prompt is trimmed as for generation, so the line break before the reference is part of what is predicted. CR LF
    line ends, which MBPP has, count as one LF: which kind a file has is no property of its code.
    """
    for problem in problems:
        context = trim_prompt(problem.prompt)
        target = (problem.prompt + problem.reference)[len(context) :]
        yield Passage(context.replace("\r\n", "\n"), target.replace("\r\n", "\n"))


def score_passages(passages: Sequence[Passage], likelihoods: Sequence[float], seed: int) -> dict[str, Any]:
    """Bits per byte over all passages: total bits by total UTF-8 bytes, with a bootstrap interval over passages."""
    bits = [-value / math.log(2) for value in likelihoods]
    sizes = [_size(passage.target) for passage in passages]
    low, high = ratio_interval(bits, sizes, seed)
    return {
        "metric": "bits_per_byte",
        "value": sum(bits) / sum(sizes),
        "n": len(passages),
        "low": low,
        "high": high,
        "failed": 0,
        "bytes": sum(sizes),
    }


def log_likelihoods(
    phi: "Phi", tokenizer: Tokenizer, passages: Sequence[Passage], advance: Callable[[int], None]
) -> list[float]:
    """The natural logarithm of P(target | end of text, context) of each passage.

    Context and target are tokenized apart, so the boundary is exact. `advance` is told how many tokens were read.
    """
    from hornbook.model.score import score_continuations  # with PyTorch, which a list of tasks need not wait for

    ending = end_of_text(tokenizer)
    pairs = [
        (
            [ending, *tokenizer.encode(passage.context, add_special_tokens=False).ids],
            tokenizer.encode(passage.target, add_special_tokens=False).ids,
        )
        for passage in passages
    ]
    return [scored.log_probability for scored in score_continuations(phi, pairs, advance)]
