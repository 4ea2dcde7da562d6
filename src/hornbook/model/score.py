"""Exact log-likelihoods of given continuations after given contexts: for multiple choice, perplexity and bits per byte.

Batched by length; what else is in a batch changes a value by rounding only.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hornbook.model.transformer import Phi

BATCH_TOKENS = 4096  # of one forward pass
LOGITS = 2**24  # held at once: 64 MiB in float32


@dataclass(frozen=True, slots=True)
class Likelihood:
    """What a model makes of a continuation."""

    log_probability: float  # natural logarithm, summed over its tokens
    tokens: int
    is_greedy: bool  # whether greedy generation would have written it


@dataclass(frozen=True, slots=True)
class _Window:
    tokens: list[int]
    first: int  # of them, the first to predict
    pair: int  # which continuation it is a part of


def windows_of(context: Sequence[int], target: Sequence[int], length: int) -> Iterator[tuple[list[int], int]]:
    """Pieces of at most `length` + 1 tokens of context + target, and where in each the tokens to predict begin.

    Where not everything fits, the context keeps its last half window; a window after the first begins with the last
    token of the one before it, much as sequences are cut in training. Raises ValueError for an empty context.
    """
    if not context:
        raise ValueError("the first token of a target needs a token before it")
    tokens, first = [*context, *target], len(context)
    start = 0 if len(tokens) <= length + 1 else max(0, first - length // 2)
    while first < len(tokens):
        end = min(len(tokens), start + length + 1)
        yield tokens[start:end], first - start
        first, start = end, end - 1


def score_continuations(
    phi: Phi, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], advance: Callable[[int], None]
) -> list[Likelihood]:
    """P(continuation | context) for each pair (context, continuation) of token ids; no context is empty.

    The probabilities are over all rows of the head, as in training and in transformers. `advance` is told how many
    tokens were read. Raises ValueError for an empty context.
    """
    windows = [
        _Window(piece, first, pair)
        for pair, (context, target) in enumerate(pairs)
        for piece, first in windows_of(context, target, phi.context)
    ]
    windows.sort(key=lambda window: -len(window.tokens))  # like lengths together; stable, so deterministic
    sums, greedy = [0.0] * len(pairs), [True] * len(pairs)
    while windows:
        count = max(1, BATCH_TOKENS // len(windows[0].tokens))
        batch, windows = windows[:count], windows[count:]
        for window, (value, is_greedy) in zip(batch, _score(phi, batch), strict=True):
            sums[window.pair] += value
            greedy[window.pair] &= is_greedy
        advance(sum(len(window.tokens) for window in batch))
    return [Likelihood(sums[pair], len(target), greedy[pair]) for pair, (_, target) in enumerate(pairs)]


@torch.inference_mode()
def _score(phi: Phi, batch: Sequence[_Window]) -> list[tuple[float, bool]]:
    device = phi.lm_head.weight.device
    tokens = torch.zeros((len(batch), len(batch[0].tokens)), dtype=torch.long)
    wanted = torch.zeros((len(batch), tokens.shape[1] - 1), dtype=torch.bool)
    for row, window in enumerate(batch):
        tokens[row, : len(window.tokens)] = torch.tensor(window.tokens)
        wanted[row, window.first - 1 : len(window.tokens) - 1] = True
    tokens, wanted = tokens.to(device), wanted.to(device)
    # Padding stands at the right, where nothing before it sees it.
    features = phi.features(tokens[:, :-1], phi.lm_head.weight.dtype)[wanted]
    values, is_best = _of_tokens(phi, features, tokens[:, 1:][wanted])
    sizes = wanted.sum(dim=1).tolist()
    parts = zip(torch.split(values, sizes), torch.split(is_best, sizes), strict=True)
    return [(float(value.double().sum()), bool(best.all())) for value, best in parts]


def _of_tokens(phi: Phi, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Of each target (M,) its log-probability, and whether it is the most probable token: features (M, H)."""
    values, is_best = [], []
    rows = max(1, LOGITS // len(phi.lm_head.weight))
    for part, target in zip(torch.split(features, rows), torch.split(targets, rows), strict=True):
        logits = phi.lm_head(part).float()
        values.append(logits.gather(1, target[:, None])[:, 0] - logits.logsumexp(dim=1))
        is_best.append(logits[:, : phi.vocab_size].argmax(dim=1) == target)
    return torch.cat(values), torch.cat(is_best)
