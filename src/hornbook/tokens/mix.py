"""A mixture of packed sets: which sequences make up the batch of any step, without reading those before it."""

import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hornbook.errors import UserError
from hornbook.recipe import PackedSet
from hornbook.tokens.pack import Packed


class Mixture:
    """Batches drawn from packed sets by share of tokens.

    A set gives its sequences in the order of a permutation computed from (seed, name, epoch) and starts a new one when
    all were given. `batch(step)` depends on nothing else, so training goes on after any step.
    """

    def __init__(
        self, sets: Mapping[PackedSet, Packed], shares: Mapping[PackedSet, float], batch_sequences: int, seed: int
    ) -> None:
        lengths = {packed.sequence_length for packed in sets.values()}
        if len(lengths) != 1:
            raise UserError(
                f"mixture: its sets are packed to different sequence lengths ({sorted(lengths)}); pack them alike"
            )
        for name, packed in sets.items():
            if not packed.sequences:
                raise UserError(
                    f"mixture: the set `{name}` holds {len(packed.tokens)} tokens, less than one sequence of "
                    f"{packed.sequence_length}; give it more text or weight 0"
                )
        self.sets, self.batch_sequences, self.seed = dict(sets), batch_sequences, seed
        (self.sequence_length,) = lengths
        total = sum(shares[name] for name in sets)
        self.shares = {name: shares[name] / total for name in sets}
        self._orders: dict[PackedSet, tuple[int, npt.NDArray[np.int64]]] = {}  # the epoch last asked for, by set

    def batch(self, step: int) -> npt.NDArray[np.int64]:
        """The sequences of a step, each with the token after it: (batch_sequences, sequence_length + 1)."""
        before, after = self._drawn(step), self._drawn(step + 1)
        rows = [self._sequence(name, draw) for name in self.sets for draw in range(before[name], after[name])]
        return np.stack(rows)

    def epochs(self, steps: int) -> dict[PackedSet, float]:
        """How often each set has been seen after so many steps."""
        return {name: drawn / self.sets[name].sequences for name, drawn in self._drawn(steps).items()}

    def _drawn(self, steps: int) -> dict[PackedSet, int]:
        """Sequences drawn from each set after so many steps: Sainte-Laguë's apportionment, which only grows."""
        seats = steps * self.batch_sequences
        drawn = {name: max(0, int(seats * share) - len(self.shares)) for name, share in self.shares.items()}
        for _ in range(seats - sum(drawn.values())):
            next_name = min(drawn, key=lambda name: (drawn[name] + 0.5) / self.shares[name])
            drawn[next_name] += 1
        return drawn

    def _sequence(self, name: PackedSet, draw: int) -> npt.NDArray[np.int64]:
        packed = self.sets[name]
        epoch, place = divmod(draw, packed.sequences)
        if self._orders.get(name, (-1,))[0] != epoch:
            self._orders[name] = epoch, self._permutation(name, epoch, packed.sequences)
        first = int(self._orders[name][1][place]) * packed.sequence_length
        return packed.tokens[first : first + packed.sequence_length + 1].astype(np.int64)

    def _permutation(self, name: str, epoch: int, size: int) -> npt.NDArray[np.int64]:
        digest = hashlib.blake2b(f"{self.seed}:{name}:{epoch}".encode(), digest_size=16).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big"))).permutation(size)
