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
    all were given. `batch(step)` depends on nothing else, so training goes on after any step. The last `held_out`
    sequences of each set are never given in a batch.
    """

    def __init__(
        self,
        sets: Mapping[PackedSet, Packed],
        shares: Mapping[PackedSet, float],
        batch_sequences: int,
        seed: int,
        held_out: int = 0,
    ) -> None:
        lengths = {packed.sequence_length for packed in sets.values()}
        if len(lengths) != 1:
            raise UserError(
                f"mixture: its sets are packed to different sequence lengths ({sorted(lengths)}); pack them alike"
            )
        for name, packed in sets.items():
            if packed.sequences <= held_out:
                beside = f" beside the {held_out} held out" if held_out else ""
                raise UserError(
                    f"mixture: the set `{name}` holds {len(packed.tokens)} tokens, less than one sequence of "
                    f"{packed.sequence_length}{beside}; give it more text or weight 0"
                )
        self.sets, self.batch_sequences, self.held_out, self.seed = dict(sets), batch_sequences, held_out, seed
        self.sizes = {name: packed.sequences - held_out for name, packed in sets.items()}
        (self.sequence_length,) = lengths
        total = sum(shares[name] for name in sets)
        self.shares = {name: shares[name] / total for name in sets}
        self._orders: dict[PackedSet, tuple[int, npt.NDArray[np.int64]]] = {}  # the epoch last asked for, by set

    def batch(self, step: int, first: int = 0, last: int | None = None) -> npt.NDArray[np.int64]:
        """The sequences of a step, each with the token after it: (batch_sequences, sequence_length + 1).

        `first` and `last` choose some of them, and only these are read.
        """
        before, after = self._drawn(step), self._drawn(step + 1)
        draws = [(name, draw) for name in self.sets for draw in range(before[name], after[name])]
        return np.stack([self._draw(name, draw) for name, draw in draws[first:last]])

    def held_out_sequences(self, name: PackedSet) -> npt.NDArray[np.int64]:
        """The sequences of a set that no batch holds, each with the token after it: (held_out, sequence_length + 1)."""
        size = self.sizes[name]
        return np.stack([self._sequence(name, place) for place in range(size, size + self.held_out)])

    def epochs(self, steps: int) -> dict[PackedSet, float]:
        """How often each set has been seen after so many steps."""
        return {name: drawn / self.sizes[name] for name, drawn in self._drawn(steps).items()}

    def _drawn(self, steps: int) -> dict[PackedSet, int]:
        """Sequences drawn from each set after so many steps: Sainte-Laguë's apportionment, which only grows."""
        seats = steps * self.batch_sequences
        drawn = {name: max(0, int(seats * share) - len(self.shares)) for name, share in self.shares.items()}
        for _ in range(seats - sum(drawn.values())):
            next_name = min(drawn, key=lambda name: (drawn[name] + 0.5) / self.shares[name])
            drawn[next_name] += 1
        return drawn

    def _draw(self, name: PackedSet, draw: int) -> npt.NDArray[np.int64]:
        size = self.sizes[name]
        epoch, place = divmod(draw, size)
        if self._orders.get(name, (-1,))[0] != epoch:
            self._orders[name] = epoch, self._permutation(name, epoch, size)
        return self._sequence(name, int(self._orders[name][1][place]))

    def _sequence(self, name: PackedSet, number: int) -> npt.NDArray[np.int64]:
        packed = self.sets[name]
        first = number * packed.sequence_length
        return packed.tokens[first : first + packed.sequence_length + 1].astype(np.int64)

    def _permutation(self, name: str, epoch: int, size: int) -> npt.NDArray[np.int64]:
        digest = hashlib.blake2b(f"{self.seed}:{name}:{epoch}".encode(), digest_size=16).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big"))).permutation(size)
