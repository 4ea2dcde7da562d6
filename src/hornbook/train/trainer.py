"""One optimizer step over a batch that may be larger than the machine: micro-batches, processes, loss scaling."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from hornbook.errors import UserError
from hornbook.model.transformer import Phi
from hornbook.recipe import PackedSet
from hornbook.step_config import TrainStep
from hornbook.tokens.mix import Mixture
from hornbook.train.loss import ChunkGradient, chunk_gradient, head_loss
from hornbook.train.optim import LossScale, gradient_norm, scale_gradient, set_learning_rate
from hornbook.train.parallel import World, last_piece_only

Sequences = npt.NDArray[np.int64]


class NextTokenLoss(nn.Module):
    """The loss of sequences as one module, so that it can be laid over processes whole."""

    def __init__(self, phi: Phi, precision: torch.dtype, separator: int | None) -> None:
        super().__init__()
        self.phi, self.precision, self.separator = phi, precision, separator
        self.chunk: ChunkGradient = chunk_gradient  # may be compiled

    def forward(self, sequences: Tensor, scale: float) -> Tensor:
        """`scale` times the mean cross-entropy of next-token prediction: sequences (B, T + 1) to a scalar."""
        features = self.phi.features(sequences[:, :-1], self.precision, self.separator)
        return head_loss(features.flatten(0, 1), self.phi.lm_head, sequences[:, 1:].flatten(), scale, self.chunk)


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a step."""

    loss: float  # mean of the batch's tokens before it, in nats
    gradient_norm: float  # before clipping
    scale: LossScale  # of the next step
    skipped: bool  # a float16 gradient overflowed: nothing was changed


@dataclass(frozen=True, slots=True)
class Trainer:
    """A model in training on one process of a world."""

    config: TrainStep
    phi: Phi
    loss: NextTokenLoss
    module: nn.Module  # `loss`, laid over the processes
    optimizer: torch.optim.Optimizer
    mixture: Mixture
    world: World
    device: torch.device
    micro_batch: int

    def step(self, step: int, rate: float, scale: LossScale) -> Done:
        """Step `step`, counted from 0, at a learning rate.

        Raises UserError where the loss or the gradient is not finite, before the optimizer sees it.
        """
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._gradient(step, scale.value)
        parameters = list(self.phi.parameters())
        norm = gradient_norm(parameters)
        finite = math.isfinite(loss) and math.isfinite(norm)
        after = scale.after(finite) if self.loss.precision == torch.float16 else scale
        if not finite and (after == scale or after.value < 1.0):
            raise UserError(
                f"step {step}: the loss is {loss}, its gradient's norm {norm / scale.value}; lower `learning_rate` or "
                f"lengthen `warmup_steps` of the model `{self.config.train.label}`"
            )
        if finite:
            norm = scale_gradient(parameters, norm, scale.value, self.config.train.clip)
            set_learning_rate(self.optimizer, rate)
            self.optimizer.step()
        return Done(loss, norm, after, not finite)

    def _gradient(self, step: int, scale: float) -> float:
        """Leave the gradient of `scale` times the mean loss of a step's batch in the parameters; gives the loss."""
        size = self.mixture.batch_sequences
        own = self.world.share(size)
        sequences = self._to_device(self.mixture.batch(step, own.start, own.stop))
        total = torch.zeros((), device=self.device)
        pieces = list(self._pieces(sequences, size))
        for number, (piece, first, share) in enumerate(pieces):
            # Dropout is the only randomness of a step. Seeded by the place of the micro-batch, it needs no generator's
            # state to go on, and is the same on more processes where these cut the batch at the same places.
            torch.manual_seed(((self.config.seed * 1_000_003 + step) * 65_536 + own.start + first) % 2**63)
            with last_piece_only(self.module, number == len(pieces) - 1):
                # Averaged over processes, where the sum is wanted: hence their number
                loss = self.module(piece, scale * share * self.world.size)
                loss.backward()
            total += loss.detach()
        return float(self.world.sum(total / (scale * self.world.size)))

    def held_out(self) -> dict[PackedSet, float]:
        """The mean loss of each set's held-out sequences."""
        self.phi.eval()
        losses: dict[PackedSet, float] = {}
        with torch.no_grad():
            for name in self.mixture.sets:
                every = self.mixture.held_out_sequences(name)
                own = self.world.share(len(every))
                total = torch.zeros((), device=self.device)
                for piece, _, share in self._pieces(self._to_device(every[own.start : own.stop]), len(every)):
                    total += self.module(piece, share)
                losses[name] = float(self.world.sum(total))
        if isinstance(self.module, FSDPModule):
            self.module.reshard()  # which the backward pass does otherwise: the optimizer knows the shards alone
        self.phi.train()
        return losses

    def _pieces(self, sequences: Tensor, size: int) -> Iterator[tuple[Tensor, int, float]]:
        """The micro-batches of this process: their sequences, the place of the first, their share of `size`.

        All processes make as many, since they meet in each of them. One with nothing left does a sequence for nothing.
        """
        count = math.ceil(math.ceil(size / self.world.size) / self.micro_batch)
        for number in range(count):
            first, last = number * len(sequences) // count, (number + 1) * len(sequences) // count
            if first < last:
                yield sequences[first:last], first, (last - first) / size
            else:
                length = self.config.sequence_length + 1
                yield torch.zeros(1, length, dtype=torch.int64, device=self.device), first, 0.0

    def _to_device(self, sequences: Sequences) -> Tensor:
        tensor = torch.from_numpy(sequences)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def fits(self) -> bool:
        """Whether a micro-batch, forward and backward on top of a whole gradient, fits the memory of the device."""
        sequences = torch.zeros(
            self.micro_batch, self.config.sequence_length + 1, dtype=torch.int64, device=self.device
        )
        fits = 1
        try:
            for _ in range(2):
                with last_piece_only(self.module, False) if self.world.size > 1 else nullcontext():
                    self.module(sequences, 0.0).backward()
        except torch.cuda.OutOfMemoryError:
            fits = 0
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return self.world.minimum(fits, self.device) == 1
