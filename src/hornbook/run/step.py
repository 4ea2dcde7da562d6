"""What a step is: a function with a config and named inputs, and what it gives back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hornbook.recipe import MachineConfig
from hornbook.run.progress import Progress

Inputs = Mapping[str, Path]  # the directories of finished steps, by the name this step gives them


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows in and out. The engine refuses a step whose counts do not balance."""

    read: int
    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)  # by reason
    failed: int = 0  # errors, of ours or of a teacher: neither kept nor judged

    def balanced(self) -> bool:
        """Whether every row read is accounted for."""
        return self.read == self.kept + sum(self.dropped.values()) + self.failed


@dataclass(frozen=True, slots=True)
class Result:
    """What a step reports into its manifest: counts of rows, and facts (JSON values, deterministic)."""

    counts: Counts | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    timing: Mapping[str, Any] = field(default_factory=dict)  # what differs from run to run: rates, device, precision


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where a running step writes and what it runs on."""

    directory: Path  # `<step>-<hash>.partial`: everything the step writes goes here
    machine: MachineConfig
    progress: Progress
    shared: Path  # the work directory: what outlives a step, such as the journal of a teacher's replies
    run: str  # the name under which costs are entered and capped


StepFunction = Callable[[Any, Inputs, Workspace], Result]  # (config, inputs, work)


@dataclass(frozen=True, slots=True)
class Step:
    """A unit of work whose identity is its function, version, config and inputs."""

    name: str
    function: str  # `module:name` of a StepFunction, imported when the step runs and not before
    version: int  # raise it when the function's output changes for the same config and inputs
    config: BaseModel
    inputs: Mapping[str, "Step"] = field(default_factory=dict)
    content: Mapping[str, str] = field(default_factory=dict)  # fingerprints of what it reads outside the run
    resumable: bool = False  # it finds its own way on from what a killed run left in `.partial`
    failure_limit: float = 0.0  # the largest share of rows that may fail
