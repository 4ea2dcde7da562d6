"""Several processes training one model: who they are, what they exchange, and how the model lies over them.

Replicated (DDP) every process holds all weights and their moments; sharded (FSDP2) each holds its part and gathers a
block when it computes it. Both keep float32 weights and average float32 gradients, so that they differ from one process
by rounding only.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from hornbook.model.transformer import Phi

# A process waits so long for the others: a checkpoint is hashed, or a model compiled, by one of them alone.
PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class World:
    """The processes of a run, seen from one of them."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # on this machine

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def minimum(self, value: int, device: torch.device) -> int:
        """The smallest of what the processes say."""
        if self.size == 1:
            return value
        least = torch.tensor(value, device=device)
        dist.all_reduce(least, dist.ReduceOp.MIN)
        return int(least)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def share(self, items: int) -> range:
        """The items of this process, of so many: as even as can be, and in order."""
        return range(self.rank * items // self.size, (self.rank + 1) * items // self.size)


@contextmanager
def joined_world(device_type: str) -> Iterator[World]:
    """The world of a process that torchrun started."""
    world = World(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_RANK"]))
    if device_type == "cuda":
        torch.cuda.set_device(world.local_rank)
        dist.init_process_group("nccl", timeout=PATIENCE, device_id=torch.device("cuda", world.local_rank))
    else:
        dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield world
    finally:
        dist.destroy_process_group()


def spread(module: nn.Module, phi: Phi, world: World, device: torch.device, how: Literal["ddp", "fsdp"]) -> nn.Module:
    """`module`, which computes with `phi`, laid over the processes of a world."""
    if world.size == 1:
        return module.to(device)
    if how == "ddp":
        return DistributedDataParallel(module.to(device), gradient_as_bucket_view=True)
    mesh = init_device_mesh(device.type, (world.size,))
    for block in phi.model.layers:
        fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)
    return module.to(device)


def last_piece_only(module: nn.Module, is_last: bool) -> AbstractContextManager[None]:
    """Replicated gradients of the block of code are exchanged after a step's last micro-batch, not after each. Sharded
    ones are after each: no device has the memory for all of them."""
    if isinstance(module, DistributedDataParallel) and not is_last:
        return module.no_sync()
    return nullcontext()


def whole(tensor: Tensor) -> Tensor:
    """A tensor as one, on the CPU; all processes must ask for it."""
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().cpu()
