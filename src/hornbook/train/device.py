"""What a training run computes on: device, precision, threads, compilation, memory."""

import ctypes
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException
from torch._inductor.exc import InductorError

from hornbook.errors import UserError
from hornbook.model.transformer import Block, BlockFunction, parallel_block
from hornbook.recipe import MachineConfig
from hornbook.run.workers import cpu_quota
from hornbook.train.loss import ChunkGradient, chunk_gradient
from hornbook.train.trainer import NextTokenLoss

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of glibc's malloc.h
M_MMAP_DEFAULT, M_TRIM_DEFAULT = 65536, 128 * 1024


def pick_device(machine: MachineConfig) -> torch.device:
    """The device asked for, or the best there is. Raises UserError for one that is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if machine.device == "auto":
        return torch.device(next(name for name, is_there in there.items() if is_there))
    if not there[machine.device]:
        raise UserError(f"machine.device: PyTorch finds no {machine.device} here; say `auto` or `cpu`")
    return torch.device(machine.device)


def memory_bytes(device: torch.device) -> int:
    """Of a device: all it has, since what is free differs from run to run."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return memory
    return memory if limit == "max" else min(memory, int(limit))


def pick_precision(machine: MachineConfig, device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it in hardware, else float32."""
    if machine.precision != "auto":
        asked: torch.dtype = getattr(torch, machine.precision)
        if asked == torch.float16 and device.type == "cpu":
            raise UserError("machine.precision: float16 trains on a GPU; on a CPU say bfloat16, float32 or auto")
        return asked
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float32
    return torch.bfloat16 if device.type == "cpu" and _cpu_bfloat16() else torch.float32


def _cpu_bfloat16() -> bool:
    """Whether the CPU has AMX or AVX-512 BF16 units; without them bfloat16 is emulated, several times slower."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return "amx_bf16" in flags or "avx512_bf16" in flags


def compile_loss(
    loss: NextTokenLoss, module: nn.Module, choice: Literal["auto", "on", "off"], shape: tuple[int, int]
) -> str:
    """Compile the blocks of a model and the chunks of its loss, and try them on a micro-batch of `shape` (B, T) through
    `module`, the loss as it is laid over processes; gives what came of it.

    One compiled block serves all layers, and all later models of the same shape in this process. Only blocks and chunks
    are compiled: a compiled embedding adds gradients up in no fixed order. Where compilation fails, `auto` goes on
    without.
    """
    if choice == "off":
        return "off"
    _compute_with(loss, torch.compile(parallel_block, dynamic=False), torch.compile(chunk_gradient, dynamic=False))
    sequences = torch.zeros(shape[0], shape[1] + 1, dtype=torch.int64, device=loss.phi.lm_head.weight.device)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler asks tensors for gradients they do not keep
            module(sequences, 0.0).backward()
    except torch.OutOfMemoryError:
        return "on"  # too large a micro-batch is not the compiler's fault
    except (TorchDynamoException, InductorError, RuntimeError) as error:
        if choice == "on":
            raise UserError(f"machine.compile: {one_line(error)}; say `auto` or `off`") from error
        _compute_with(loss, parallel_block, chunk_gradient)
        return f"off: {one_line(error)}"
    finally:
        loss.zero_grad(set_to_none=True)
    return "on"


def _compute_with(loss: NextTokenLoss, block_function: BlockFunction, chunk: ChunkGradient) -> None:
    for block in loss.phi.model.layers:
        assert isinstance(block, Block)
        block.compute = block_function
    loss.chunk = chunk


def one_line(error: BaseException) -> str:
    """The first line of an error, of those that PyTorch writes over pages."""
    return str(error).strip().split("\n")[0][:200] or type(error).__name__


@contextmanager
def threads(machine: MachineConfig) -> Iterator[int]:
    """Let PyTorch use this process's share of the machine's workers inside the block; gives their number."""
    before = torch.get_num_threads()
    count = max(1, (machine.workers or cpu_quota()) // machine.processes)
    torch.set_num_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(before)


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep freed memory in the process inside the block, where the C library is glibc.

    By default each large tensor is mapped afresh and its pages are faulted in: 12% of a small model's step on a CPU.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "mallopt"):
        yield
        return
    assert libc is not None
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(M_TOP_PAD, 2**26)
    try:
        yield
    finally:
        libc.mallopt(M_MMAP_MAX, M_MMAP_DEFAULT)
        libc.mallopt(M_TRIM_THRESHOLD, M_TRIM_DEFAULT)
        libc.mallopt(M_TOP_PAD, 0)
        libc.malloc_trim(0)
