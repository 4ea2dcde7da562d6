"""A model made ready to train on this machine: laid over processes and devices, compiled, its micro-batch found."""

import math
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch

from hornbook.errors import UserError
from hornbook.model.shape import flops_per_token
from hornbook.model.transformer import Block, Phi
from hornbook.recipe import MachineConfig
from hornbook.step_config import TrainStep
from hornbook.tokens.mix import Mixture
from hornbook.train.checkpoint import Position
from hornbook.train.device import compile_loss, memory_bytes
from hornbook.train.memory import MOMENTS, WIDE, Layout, Precision, largest_micro_batch, peak_memory
from hornbook.train.optim import make_optimizer, start_moments
from hornbook.train.parallel import World, spread
from hornbook.train.trainer import NextTokenLoss, Trainer

# Tokens of a micro-batch beyond which a device computes no faster
CPU_TOKENS, DEVICE_TOKENS = 2**14, 2**16
REPLICATED_SHARE = 0.6  # of a device's memory, up to which `parallel: auto` keeps the whole state on every device
COMPILE_FLOPS = (
    5e12  # of a run on a CPU below which `compile: auto` saves less time than compiling takes, half a minute
)
USED_SHARE = {"cuda": 0.9, "cpu": 0.5}  # of a device's memory, that a micro-batch is chosen for


@dataclass(frozen=True, slots=True)
class Readied:
    """A trainer, and how it was set up."""

    trainer: Trainer
    parallel: Literal["one process", "ddp", "fsdp"]
    compilation: str
    recompute: bool  # activation checkpointing


def ready(
    config: TrainStep,
    phi: Phi,
    mixture: Mixture,
    separator: int | None,
    machine: MachineConfig,
    world: World,
    device: torch.device,
    precision: torch.dtype,
    found: Position | None,
) -> Readied:
    """Set up training on this process's device.

    A micro-batch and activation checkpointing that were found before an interruption are kept, so that a run goes on
    with the same rounding. Raises UserError where the batch is smaller than the number of processes, or not even one
    sequence fits the device.
    """
    largest = math.ceil(config.train.batch_sequences / world.size)
    if config.train.batch_sequences < world.size:
        raise UserError(
            f"{world.size} processes, but batch_sequences is {config.train.batch_sequences}: "
            f"use at most as many processes as sequences"
        )
    if device.type == "cpu":
        _check_memory(config, phi, machine, precision)
    how = _parallel(phi, machine, world, device)
    loss = NextTokenLoss(phi, precision, separator)
    module = spread(loss, phi, world, device, how)
    phi.train()
    optimizer = make_optimizer(phi, config.train)
    start_moments(optimizer)
    micro_batch, recompute = _guess(config, phi, machine, world, device, precision, how, largest)
    if found is not None and found.micro_batch:
        micro_batch = machine.micro_batch or min(found.micro_batch, largest)
        recompute = found.recompute if machine.activation_checkpointing == "auto" else recompute
    compilation, choice = "", machine.compile
    if choice == "auto" and device.type == "cpu" and _flops(config, phi) < COMPILE_FLOPS:
        choice = "off"
    while True:
        pieces = math.ceil(largest / micro_batch)
        micro_batch = math.ceil(largest / pieces)  # as even as can be
        _set_recompute(phi, recompute)
        shape = (micro_batch, config.sequence_length)
        compilation = compile_loss(loss, module, choice, shape)
        trainer = Trainer(config, phi, loss, module, optimizer, mixture, world, device, micro_batch)
        if device.type != "cuda" or trainer.fits():
            return Readied(trainer, "one process" if world.size == 1 else how, compilation, recompute)
        if machine.micro_batch is None and micro_batch > 1:
            micro_batch = micro_batch // 2
        elif machine.activation_checkpointing == "auto" and not recompute:
            recompute, micro_batch = True, machine.micro_batch or largest
        else:
            raise UserError(
                f"machine.micro_batch: {micro_batch} sequences of {config.sequence_length} tokens do not fit the "
                f"device's memory; use a smaller one, activation_checkpointing: on, or more processes"
            )


def _check_memory(config: TrainStep, phi: Phi, machine: MachineConfig, precision: torch.dtype) -> None:
    """A CPU says nothing of too large a model: the system ends the process. So it is said beforehand."""
    name = cast(Precision, str(precision).removeprefix("torch."))
    layout = Layout(name, 1, machine.activation_checkpointing != "off", config.train.batch_sequences > 1)
    needed = peak_memory(config, phi.vocab_size, layout, 1).total
    there = memory_bytes(torch.device("cpu"))
    if needed * machine.processes > there:
        raise UserError(
            f"training this model takes {needed * machine.processes / 1e9:.1f} GB on this machine's CPU, which has "
            f"{there / 1e9:.1f} GB; choose a smaller `model`, or a machine with a GPU"
        )


def _parallel(phi: Phi, machine: MachineConfig, world: World, device: torch.device) -> Literal["ddp", "fsdp"]:
    if machine.parallel != "auto":
        return machine.parallel
    state = sum(parameter.numel() for parameter in phi.parameters()) * (2 * WIDE + MOMENTS)
    room = memory_bytes(device) // (machine.processes if device.type == "cpu" else 1)
    return "ddp" if world.size == 1 or state < REPLICATED_SHARE * room else "fsdp"


def _guess(
    config: TrainStep,
    phi: Phi,
    machine: MachineConfig,
    world: World,
    device: torch.device,
    precision: torch.dtype,
    how: Literal["ddp", "fsdp"],
    largest: int,
) -> tuple[int, bool]:
    """A micro-batch that should fit, and whether it needs activation checkpointing."""
    tokens = CPU_TOKENS if device.type == "cpu" else DEVICE_TOKENS
    most = min(largest, max(1, tokens // config.sequence_length))
    if machine.micro_batch is not None:
        return min(machine.micro_batch, largest), machine.activation_checkpointing == "on"
    room = int(memory_bytes(device) * USED_SHARE.get(device.type, 0.5))
    room //= machine.processes if device.type == "cpu" else 1
    name = cast(Precision, str(precision).removeprefix("torch."))
    layout = Layout(name, world.size if how == "fsdp" else 1, machine.activation_checkpointing == "on", True)
    fitting = largest_micro_batch(config, phi.vocab_size, layout, room, most)
    if not fitting and machine.activation_checkpointing == "auto":
        return max(
            1, largest_micro_batch(config, phi.vocab_size, replace(layout, checkpointing=True), room, most)
        ), True
    return max(1, fitting), layout.checkpointing


def _flops(config: TrainStep, phi: Phi) -> float:
    tokens = config.train.steps * config.train.batch_sequences * config.sequence_length
    return tokens * flops_per_token(config.model, phi.vocab_size, config.sequence_length)


def _set_recompute(phi: Phi, recompute: bool) -> None:
    for block in phi.model.layers:
        assert isinstance(block, Block)
        block.recompute = recompute
