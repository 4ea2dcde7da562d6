"""The training loop: packed sets to a model, resumable after any step, the same bytes however often it was killed."""

import json
import math
import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from hornbook.errors import UserError
from hornbook.model.transformer import Phi, load_model, parameter_count
from hornbook.model.vocabulary import TOKENIZER
from hornbook.recipe import PackedSet
from hornbook.run.step import Inputs, Result, Workspace
from hornbook.step_config import TrainStep
from hornbook.tokens.mix import Mixture
from hornbook.tokens.pack import Packed, open_packed
from hornbook.tokens.tokenizer import file_sha256
from hornbook.train.checkpoint import Position, load_checkpoint, remove_checkpoint, save_checkpoint
from hornbook.train.device import compile_blocks, kept_memory, pick_device, pick_precision, threads
from hornbook.train.loss import head_loss
from hornbook.train.optim import learning_rate, make_optimizer, set_learning_rate

LOSSES = "losses.jsonl"


def train_model(config: TrainStep, inputs: Inputs, work: Workspace) -> Result:
    """Train on the packed sets of the mixture, from scratch or onward from the model of `start`.

    Writes `model.safetensors`, `config.json`, `tokenizer.json` and `losses.jsonl` (one line a step: step, tokens, loss,
    learning_rate). A checkpoint in the working directory is taken up, and ends in the same bytes as a run that was not
    stopped, on one machine with the same threads, precision and compilation. Raises UserError where the inputs do not
    fit each other, or a loss or gradient is not finite.
    """
    train = config.train
    sets = _open_sets(config, inputs)
    vocab_size = next(iter(sets.values())).vocab_size
    mixture = Mixture(sets, train.mixture, train.batch_sequences, config.seed)
    device = pick_device(work.machine)
    precision = pick_precision(work.machine, device)
    pieces = math.ceil(train.batch_sequences / (work.machine.micro_batch or train.batch_sequences))
    step_tokens = train.batch_sequences * config.sequence_length
    started = time.monotonic()
    with ExitStack() as settings:
        thread_count = settings.enter_context(threads(work.machine))
        settings.enter_context(kept_memory())
        model = _starting_model(config, inputs, vocab_size).to(device).train()
        shape = (math.ceil(train.batch_sequences / pieces), config.sequence_length)
        compilation = compile_blocks(model, work.machine.compile, precision, shape)
        trainer = _Trainer(config, model, mixture, precision, pieces)
        prepared = time.monotonic()
        with work.progress.bar(f"train {train.label}", train.steps * step_tokens, "tokens") as bar:
            steps = trainer.run(work.directory, lambda loss: bar.advance(step_tokens, f"loss {loss:.3f}"))
        seconds = time.monotonic() - prepared
    model.cpu().save(work.directory)
    shutil.copyfile(inputs["tokenizer"] / TOKENIZER, work.directory / TOKENIZER)
    remove_checkpoint(work.directory)
    facts = {
        "parameters": parameter_count(config.model, vocab_size),
        "tokens": train.steps * step_tokens,
        "epochs": {name: round(epochs, 4) for name, epochs in mixture.epochs(train.steps).items()},
        "final_loss": _last_loss(work.directory / LOSSES),
    }
    rate = steps * step_tokens / seconds
    timing = {
        "tokens_per_second": round(rate),
        "teraflops": round(rate * flops_per_token(config, vocab_size) / 1e12, 3),
        "prepare_seconds": round(prepared - started, 2),
        "steps_here": steps,  # fewer than all where the run was taken up from a checkpoint
        "device": device.type,
        "precision": str(precision).removeprefix("torch."),
        "compile": compilation,
        "threads": thread_count,
        "micro_batch": shape[0],
    }
    return Result(facts=facts, timing=timing)


def flops_per_token(config: TrainStep, vocab_size: int) -> float:
    """Floating-point operations of one trained token: 6 for each weight of a matrix, and causal attention."""
    hidden, layers = config.model.hidden, config.model.layers
    weights = layers * 12 * hidden * hidden + vocab_size * hidden
    return 6.0 * weights + 6.0 * layers * hidden * config.sequence_length


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
        model = Phi(config.model, vocab_size, config.sequence_length, config.train.dropout)
        model.initialize(config.seed)
        return model
    model = load_model(inputs["start"], config.train.dropout)
    if (model.config, model.vocab_size, model.context) != (config.model, vocab_size, config.sequence_length):
        raise UserError(
            f"{inputs['start']}: a model of another shape, vocabulary or context than this recipe's; "
            f"start from one that was trained with the same `model`, `tokenizer` and `pack`"
        )
    return model


@dataclass(frozen=True, slots=True)
class _Trainer:
    """One run over a model."""

    config: TrainStep
    model: Phi
    mixture: Mixture
    precision: torch.dtype
    pieces: int  # micro-batches of a step

    def run(self, directory: Path, done: Callable[[float], None]) -> int:
        """Train from the checkpoint in `directory`, or the start, to the last step. Gives the steps done here.

        `done` is told the loss of each step, also of those done before.
        """
        train = self.config.train
        optimizer = make_optimizer(self.model, train)
        position = load_checkpoint(directory, self.model, optimizer) or Position(0, 0)
        with open(directory / LOSSES, "a+b") as losses:
            losses.truncate(position.losses_bytes)  # lines after the checkpoint are written again, the same
            losses.seek(0)
            for line in losses:
                done(json.loads(line)["loss"])
            for step in range(position.step, train.steps):
                rate = learning_rate(train, step)
                set_learning_rate(optimizer, rate)
                loss = self._step(step, optimizer)
                self._log(losses, step, loss, rate)
                done(loss)
                if (step + 1) % train.checkpoint_every == 0 and step + 1 < train.steps:
                    losses.flush()
                    os.fsync(losses.fileno())
                    save_checkpoint(directory, self.model, optimizer, Position(step + 1, losses.tell()))
        return train.steps - position.step

    def _step(self, step: int, optimizer: torch.optim.Optimizer) -> float:
        """One optimizer step; gives the mean loss of its tokens before it."""
        device = self.model.lm_head.weight.device
        # Dropout is the only randomness of a step, so a run needs no state of a generator to go on.
        torch.manual_seed(self.config.seed * 1_000_003 + step)
        batch = torch.from_numpy(self.mixture.batch(step)).to(device)
        optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=device)
        for sequences in batch.chunk(self.pieces):
            share = len(sequences) / len(batch)
            piece_loss = self._loss(sequences) * share
            piece_loss.backward()  # type: ignore[no-untyped-call]
            loss += piece_loss.detach()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.train.clip)
        value, size = float(loss), float(norm)
        if not (math.isfinite(value) and math.isfinite(size)):
            raise UserError(
                f"step {step}: the loss is {value}, its gradient's norm {size}; lower `learning_rate` or lengthen "
                f"`warmup_steps` of the model `{self.config.train.label}`"
            )
        optimizer.step()
        return value

    def _loss(self, sequences: Tensor) -> Tensor:
        """Mean cross-entropy of next-token prediction: sequences (B, T + 1) to a scalar."""
        features = self.model.features(sequences[:, :-1], self.precision)
        return head_loss(features.flatten(0, 1), self.model.lm_head, sequences[:, 1:].flatten())

    def _log(self, losses: IO[bytes], step: int, loss: float, rate: float) -> None:
        tokens = (step + 1) * self.config.train.batch_sequences * self.config.sequence_length
        line = {"step": step, "tokens": tokens, "loss": loss, "learning_rate": rate}
        losses.write(json.dumps(line).encode() + b"\n")
        losses.flush()


def _last_loss(path: Path) -> float:
    with open(path, "rb") as losses:
        *_, last = losses
    return float(json.loads(last)["loss"])
