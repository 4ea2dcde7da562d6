"""The GPUs a plan knows, and how much of their peak training uses."""

from collections.abc import Sequence
from dataclasses import dataclass

from hornbook.errors import UserError
from hornbook.recipe import MachineConfig

GIB = 2**30
USED_SHARE = 0.9  # of a GPU's memory, that training chooses a micro-batch for
PHI_1_TERAFLOPS = 154.0  # of an A100: 6 × 1.418B parameters × 50.3B tokens in 770 hours (phi-1, Figure 2.1)


@dataclass(frozen=True, slots=True)
class GPU:
    """One kind, by its data sheet, and a guess at what training gets out of it."""

    name: str
    memory_bytes: int  # as the driver gives it
    peak_teraflops: float  # dense, bfloat16 and float16 alike
    peak_float32_teraflops: float  # without tensor cores
    utilization: float  # of the peak (MFU)
    basis: str  # of the utilization


A100_BASIS = "154 of 312 TFLOP/s, what phi-1's own figures imply"
HOPPER_BASIS = "50%, between what the 350M model (46%) and the 1.3B model (53%) were seen to do on an H200"
GPUS = (
    GPU("A100-40GB", round(39.4 * GIB), 312, 19.5, PHI_1_TERAFLOPS / 312, A100_BASIS),
    GPU("A100-80GB", round(79.2 * GIB), 312, 19.5, PHI_1_TERAFLOPS / 312, A100_BASIS),
    GPU("H100", round(79.1 * GIB), 989, 67, 0.50, HOPPER_BASIS),
    GPU("H200", round(139.8 * GIB), 989, 67, 0.50, HOPPER_BASIS),
)


def chosen_gpus(name: str | None) -> Sequence[GPU]:
    """The GPUs whose names begin as `name` does; all without one. Raises UserError where there is none."""
    found = [gpu for gpu in GPUS if name is None or gpu.name.lower().startswith(name.lower())]
    if not found:
        raise UserError(f"--gpu {name}: not a GPU of the plan; those it knows: {', '.join(gpu.name for gpu in GPUS)}")
    return found


def peak_teraflops(gpu: GPU, machine: MachineConfig) -> float:
    """At the precision of the recipe's machine; `auto` is bfloat16 on all of them."""
    return gpu.peak_float32_teraflops if machine.precision == "float32" else gpu.peak_teraflops
