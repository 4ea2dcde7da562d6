"""How fast a model of some shape trains on this machine, measured on random tokens by the trainer itself."""

import time
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch

from hornbook.model.shape import flops_per_token
from hornbook.model.transformer import Phi
from hornbook.recipe import MachineConfig
from hornbook.step_config import TrainStep
from hornbook.tokens.mix import Mixture
from hornbook.tokens.pack import Packed
from hornbook.train.device import kept_memory, pick_device, pick_precision, threads
from hornbook.train.optim import FIRST_SCALE, LossScale
from hornbook.train.parallel import World
from hornbook.train.setup import ready

SEQUENCES = 256  # of random tokens


@dataclass(frozen=True, slots=True)
class Speed:
    """What training was seen to do on one device."""

    tokens_per_second: float  # the median of its steps
    best_tokens_per_second: float
    teraflops: float  # by `flops_per_token`, at the median
    peak_device_bytes: int  # of a GPU: what PyTorch had in tensors; 0 on a CPU
    micro_batch: int
    activation_checkpointing: bool
    device: str
    precision: str
    compile: str
    skipped: int  # steps whose float16 gradient overflowed
    losses: tuple[float, ...]


def measure(config: TrainStep, vocab_size: int, machine: MachineConfig, steps: int = 10) -> Speed:
    """Train a fresh model for `steps` optimizer steps after two to warm up, in this process, on its device.

    The first one compiles. Raises UserError as training does.
    """
    rng = np.random.default_rng(0)
    high = min(vocab_size, 2**16)
    tokens = rng.integers(0, high, SEQUENCES * config.sequence_length + 1).astype(np.uint16)
    packed = Packed(tokens, config.sequence_length, vocab_size, "", 0)
    mixture = Mixture({"raw": packed}, {"raw": 1.0}, config.train.batch_sequences, config.seed)
    device = pick_device(machine)
    precision = pick_precision(machine, device)
    with ExitStack() as settings:
        settings.enter_context(threads(machine))
        settings.enter_context(kept_memory())
        phi = Phi(config.model, vocab_size, config.sequence_length, config.train.dropout)
        phi.initialize(config.seed)
        separator = 0 if config.train.document_mask else None
        readied = ready(config, phi, mixture, separator, machine, World(), device, precision, None)
        scale = LossScale(FIRST_SCALE if precision == torch.float16 else 1.0)
        seconds, losses, skipped = [], [], 0
        for step in range(-2, steps):
            if step == 0 and device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            begin = time.perf_counter()
            came = readied.trainer.step(step + 2, config.train.learning_rate, scale)
            if device.type == "cuda":
                torch.cuda.synchronize()
            scale, skipped = came.scale, skipped + came.skipped
            losses.append(came.loss)
            if step >= 0:
                seconds.append(time.perf_counter() - begin)
        peak = int(torch.cuda.max_memory_allocated()) if device.type == "cuda" else 0
    step_tokens = config.train.batch_sequences * config.sequence_length
    median = step_tokens / float(np.median(seconds))
    return Speed(
        tokens_per_second=median,
        best_tokens_per_second=step_tokens / min(seconds),
        teraflops=median * flops_per_token(config.model, vocab_size, config.sequence_length) / 1e12,
        peak_device_bytes=peak,
        micro_batch=readied.trainer.micro_batch,
        activation_checkpointing=readied.recompute,
        device=torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        precision=str(precision).removeprefix("torch."),
        compile=readied.compilation,
        skipped=skipped,
        losses=tuple(losses),
    )
