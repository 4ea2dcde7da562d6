"""What training costs: tokens, epochs, floating-point operations, hours, and the memory of each GPU."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hornbook.model.shape import flops_per_token, parameter_count
from hornbook.plan.gpus import GPU, USED_SHARE, peak_teraflops
from hornbook.plan.sets import SetTokens, Vocabulary
from hornbook.recipe import MachineConfig, PackedSet, Recipe, TrainConfig
from hornbook.step_config import TrainStep
from hornbook.train.memory import Layout, Memory, Precision, largest_micro_batch, peak_memory

FLOPS_BASIS = "6 for each weight of a matrix and causal attention, forward and backward (no recomputation counted)"


@dataclass(frozen=True, slots=True)
class ModelCost:
    """One model of the recipe."""

    name: str
    label: str
    done: bool  # trained already: it costs nothing more
    parameters: int
    steps: int
    tokens: int
    epochs: Mapping[PackedSet, float]
    flops: float


@dataclass(frozen=True, slots=True)
class Hours:
    """What the models that are not trained yet take on one kind of device."""

    device: str
    teraflops: float  # of one device, in use
    utilization: float | None  # of its peak; None where the speed was measured
    basis: str
    hours: Mapping[str, float]  # of device time, by model
    total_hours: float
    processes: int  # devices side by side
    wall_hours: float  # all of it with so many


@dataclass(frozen=True, slots=True)
class Fit:
    """How training lies on one kind of GPU."""

    gpu: str
    parallel: Literal["one process", "ddp", "fsdp"]
    processes: int
    checkpointing: bool
    micro_batch: int  # 0: not even one sequence fits
    parts: Memory  # at that micro-batch, or at one sequence
    total_bytes: int
    usable_bytes: int


def training_step(recipe: Recipe, train: TrainConfig) -> TrainStep:
    """The config of a model's training, as the pipeline gives it to the step."""
    return TrainStep(model=recipe.model, train=train, sequence_length=recipe.pack.sequence_length, seed=recipe.seed)


def model_costs(
    recipe: Recipe, sets: Sequence[SetTokens], words: Vocabulary, trained: frozenset[str]
) -> list[ModelCost]:
    """Every model of the recipe; `trained` are those that are done."""
    length, tokens_of = recipe.pack.sequence_length, {each.name: each.tokens for each in sets}
    costs = []
    for name, train in recipe.models.items():
        tokens = train.steps * train.batch_sequences * length
        weight = sum(train.mixture.values())
        epochs = {
            part: tokens * share / weight / max(tokens_of[part] - train.held_out_sequences * length, length)
            for part, share in train.mixture.items()
            if share > 0
        }
        costs.append(
            ModelCost(
                name=name,
                label=train.label,
                done=name in trained,
                parameters=parameter_count(recipe.model, words.entries),
                steps=train.steps,
                tokens=tokens,
                epochs=epochs,
                flops=tokens * flops_per_token(recipe.model, words.entries, length),
            )
        )
    return costs


def hours_on(
    gpus: Sequence[GPU], models: Sequence[ModelCost], machine: MachineConfig, processes: int, mfu: float | None
) -> list[Hours]:
    """The time on each GPU at its utilization, or at `mfu` of its peak. GPUs of one speed share a line."""
    found: dict[tuple[float, float], Hours] = {}
    for gpu in gpus:
        peak, utilization = peak_teraflops(gpu, machine), gpu.utilization if mfu is None else mfu
        basis = gpu.basis if mfu is None else f"{mfu:.0%} of {peak:g} TFLOP/s, by --mfu"
        key = peak, utilization
        name = f"{found[key].device}, {gpu.name}" if key in found else gpu.name
        found[key] = device_hours(name, peak * utilization, utilization, basis, models, processes)
    return list(found.values())


def device_hours(
    device: str,
    teraflops: float,
    utilization: float | None,
    basis: str,
    models: Sequence[ModelCost],
    processes: int,
) -> Hours:
    """The time of all models that are left to train on a device of this speed."""
    hours = {model.name: model.flops / (teraflops * 1e12) / 3600 for model in models if not model.done}
    total = sum(hours.values())
    return Hours(device, teraflops, utilization, basis, hours, total, processes, total / processes)


def fits(recipe: Recipe, words: Vocabulary, gpus: Sequence[GPU], processes: int) -> list[Fit]:
    """How the most expensive model lies on each GPU: replicated, and sharded where there are several.

    Activation checkpointing as the machine of the recipe has it; `auto`: where no sequence fits without it.
    """
    machine = recipe.machine
    precision: Precision = "bfloat16" if machine.precision == "auto" else machine.precision
    alone = Layout(precision, shards=1, checkpointing=False, accumulates=True)

    def cost(train: TrainConfig) -> tuple[int, int]:
        """Dropout and document masking make a sequence of one model dearer than another's."""
        return peak_memory(training_step(recipe, train), words.entries, alone, 1).total, train.batch_sequences

    train = max(recipe.models.values(), key=cost)
    config = training_step(recipe, train)
    most = -(-train.batch_sequences // processes)
    most = min(most, machine.micro_batch or most)
    found = []
    for gpu in gpus:
        usable = int(gpu.memory_bytes * USED_SHARE)
        for parallel in _layouts(machine, processes):
            choice = machine.activation_checkpointing
            for checkpointing in {"auto": (False, True), "on": (True,), "off": (False,)}[choice]:
                layout = Layout(precision, processes if parallel == "fsdp" else 1, checkpointing, accumulates=True)
                micro_batch = largest_micro_batch(config, words.entries, layout, usable, most)
                if micro_batch:
                    break
            parts = peak_memory(config, words.entries, layout, max(micro_batch, 1))
            found.append(Fit(gpu.name, parallel, processes, checkpointing, micro_batch, parts, parts.total, usable))
    return found


def _layouts(machine: MachineConfig, processes: int) -> tuple[Literal["one process", "ddp", "fsdp"], ...]:
    if processes == 1:
        return ("one process",)
    return ("ddp", "fsdp") if machine.parallel == "auto" else (machine.parallel,)
