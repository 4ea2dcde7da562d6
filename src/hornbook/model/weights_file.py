"""Tensors in safetensors files, read and written one at a time: a model larger than half the memory goes through.

The format: 8 bytes, the length of a JSON header; the header; the tensors' bytes, one after the other.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hornbook.errors import UserError
from hornbook.model.source import INDEX

WEIGHTS = "model.safetensors"
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """The tensors of a directory: `model.safetensors`, or shards with an index."""

    directory: Path
    files: Mapping[str, str]  # of each tensor, the file that holds it

    def shape(self, name: str) -> Shape:
        """Raises UserError for a precision that is not float32, float16 or bfloat16."""
        with safe_open(self.directory / self.files[name], framework="pt") as file:
            found = file.get_slice(name)
            if found.get_dtype() not in DTYPES:
                raise UserError(
                    f"{self.directory / self.files[name]}: {name} is stored as {found.get_dtype()}; store it as "
                    f"float32, float16 or bfloat16"
                )
            return tuple(found.get_shape())

    def tensor(self, name: str) -> Tensor:
        """The tensor in its own precision. Raises UserError where it is damaged or not finite."""
        path = self.directory / self.files[name]
        try:
            with safe_open(path, framework="pt") as file:
                tensor: Tensor = file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path}: damaged ({_line(error)})") from error
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{path}: {name} holds values that are not finite; the file is of no use")
        return tensor


def open_weights(directory: Path) -> Stored:
    """The tensors of a model's directory.

    Raises UserError where they are missing, pickled, or not what the index says.
    """
    if (directory / INDEX).is_file():
        return Stored(directory, _indexed(directory))
    if not (directory / WEIGHTS).is_file():
        if any(directory.glob("*.bin")) or any(directory.glob("*.pt*")):
            raise UserError(
                f"{directory}: its weights are pickled, and reading them would run code; save them as safetensors "
                f"(save_pretrained of transformers does)"
            )
        raise UserError(f"{directory}: holds neither {WEIGHTS} nor {INDEX}")
    return Stored(directory, dict.fromkeys(_names(directory / WEIGHTS), WEIGHTS))


def _indexed(directory: Path) -> dict[str, str]:
    path = directory / INDEX
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        for name, file in files.items():
            if Path(file).name != file or not file.endswith(".safetensors"):
                raise ValueError(f"{name} is said to lie in {file!r}, no .safetensors file beside it")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not an index of weights ({_line(error)})") from error
    held = {file: set(_names(directory / file)) for file in set(files.values())}
    for name, file in files.items():
        if name not in held[file]:
            raise UserError(f"{directory / file}: does not hold {name}, which {INDEX} says it does")
    return dict(files)


def _names(path: Path) -> list[str]:
    try:
        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a safetensors file ({_line(error)})") from error


def write_weights(path: Path, shapes: Mapping[str, Shape], dtype: torch.dtype, read: Callable[[str], Tensor]) -> None:
    """Write tensors of one precision, each read when its turn comes; the same bytes as `safetensors.torch.save_file`.

    Raises UserError where a value that was finite is not in that precision.
    """
    size = torch.empty((), dtype=dtype).element_size()
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in sorted(shapes):
        start, end = end, end + size * torch.Size(shapes[name]).numel()
        header[name] = {"dtype": NAMES[dtype], "shape": list(shapes[name]), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(shapes):
            tensor = read(name).to(dtype).contiguous()
            if not bool(torch.isfinite(tensor).all()):
                precision = str(dtype).removeprefix("torch.")
                raise UserError(f"{name}: holds values too large for {precision}; say bfloat16 or float32")
            file.write(tensor.view(torch.uint8).numpy().data)
        file.flush()
        os.fsync(file.fileno())


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
