"""A training run on disk: model, optimizer and position as one unit that is either whole or not there.

Tensors are written by torch.distributed.checkpoint as safetensors files, each process its part, so that another number
of processes can take them up. `checkpoint.json` names the folder it belongs to and the SHA-256 of each of its files;
replacing it is the moment a checkpoint becomes the latest. The latest one is kept, and the best one's weights where the
recipe selects by held-out loss. There is no state of a random generator to keep: every micro-batch seeds its own.
"""

import errno
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from hornbook.errors import UserError
from hornbook.model.transformer import Phi
from hornbook.train.optim import MOMENTS
from hornbook.train.parallel import World, whole

POINTER = "checkpoint.json"
BEST = "best-{step:08d}.safetensors"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stands."""

    step: int  # the next one to do
    losses_bytes: int  # of losses.jsonl: what was written by then
    loss_scale: float = 1.0
    good_steps: int = 0  # without overflow, since the scale changed
    skipped: int = 0  # steps that overflowed
    micro_batch: int = 0  # found on the machine that wrote the checkpoint; 0: not yet
    recompute: bool = False  # whether it needed activation checkpointing
    best_step: int = 0  # steps done at the best checkpoint; 0: none yet
    best_loss: float = 0.0  # its held-out loss in nats a token


def save_checkpoint(
    directory: Path, phi: Phi, optimizer: torch.optim.Optimizer, position: Position, world: World
) -> None:
    """Write the run's state and drop the checkpoint before it. Killed anywhere, one of the two is there, whole.

    All processes call it; they need to see the same directory.
    """
    folder = directory / f"checkpoint-{position.step:08d}"
    writing = folder.with_name(folder.name + ".writing")
    if world.rank == 0:
        for left in (folder, writing):
            shutil.rmtree(left, ignore_errors=True)
        writing.mkdir()
    world.wait()
    with _quiet(), told_as_os_error():
        writer = HuggingFaceStorageWriter(str(writing), save_distributed=True)
        save(_state(phi, optimizer), storage_writer=writer, no_dist=world.size == 1)
    if world.rank == 0:
        _publish(directory, folder, writing, position)
    world.wait()


def _publish(directory: Path, folder: Path, writing: Path, position: Position) -> None:
    for path in writing.iterdir():
        sync(path)
    sync(writing)
    writing.rename(folder)
    best = [directory / BEST.format(step=position.best_step)] if position.best_step else []
    files = {path.relative_to(directory).as_posix(): sha256(path) for path in [*sorted(folder.iterdir()), *best]}
    pointer = {"folder": folder.name, "files": files, "position": asdict(position)}
    pointing = directory / f"{POINTER}.writing"
    pointing.write_text(json.dumps(pointer, indent=1) + "\n", encoding="utf-8")
    sync(pointing)
    pointing.replace(directory / POINTER)
    sync(directory)
    for other in directory.glob("checkpoint-*"):
        if other != folder:
            shutil.rmtree(other)
    for other in directory.glob(BEST.format(step=0).replace("0" * 8, "*")):
        if other not in best:
            other.unlink()


def load_checkpoint(
    directory: Path, phi: Phi, optimizer: torch.optim.Optimizer, position: Position, world: World
) -> None:
    """Put model and optimizer, whose moments are there, back where the checkpoint of `position` stood.

    Raises UserError where it is of another model.
    """
    pointer = directory / POINTER
    try:
        folder = directory / str(json.loads(pointer.read_text(encoding="utf-8"))["folder"])
        with _quiet():
            reader = HuggingFaceStorageReader(str(folder))
            load(_state(phi, optimizer), storage_reader=reader, no_dist=world.size == 1)
        for parameter in phi.parameters():  # the steps it has seen, those skipped in float16 not counted
            optimizer.state[parameter]["step"].fill_(position.step - position.skipped)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, CheckpointException) as error:
        raise UserError(f"{pointer}: not a checkpoint of this model ({_line(error)}); {_mend(directory)}") from error


def read_position(directory: Path, verify: bool) -> Position | None:
    """Where the checkpoint of a directory stands; None where there is none. `verify` reads all of its files.

    Raises UserError where it is damaged.
    """
    path = directory / POINTER
    if not path.exists():
        return None
    try:
        pointer = json.loads(path.read_text(encoding="utf-8"))
        position = Position(**pointer["position"])
        for name, checksum in pointer["files"].items() if verify else ():
            if sha256(directory / name) != checksum:
                raise UserError(f"{directory / name}: its checksum does not match; {_mend(directory)}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not a whole checkpoint ({_line(error)}); {_mend(directory)}") from error
    return position


def save_best(directory: Path, phi: Phi, step: int, world: World) -> None:
    """Write the weights after `step` steps; the next checkpoint names them as the best and drops those before."""
    weights = {name: whole(tensor) for name, tensor in phi.state_dict().items()}
    if world.rank == 0:
        with told_as_os_error():
            save_file(weights, directory / BEST.format(step=step))
        sync(directory / BEST.format(step=step))


def load_best(directory: Path, step: int) -> dict[str, Tensor]:
    """What `save_best` wrote."""
    return load_file(directory / BEST.format(step=step))


def remove_checkpoint(directory: Path) -> None:
    """Remove what the functions above left, pointer first."""
    for name in (POINTER, f"{POINTER}.writing"):
        (directory / name).unlink(missing_ok=True)
    for path in directory.glob("checkpoint-*"):
        shutil.rmtree(path)
    for path in directory.glob(BEST.format(step=0).replace("0" * 8, "*")):
        path.unlink()


def _state(phi: Phi, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The tensors of a run by name, those of the model and the optimizer themselves and not copies."""
    state: dict[str, Any] = {}
    for name, parameter in phi.named_parameters():
        state[f"model.{name}"] = parameter.detach()
        for moment in MOMENTS:
            state[f"{moment}.{name}"] = optimizer.state[parameter][moment]
    return state


@contextmanager
def told_as_os_error() -> Iterator[None]:
    """The libraries say a full disk in errors of their own, one of which is no Exception; here it is an OSError."""
    try:
        yield
    except (CheckpointException, SafetensorError) as error:
        text = _line(error)
        if "No space left" in text or "os error 28" in text:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise RuntimeError(f"a checkpoint cannot be written: {text}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without PyTorch's remark that one process saves alone: this is asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _mend(directory: Path) -> str:
    return f"delete {directory} to train from the start"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
