"""Exact log-likelihoods of given continuations after given contexts: for multiple choice, perplexity and bits per byte.

What begins alike is read once: the choices of a question share its text, and the questions of an exam its examples. So
a row of a batch holds a tree of tokens, each of which sees its ancestors alone, at the position its depth gives. What
else is in a row or a batch changes a value by rounding only.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hornbook.model.transformer import Phi

BATCH_TOKENS = 4096  # of one forward pass
TREE_TOKENS = 256  # of a row, at least; longer ones may be twice as long as their first sequence (see _grow)
LOGITS = 2**24  # held at once: 64 MiB in float32


@dataclass(frozen=True, slots=True)
class Likelihood:
    """What a model makes of a continuation."""

    log_probability: float  # natural logarithm, summed over its tokens
    tokens: int
    is_greedy: bool  # whether greedy generation would have written it
    cut: int = 0  # tokens of the context's beginning that were left out


@dataclass(frozen=True, slots=True)
class _Window:
    tokens: list[int]
    first: int  # of them, the first to predict
    pair: int  # which continuation it is a part of


@dataclass(slots=True)
class _Tree:
    """Sequences that begin alike, as one row of tokens in which a parent stands before its children."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)  # -1: none
    depths: list[int] = field(default_factory=list)
    ends: list[tuple[_Window, list[int]]] = field(
        default_factory=list
    )  # and the place of each of its tokens but the last

    @property
    def is_chain(self) -> bool:
        """Whether every token sees all before it."""
        return len(self.tokens) == 0 or self.depths[-1] == len(self.tokens) - 1

    def add(self, window: _Window, shared: int) -> None:
        """Take in a sequence whose first `shared` tokens are those of the sequence added last."""
        path = self.ends[-1][1][:shared] if shared else []
        for depth in range(shared, len(window.tokens) - 1):
            self.parents.append(path[-1] if path else -1)
            path.append(len(self.tokens))
            self.tokens.append(window.tokens[depth])
            self.depths.append(depth)
        self.ends.append((window, path))

    def sees(self) -> np.ndarray:
        """Which token sees which: (T, T)."""
        seen = np.eye(len(self.tokens), dtype=bool)
        for place, parent in enumerate(self.parents):
            if parent >= 0:
                seen[place] |= seen[parent]
        return seen


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
    tokens of the pairs were done, however often they were read. Raises ValueError for an empty context.
    """
    windows = [
        _Window(piece, first, pair)
        for pair, (context, target) in enumerate(pairs)
        for piece, first in windows_of(context, target, phi.context)
    ]
    trees = sorted(_grow(windows), key=lambda tree: -len(tree.tokens))  # like sizes together; stable, so deterministic
    sums, greedy = [0.0] * len(pairs), [True] * len(pairs)
    while trees:
        count = max(1, BATCH_TOKENS // len(trees[0].tokens))
        batch, trees = trees[:count], trees[count:]
        ends = [window for tree in batch for window, _ in tree.ends]
        for window, (value, is_greedy) in zip(ends, _score(phi, batch), strict=True):
            sums[window.pair] += value
            greedy[window.pair] &= is_greedy
        advance(sum(len(window.tokens) for window in ends))
    return [Likelihood(sums[pair], len(target), greedy[pair]) for pair, (_, target) in enumerate(pairs)]


def _grow(windows: Sequence[_Window]) -> Iterator[_Tree]:
    """Trees of all windows. In the order of their tokens, neighbours share the most.

    A window joins the tree of the one before it where it shares at least half of itself with that, and the row does not
    become longer than twice its first window: attention in a row costs the square of its length.
    """
    tree, room = _Tree(), 0
    last: list[int] = []
    for window in sorted(windows, key=lambda window: window.tokens):
        shared = _common(last, window.tokens)
        new = len(window.tokens) - 1 - shared
        if not tree.ends or new > shared or len(tree.tokens) + new > room:
            if tree.ends:
                yield tree
            tree, room, shared = _Tree(), max(TREE_TOKENS, 2 * len(window.tokens)), 0
        tree.add(window, shared)
        last = window.tokens[:-1]
    if tree.ends:
        yield tree


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with, of the second at most all but the last."""
    limit = min(len(one), len(other) - 1)
    return next((place for place in range(limit) if one[place] != other[place]), limit)


@torch.inference_mode()
def _score(phi: Phi, batch: Sequence[_Tree]) -> list[tuple[float, bool]]:
    """Of every window of the trees, in order: the log-probability of its target, and whether it is greedy."""
    device, longest = phi.lm_head.weight.device, len(batch[0].tokens)
    tokens = torch.zeros((len(batch), longest), dtype=torch.long)
    for row, tree in enumerate(batch):
        tokens[row, : len(tree.tokens)] = torch.tensor(tree.tokens)
    positions = seen = None  # padding stands at the right, where nothing before it sees it
    if not all(tree.is_chain for tree in batch):
        positions = torch.zeros((len(batch), longest), dtype=torch.long)
        seen = torch.eye(longest, dtype=torch.bool).repeat(len(batch), 1, 1, 1)
        for row, tree in enumerate(batch):
            size = len(tree.tokens)
            positions[row, :size] = torch.tensor(tree.depths)
            seen[row, 0, :size, :size] = torch.from_numpy(tree.sees())
        positions, seen = positions.to(device), seen.to(device)
    features = phi.features(tokens.to(device), phi.lm_head.weight.dtype, seen=seen, positions=positions)
    places, targets, sizes = [], [], []
    for row, tree in enumerate(batch):
        for window, path in tree.ends:
            places += [row * longest + place for place in path[window.first - 1 :]]
            targets += window.tokens[window.first :]
            sizes.append(len(window.tokens) - window.first)
    values, is_best = _of_tokens(phi, features.flatten(0, 1), places, targets)
    parts = zip(torch.split(values, sizes), torch.split(is_best, sizes), strict=True)
    return [(float(value.double().sum()), bool(best.all())) for value, best in parts]


def _of_tokens(phi: Phi, features: Tensor, places: Sequence[int], targets: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Of each target its log-probability after the token at its place, and whether it is the most probable token.

    `features` is (M, H). What stands at a place is computed once, however many targets follow it.
    """
    device, rows = features.device, max(1, LOGITS // len(phi.lm_head.weight))
    unique, inverse = np.unique(np.asarray(places, dtype=np.int64), return_inverse=True)
    wanted, after = torch.from_numpy(unique).to(device), torch.from_numpy(inverse).to(device)
    order = after.argsort(stable=True)
    values = torch.empty(len(targets), device=device)
    is_best = torch.empty(len(targets), dtype=torch.bool, device=device)
    target = torch.tensor(targets, device=device)
    bounds = torch.searchsorted(after[order], torch.arange(0, len(wanted) + rows, rows, device=device)).tolist()
    for number, part in enumerate(torch.split(wanted, rows)):
        mine = order[bounds[number] : bounds[number + 1]]
        logits = phi.lm_head(features[part]).float()
        own = after[mine] - number * rows
        values[mine] = logits[own, target[mine]] - logits.logsumexp(dim=1)[own]
        is_best[mine] = logits[:, : phi.vocab_size].argmax(dim=1)[own] == target[mine]
    return values, is_best
