"""The training loop: packed sets to a model, resumable after any step, the same bytes however often it was killed."""

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from hornbook.errors import UserError
from hornbook.model.shape import embedding_rows, flops_per_token, parameter_count
from hornbook.model.transformer import Phi, load_model
from hornbook.model.vocabulary import TOKENIZER
from hornbook.model.weights_file import WEIGHTS
from hornbook.recipe import PackedSet
from hornbook.run.step import Inputs, Result, Workspace
from hornbook.step_config import TrainStep
from hornbook.tokens.mix import Mixture
from hornbook.tokens.pack import Packed, open_packed
from hornbook.tokens.tokenizer import file_sha256
from hornbook.train.checkpoint import (
    Position,
    load_best,
    load_checkpoint,
    read_position,
    remove_checkpoint,
    save_best,
    save_checkpoint,
    sync,
    told_as_os_error,
)
from hornbook.train.device import kept_memory, pick_device, pick_precision, threads
from hornbook.train.launch import Job, clear, launch, locked, loss_of
from hornbook.train.optim import FIRST_SCALE, LossScale, learning_rate
from hornbook.train.parallel import World, whole
from hornbook.train.setup import Readied, ready
from hornbook.train.trackers import Log, trackers

LOSSES = "losses.jsonl"


def train_model(config: TrainStep, inputs: Inputs, work: Workspace) -> Result:
    """Train on the packed sets of the mixture, from scratch or onward from the model of `start`.

    Writes `model.safetensors`, `config.json`, `tokenizer.json` and `losses.jsonl` (one line a step: step, tokens, loss,
    learning_rate, gradient_norm; at a checkpoint the losses on held-out sequences). A checkpoint in the working
    directory is taken up, by any number of processes, and ends in the same bytes as a run that was not stopped, on one
    machine with the same processes, threads, precision and compilation. Raises UserError where the inputs do not fit
    each other, or a loss or gradient is not finite.
    """
    train, machine = config.train, work.machine
    job = Job(config, inputs, work.directory, machine, work.shared)
    with locked(work.directory):
        clear(work.directory)
        if (work.directory / WEIGHTS).exists():  # put in place last: all that was left to do is to say so
            remove_checkpoint(work.directory)
            mixture, some = _mixture(job)
            return Result(facts=_facts(job, mixture, some.vocab_size), timing={"steps_here": 0})
        _cut_losses(work.directory)
    step_tokens = train.batch_sequences * config.sequence_length
    with work.progress.bar(f"train {train.label}", train.steps * step_tokens, "tokens") as bar:

        def done(loss: float) -> None:
            bar.advance(step_tokens, f"loss {loss:.3f}")

        if machine.processes * machine.nodes > 1:
            return launch(job, LOSSES, done)
        with locked(work.directory):
            return train_process(job, World(), done)


def _cut_losses(directory: Path) -> None:
    """Drop the lines after the checkpoint: they are written again, the same."""
    position = read_position(directory, verify=False)
    size = 0 if position is None else position.losses_bytes
    with open(directory / LOSSES, "ab") as losses:
        if losses.tell() < size:
            raise UserError(
                f"{directory / LOSSES}: shorter than its checkpoint says; delete {directory} to train from the start"
            )
        losses.truncate(size)


def train_process(job: Job, world: World, done: Callable[[float], None]) -> Result:
    """The part of one process of a world in `train_model`; what it gives is the whole run's."""
    config, train = job.config, job.config.train
    started = time.monotonic()
    mixture, some = _mixture(job)
    device = pick_device(job.machine)
    precision = pick_precision(job.machine, device)
    separator = some.end_of_text if train.document_mask else None
    with ExitStack() as settings:
        thread_count = settings.enter_context(threads(job.machine))
        settings.enter_context(kept_memory())
        phi = _starting_model(config, job.inputs, some.vocab_size)
        position = read_position(job.directory, verify=world.rank == 0)
        readied = ready(config, phi, mixture, separator, job.machine, world, device, precision, position)
        trainer = readied.trainer
        if position is None:
            position = Position(0, 0, FIRST_SCALE if precision == torch.float16 else 1.0)
        else:
            load_checkpoint(job.directory, phi, trainer.optimizer, position, world)
        position = replace(position, micro_batch=trainer.micro_batch, recompute=readied.recompute)
        log = _open_log(job, world, position.step, settings)
        prepared = time.monotonic()
        run = _Run(job, readied, world, log, done)
        end = run.to_the_end(position)
        seconds = time.monotonic() - prepared
    weights = _chosen_weights(train.select, job.directory, phi, end, train.steps, world)
    if world.rank == 0:
        _save(phi, weights, some, job)
    steps = end.step - position.step
    step_tokens = train.batch_sequences * config.sequence_length
    rate = steps * step_tokens / seconds
    timing = {
        "tokens_per_second": round(rate),
        "teraflops": round(rate * flops_per_token(config.model, some.vocab_size, config.sequence_length) / 1e12, 3),
        "prepare_seconds": round(prepared - started, 2),
        "steps_here": steps,  # fewer than all where the run was taken up from a checkpoint
        "device": device.type,
        "precision": str(precision).removeprefix("torch."),
        "compile": readied.compilation,
        "threads": thread_count,
        "processes": world.size,
        "parallel": readied.parallel,
        "micro_batch": trainer.micro_batch,
        "activation_checkpointing": readied.recompute,
    }
    if device.type == "cuda":
        timing["peak_device_bytes"] = torch.cuda.max_memory_allocated()
    facts = _facts(job, mixture, some.vocab_size) if world.rank == 0 else {}
    return Result(facts=facts, timing=timing)


def _mixture(job: Job) -> tuple[Mixture, Packed]:
    """What a run is trained on, and one of its packed sets."""
    config, train = job.config, job.config.train
    sets = _open_sets(config, job.inputs)
    mixture = Mixture(sets, train.mixture, train.batch_sequences, config.seed, train.held_out_sequences)
    return mixture, next(iter(sets.values()))


def _facts(job: Job, mixture: Mixture, vocab_size: int) -> dict[str, Any]:
    """What a finished run reports, from its config and its losses alone."""
    train = job.config.train
    with open(job.directory / LOSSES, "rb") as losses:
        lines = [line for line in map(json.loads, losses) if line["loss"] is not None]
    facts: dict[str, Any] = {
        "parameters": parameter_count(job.config.model, vocab_size),
        "tokens": train.steps * train.batch_sequences * job.config.sequence_length,
        "epochs": {name: round(epochs, 4) for name, epochs in mixture.epochs(train.steps).items()},
        "final_loss": lines[-1]["loss"] if lines else None,
    }
    measured = [line for line in lines if "held_out" in line]
    if measured:
        facts["held_out_loss"] = measured[-1]["held_out"]
    if train.select == "best":
        best = min(measured, key=lambda line: _mean(mixture, line["held_out"]))
        facts["selected_step"] = best["step"] + 1
    return facts


def _mean(mixture: Mixture, held_out: Mapping[PackedSet, float]) -> float:
    """The mean of the sets' losses, weighted as the mixture."""
    return sum(mixture.shares[name] * value for name, value in held_out.items())


def _open_log(job: Job, world: World, first_step: int, settings: ExitStack) -> Log:
    if world.rank:
        return lambda step, values: None
    run = job.directory.name.removesuffix(".partial")
    config = job.config.model_dump(mode="json")
    return settings.enter_context(trackers(job.machine.trackers, run, job.shared / "trackers", config, first_step))


def _open_sets(config: TrainStep, inputs: Inputs) -> dict[PackedSet, Packed]:
    """The packed sets with weight, in the order of the mixture; all encoded by the tokenizer of the step."""
    sha256 = file_sha256(inputs["tokenizer"] / TOKENIZER)
    sets: dict[PackedSet, Packed] = {}
    for name, share in config.train.mixture.items():
        if share <= 0:
            continue
        packed = open_packed(inputs[name])
        if packed.tokenizer_sha256 != sha256:
            raise UserError(f"{inputs[name]}: packed with another tokenizer than {inputs['tokenizer']}; pack it again")
        if packed.sequence_length != config.sequence_length:
            raise UserError(
                f"{inputs[name]}: packed in sequences of {packed.sequence_length} tokens, the recipe trains on "
                f"{config.sequence_length}; pack it again"
            )
        sets[name] = packed
    return sets


def _starting_model(config: TrainStep, inputs: Inputs, vocab_size: int) -> Phi:
    if "start" not in inputs:
        phi = Phi(config.model, vocab_size, config.sequence_length, config.train.dropout)
        phi.initialize(config.seed)
        return phi
    phi = load_model(inputs["start"], config.train.dropout)
    there, rows = phi.config, len(phi.lm_head.weight)
    shape = (there.layers, there.hidden, there.heads, there.rotary_share)
    wanted = (config.model.layers, config.model.hidden, config.model.heads, config.model.rotary_share)
    if (shape, rows) != (wanted, embedding_rows(config.model, vocab_size)) or phi.context < config.sequence_length:
        raise UserError(
            f"{inputs['start']}: a model of another shape, vocabulary or context than this recipe's; "
            f"start from one that was trained with the same `model`, `tokenizer` and `pack`"
        )
    return phi


@dataclass(frozen=True, slots=True)
class _Run:
    """One process's way through the steps."""

    job: Job
    readied: Readied
    world: World
    log: Log
    done: Callable[[float], None]

    def to_the_end(self, position: Position) -> Position:
        """Train from a position to the last step; gives where that leaves the run.

        `done` is told the loss of each step, also of those done before.
        """
        train, directory, trainer = self.job.config.train, self.job.directory, self.readied.trainer
        with open(directory / LOSSES if self.world.rank == 0 else os.devnull, "a+b") as losses:
            losses.seek(0)
            for line in losses:
                self.done(loss_of(line))
            for step in range(position.step, train.steps):
                rate = learning_rate(train, step)
                came = trainer.step(step, rate, LossScale(position.loss_scale, position.good_steps))
                position = replace(
                    position,
                    step=step + 1,
                    loss_scale=came.scale.value,
                    good_steps=came.scale.good_steps,
                    skipped=position.skipped + came.skipped,
                )
                line_of_step = self._line(step, rate, came.loss, came.gradient_norm)
                if trainer.loss.precision == torch.float16:
                    line_of_step |= {"loss_scale": came.scale.value, "skipped": came.skipped}
                ends = step + 1 == train.steps
                checkpoint = (step + 1) % train.checkpoint_every == 0
                if train.held_out_sequences and (checkpoint or ends):
                    line_of_step["held_out"] = trainer.held_out()
                    position = self._best(position, line_of_step["held_out"])
                self._write(losses, step, line_of_step)
                self.done(came.loss)
                if checkpoint and not ends:
                    if self.world.rank == 0:
                        losses.flush()
                        os.fsync(losses.fileno())
                        position = replace(position, losses_bytes=losses.tell())
                    save_checkpoint(directory, trainer.phi, trainer.optimizer, position, self.world)
        return position

    def _best(self, position: Position, held_out: dict[PackedSet, float]) -> Position:
        """Keep the weights where they are the best so far."""
        train, trainer = self.job.config.train, self.readied.trainer
        loss = _mean(trainer.mixture, held_out)
        if train.select == "last" or (position.best_step and not loss < position.best_loss):
            return position
        save_best(self.job.directory, trainer.phi, position.step, self.world)
        return replace(position, best_step=position.step, best_loss=loss)

    def _line(self, step: int, rate: float, loss: float, norm: float) -> dict[str, Any]:
        tokens = (step + 1) * self.job.config.train.batch_sequences * self.job.config.sequence_length
        finite_loss, finite_norm = (value if math.isfinite(value) else None for value in (loss, norm))  # as JSON wants
        line = {"step": step, "tokens": tokens, "loss": finite_loss, "learning_rate": rate}
        return line | {"gradient_norm": finite_norm}

    def _write(self, losses: IO[bytes], step: int, line: dict[str, Any]) -> None:
        if self.world.rank:
            return
        losses.write(json.dumps(line).encode() + b"\n")
        losses.flush()
        values = {name: float(value) for name, value in line.items() if isinstance(value, (int, float))}
        held_out = {f"held_out/{name}": value for name, value in line.get("held_out", {}).items()}
        self.log(step, values | held_out)


def _chosen_weights(
    select: str, directory: Path, phi: Phi, end: Position, steps: int, world: World
) -> dict[str, Tensor]:
    """The weights that become the model, on the CPU; all processes must ask for them, and the first one has them."""
    if select == "best" and end.best_step != steps:
        # The first process alone: it removes the file when it has saved the model.
        return load_best(directory, end.best_step) if world.rank == 0 else {}
    return {name: whole(tensor) for name, tensor in phi.state_dict().items()}


def _save(trained: Phi, weights: dict[str, Tensor], packed: Packed, job: Job) -> None:
    """Write the model, its weights file last: where it is, the run is finished."""
    with torch.device("meta"):  # no memory: the weights are there
        phi = Phi(trained.config, trained.vocab_size, trained.context)
    phi.load_state_dict(weights, assign=True)
    writing = job.directory / "model.writing"
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir()
    with told_as_os_error():
        phi.save(writing, packed.end_of_text)
    shutil.copyfile(job.inputs["tokenizer"] / TOKENIZER, writing / TOKENIZER)
    for path in sorted(writing.iterdir(), key=lambda path: path.name == WEIGHTS):
        sync(path)
        path.replace(job.directory / path.name)
    writing.rmdir()
    sync(job.directory)
    remove_checkpoint(job.directory)
