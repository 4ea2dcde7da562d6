"""Bits per byte: how well a model predicts real text, comparable across tokenizers.

A passage is read in windows of the model's context length. Every token of the target is predicted exactly once; a
window after the first begins with the last token of the one before it, much as sequences are cut in training.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch.nn import functional

from hornbook.evaluate.code import trim_prompt
from hornbook.evaluate.stats import ratio_interval
from hornbook.model.transformer import Phi
from hornbook.model.vocabulary import end_of_text
from hornbook.records import Document, Problem
from hornbook.tables import read_rows

BATCH_TOKENS = 4096  # of one forward pass; its logits at 8,192 entries of vocabulary are 128 MiB


@dataclass(frozen=True, slots=True)
class Passage:
    """A text to predict, and what the model has read before it."""

    context: str
    target: str


def held_out_passages(path: Path, max_bytes: int) -> list[Passage]:
    """Documents of a held-out table as passages without context: as many as fit in `max_bytes` of text, at least one.

    The smallest ids first. Ids are hashes of content, so this is a random sample over all sources that does not depend
    on the order of the table. Holds only the sample in memory.
    """
    chosen: list[tuple[int, str]] = []  # a heap whose first is the largest id
    size = 0
    for document in read_rows(path, Document):
        heapq.heappush(chosen, (-int(document.id, 16), document.text))
        size += _size(document.text)
        # What is let go lies beyond a prefix that already fills the sample, so the order of rows does not matter.
        while size - _size(chosen[0][1]) >= max_bytes:
            size -= _size(heapq.heappop(chosen)[1])
    if size > max_bytes and len(chosen) > 1:
        heapq.heappop(chosen)
    return [Passage("", text) for _, text in sorted(chosen, reverse=True) if text]


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


def windows_of(context: Sequence[int], target: Sequence[int], length: int) -> Iterator[tuple[list[int], int]]:
    """Pieces of at most `length` + 1 tokens of context + target, and where in each the tokens to predict begin.

    Where not everything fits, the context keeps its last half window. Raises ValueError for an empty context.
    """
    if not context:
        raise ValueError("the first token of a target needs a token before it")
    tokens, first = [*context, *target], len(context)
    start = 0 if len(tokens) <= length + 1 else max(0, first - length // 2)
    while first < len(tokens):
        end = min(len(tokens), start + length + 1)
        yield tokens[start:end], first - start
        first, start = end, end - 1


def log_likelihoods(
    model: Phi, tokenizer: Tokenizer, passages: Sequence[Passage], advance: Callable[[int], None]
) -> list[float]:
    """The natural logarithm of P(target | end of text, context) of each passage.

    Context and target are tokenized apart, so the boundary is exact. `advance` is told how many tokens were read.
    """
    windows: list[tuple[list[int], int, int]] = []
    for index, passage in enumerate(passages):
        context = [end_of_text(tokenizer), *tokenizer.encode(passage.context, add_special_tokens=False).ids]
        target = tokenizer.encode(passage.target, add_special_tokens=False).ids
        windows += [(piece, first, index) for piece, first in windows_of(context, target, model.context)]
    windows.sort(key=lambda window: -len(window[0]))  # alike lengths together: little padding; stable, so deterministic
    totals = [0.0] * len(passages)
    while windows:
        count = max(1, BATCH_TOKENS // len(windows[0][0]))
        batch, windows = windows[:count], windows[count:]
        for (_, _, index), value in zip(batch, _score_batch(model, batch), strict=True):
            totals[index] += value
        advance(sum(len(piece) for piece, _, _ in batch))
    return totals


@torch.inference_mode()
def _score_batch(model: Phi, batch: Sequence[tuple[list[int], int, int]]) -> list[float]:
    device = next(model.parameters()).device
    longest = len(batch[0][0])
    tokens = torch.zeros((len(batch), longest), dtype=torch.long)
    wanted = torch.zeros((len(batch), longest - 1), dtype=torch.bool)
    for row, (piece, first, _) in enumerate(batch):
        tokens[row, : len(piece)] = torch.tensor(piece)
        wanted[row, first - 1 : len(piece) - 1] = True
    tokens, wanted = tokens.to(device), wanted.to(device)
    logits = model(tokens[:, :-1]).float()
    losses = functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none").view(
        wanted.shape
    )
    return [float(value) for value in -(losses * wanted).double().sum(dim=1)]
