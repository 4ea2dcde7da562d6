"""What goes into the sandbox and what comes out of it."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

VerdictKind = Literal["passed", "failed", "timeout", "error"]


@dataclass(frozen=True, slots=True)
class Program:
    """Python source, and the statements of its tests, which run in order in a process of their own.

    `source` is not trusted. `context` is: its imports and helper functions are there for the tests, as they are where
    program and tests share a module. `entry_point` is the one name that is always the program's. With `objects`, the
    tests may hold objects of the program's own classes, by reference; what such objects say of each other is computed
    by the program. `cpu_seconds` replaces that of the limits. With `trusted`, the tests are known to be harmless, to
    end, and to leave no trace: those of a frozen test set or of the built-in teacher.
    """

    id: str
    source: str
    tests: tuple[str, ...]
    context: str = ""
    entry_point: str = ""
    objects: bool = False
    trusted: bool = False
    cpu_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use, and its tests for themselves.

    The kernel counts CPU limits in whole seconds, so `cpu_seconds` is rounded up. The wall clock is generous, so that a
    busy machine changes no verdict: only a program that sleeps meets it.
    """

    cpu_seconds: float
    memory_mb: int  # address space of each of its processes
    wall_seconds: float
    scratch_mb: int = 16  # of /tmp, and of each file
    processes: int = 8  # processes and threads beside its first; each may use as much memory
    open_files: int = 64


def whole_seconds(cpu_seconds: float) -> int:
    """A CPU limit as the kernel takes it."""
    return max(1, math.ceil(cpu_seconds))


def generous_limits(cpu_seconds: float, memory_mb: int) -> Limits:
    """Limits with a wall clock of ten times the CPU time and five seconds more."""
    return Limits(cpu_seconds, memory_mb, wall_seconds=10 * math.ceil(cpu_seconds) + 5.0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one program. `error` is ours and never counts as wrong.

    `detail` is a function of the program and the limits alone: no addresses, no times. CPU time and peak memory are the
    program's own, without its tests, as the kernel counted them.
    """

    id: str
    outcome: VerdictKind
    detail: str
    cpu_seconds: float
    memory_mb: float = 0.0
    objects: bool = False  # judged with objects of the program's own

    @property
    def protocol(self) -> str:
        """How the program was judged, as a row says it."""
        return "objects" if self.objects else "values"


def makes_objects(program: str) -> bool:
    """Whether a program defines classes or gives its functions attributes, of which its tests may speak."""
    return bool(re.search(r"^\s*(class\s+\w+|\w+\.\w+\s*[-+]?=[^=])", program, re.MULTILINE))


def needs_objects(trusted: str, tests: Sequence[str]) -> bool:
    """Whether the tests name a class that the trusted text (a prompt, a reference) defines: they hold its objects."""
    classes = re.findall(r"^class\s+(\w+)", trusted, re.MULTILINE)
    return any(re.search(rf"\b{name}\b", test) for name in classes for test in tests)
