"""Mixtures of packed sets by share of tokens, in an order computed from seed, epoch and step.

Nothing is shuffled in a buffer and nothing is remembered: batch `step` is a function of its number, so a run resumes
exactly, and on another number of processes, by asking for the next one.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hornbook.tokens.pack import PackedSet


class Mixture:
    """Batches of sequences drawn from several sets; each set is gone through in a new order every epoch."""

    def __init__(
        self, sets: Mapping[str, PackedSet], shares: Mapping[str, float], batch_sequences: int, seed: int
    ) -> None:
        weights = {name: shares[name] for name in sorted(sets) if shares[name] > 0}
        total = sum(weights.values())
        self._shares = {name: weight / total for name, weight in weights.items()}
        self._largest = max(self._shares, key=lambda name: self._shares[name])
        self._sets = sets
        self._batch = batch_sequences
        self._seed = seed
        self._orders: dict[str, tuple[int, npt.NDArray[np.int64]]] = {}

    def drawn(self, step: int) -> dict[str, int]:
        """How many sequences of each set were drawn before `step`: each set's share, rounded.

        The largest set takes what the rounding of the others leaves.
        """
        counts = {
            name: int(share * step * self._batch + 0.5) for name, share in self._shares.items() if name != self._largest
        }
        counts[self._largest] = step * self._batch - sum(counts.values())
        return counts

    def batch(self, step: int) -> npt.NDArray[np.int64]:
        """The sequences of a step: (batch_sequences, sequence_length + 1) token ids."""
        before, after = self.drawn(step), self.drawn(step + 1)
        return np.stack(
            [self._sequence(name, number) for name in self._shares for number in range(before[name], after[name])]
        )

    def epochs(self, steps: int) -> dict[str, float]:
        """How often each set is gone through in `steps` steps."""
        return {name: count / len(self._sets[name]) for name, count in self.drawn(steps).items()}

    def _sequence(self, name: str, number: int) -> npt.NDArray[np.int64]:
        """The `number`-th sequence drawn from a set."""
        epoch, place = divmod(number, len(self._sets[name]))
        if name not in self._orders or self._orders[name][0] != epoch:
            generator = np.random.default_rng([self._seed, epoch, *name.encode()])
            self._orders[name] = (epoch, generator.permutation(len(self._sets[name])))
        return self._sets[name][int(self._orders[name][1][place])]
