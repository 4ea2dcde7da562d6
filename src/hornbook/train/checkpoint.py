"""A training run on disk: model, optimizer and position as one unit that is either whole or not there.

`checkpoint.json` names the tensor file it belongs to and its SHA-256; replacing it is the moment a checkpoint becomes
the latest. There is no state of a random generator to keep: each step seeds its own from (seed, step).
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from hornbook.errors import UserError

POINTER = "checkpoint.json"
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stands."""

    step: int  # the next one to do
    losses_bytes: int  # of losses.jsonl: what was written by then


def save_checkpoint(directory: Path, model: nn.Module, optimizer: torch.optim.Optimizer, position: Position) -> None:
    """Write the run's state and drop the checkpoint before it. Killed anywhere, one of the two is there, whole."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for moment in MOMENTS:
            tensors[f"{moment}.{name}"] = optimizer.state[parameter][moment]
    path = directory / f"checkpoint-{position.step:08d}.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    _sync(path)
    pointer = {"file": path.name, "sha256": _sha256(path), **asdict(position)}
    writing = directory / f"{POINTER}.writing"
    writing.write_text(json.dumps(pointer) + "\n", encoding="utf-8")
    _sync(writing)
    writing.replace(directory / POINTER)
    _sync(directory)
    for other in directory.glob("checkpoint-*.safetensors"):
        if other != path:
            other.unlink()


def load_checkpoint(directory: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Position | None:
    """Put a run back where its last checkpoint stood; None where there is none.

    Raises UserError where the checkpoint is damaged or of another model.
    """
    pointer_path = directory / POINTER
    if not pointer_path.exists():
        return None
    mend = f"delete {directory} to train from the start"
    try:
        pointer = json.loads(pointer_path.read_text(encoding="utf-8"))
        path, position = directory / pointer["file"], Position(pointer["step"], pointer["losses_bytes"])
        if _sha256(path) != pointer["sha256"]:
            raise UserError(f"{path}: its checksum does not match; {mend}")
        tensors = load_file(path)
        model.load_state_dict({name: tensors.pop(f"model.{name}") for name in model.state_dict()})
        for name, parameter in model.named_parameters():
            moments = {moment: tensors.pop(f"{moment}.{name}").to(parameter.device) for moment in MOMENTS}
            step = torch.tensor(float(position.step), dtype=torch.float32, device=parameter.device)
            optimizer.state[parameter] = {"step": step, **moments}
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{pointer_path}: not a checkpoint of this model ({' '.join(str(error).split())}); {mend}"
        ) from error
    return position


def remove_checkpoint(directory: Path) -> None:
    """Remove what `save_checkpoint` left, pointer first."""
    for pattern in (POINTER, f"{POINTER}.writing", "checkpoint-*.safetensors"):
        for path in directory.glob(pattern):
            path.unlink()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
