"""What goes into the sandbox and what comes out of it."""

import math
from dataclasses import dataclass
from typing import Literal

VerdictKind = Literal["passed", "failed", "timeout", "error"]


@dataclass(frozen=True, slots=True)
class Program:
    """Python source and the statements that must then run without an exception, in order, in the same module."""

    id: str
    source: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use.

    The kernel counts CPU limits in whole seconds, so `cpu_seconds` is rounded up. The wall clock is generous, so that a
    busy machine changes no verdict: only a program that sleeps meets it.
    """

    cpu_seconds: float
    memory_mb: int  # address space of each of its processes
    wall_seconds: float
    scratch_mb: int = 16  # of /tmp, and of each file
    processes: int = 16  # processes and threads beside its first
    open_files: int = 64

    @property
    def cpu_limit(self) -> int:
        """`cpu_seconds` as the kernel takes it."""
        return max(1, math.ceil(self.cpu_seconds))


def generous_limits(cpu_seconds: float, memory_mb: int) -> Limits:
    """Limits with a wall clock of ten times the CPU time and five seconds more."""
    return Limits(cpu_seconds, memory_mb, wall_seconds=10 * math.ceil(cpu_seconds) + 5.0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one program. `error` is ours and never counts as wrong.

    `detail` is a function of the program and the limits alone: no addresses, no times.
    """

    id: str
    outcome: VerdictKind
    detail: str
    cpu_seconds: float
