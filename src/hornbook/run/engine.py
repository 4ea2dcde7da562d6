"""Runs steps in order, each once: knows steps, and no stage.

A step's output is written to `<name>-<identity>.partial/`; the manifest is written last; the directory is then renamed.
If the final name exists the step is done, and nothing else means done.
"""

import errno
import fcntl
import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from hornbook.errors import UserError
from hornbook.recipe import MachineConfig
from hornbook.run.fingerprint import decode, directory_name, encode, identity
from hornbook.run.manifest import MANIFEST, describe_files, read_manifest, verify_files, write_manifest
from hornbook.run.memory import PeakMemory
from hornbook.run.progress import Progress
from hornbook.run.step import Counts, Step, StepFunction, Workspace

PARTIAL = ".partial"
FAILED = "failed.json"  # in a partial directory: why it stopped
PACKAGES = ("hornbook", "torch", "daft", "scikit-learn", "tokenizers", "numpy", "pyarrow")
State = Literal["done", "pending", "interrupted", "failed"]


@dataclass(frozen=True, slots=True)
class Intent:
    """What a run would do with a step, and why."""

    step: Step
    state: State
    why: str  # empty for a step that is done


def in_order(targets: Sequence[Step]) -> list[Step]:
    """The targets and all they need, each once, inputs first."""
    ordered: dict[str, Step] = {}

    def visit(step: Step) -> None:
        name = directory_name(step)
        if name not in ordered:
            for source in step.inputs.values():
                visit(source)
            ordered[name] = step

    for target in targets:
        visit(target)
    return list(ordered.values())


def state_of(work: Path, step: Step) -> State:
    """Whether a step is done; if not, what is left of an earlier try."""
    final = work / directory_name(step)
    partial = final.with_name(final.name + PARTIAL)
    if final.is_dir():
        return "done"
    if (partial / FAILED).exists():
        return "failed"
    return "interrupted" if partial.is_dir() else "pending"


def intents(work: Path, targets: Sequence[Step]) -> list[Intent]:
    """What a run would do with every step, in order, and why."""
    planned = []
    rebuilt: set[str] = set()
    for step in in_order(targets):
        state = state_of(work, step)
        if state == "done":
            planned.append(Intent(step, state, ""))
            continue
        rebuilt.add(directory_name(step))
        again = [source.name for source in step.inputs.values() if directory_name(source) in rebuilt]
        planned.append(Intent(step, state, _why(work, step, state, again)))
    return planned


def _why(work: Path, step: Step, state: State, rebuilt_inputs: list[str]) -> str:
    if state == "interrupted":
        return "was interrupted" + ("; goes on from its last checkpoint" if step.resumable else "; starts again")
    if state == "failed":
        return "failed before"
    previous = _latest_manifest(work, step)
    if previous is None:
        return "new"
    reasons = _changes(previous["config"], encode(step.config), "")
    if previous["version"] != step.version:
        reasons.append(f"code version {previous['version']} → {step.version}")
    if previous["content"] != dict(step.content):
        reasons.append("what it reads has changed")
    if rebuilt_inputs:
        reasons.append("rebuilt before it: " + ", ".join(rebuilt_inputs))
    return "; ".join(reasons) or "another input than the last time"


def _latest_manifest(work: Path, step: Step) -> dict[str, Any] | None:
    """The newest finished manifest of a step of the same name."""
    prefix = f"{step.name}-"
    manifests = [
        read_manifest(path.parent)
        for path in work.glob(f"{step.name}-*/{MANIFEST}")
        if not path.parent.name.endswith(PARTIAL) and len(path.parent.name) == len(directory_name(step))
    ]
    same = [manifest for manifest in manifests if f"{manifest['step']}-" == prefix]
    return max(same, key=lambda manifest: str(manifest["ended"]), default=None)


def _changes(before: Any, after: Any, place: str) -> list[str]:
    """The fields in which two encoded configs differ, as `field before → after`."""
    if isinstance(before, dict) and isinstance(after, dict) and "float" not in before:
        keys = list(dict.fromkeys([*before, *after]))
        return [
            change
            for key in keys
            for change in _changes(before.get(key), after.get(key), f"{place}.{key}" if place else key)
        ]
    if before == after:
        return []
    return [f"{place} {_shown(before)} → {_shown(after)}"]


def _shown(value: Any) -> str:
    text = json.dumps(decode(value), ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "…"


@contextmanager
def locked(work: Path) -> Iterator[None]:
    """Hold the work directory alone.

    Raises UserError where another run holds it.
    """
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / ".lock").open("w")
    except OSError as error:
        reason = error.strerror
        raise UserError(f"{work}: cannot be used as the work directory ({reason}); give another --work") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{work}: another run is at work here; wait for it, or give another --work") from None
        yield


def is_running(work: Path) -> bool:
    """Whether a run is at work in this directory now."""
    try:
        with open(work / ".lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def run_steps(
    work: Path,
    run: str,
    targets: Sequence[Step],
    machine: MachineConfig,
    progress: Progress,
    tell: Callable[[Step, State, dict[str, Any] | None], None],
) -> None:
    """Bring every target into being. `run` is the name under which costs are entered and capped; `tell` hears of each
    step before it runs (no manifest) and after.

    Raises UserError for what the user can mend; the steps that finished before it stay finished.
    """
    with locked(work):
        ordered = in_order(targets)
        for step in ordered:
            if state_of(work, step) == "done":
                verify_files(work / directory_name(step), identity(step))
        for step in ordered:
            state = state_of(work, step)
            if state == "done":
                tell(step, "done", read_manifest(work / directory_name(step)))
                continue
            tell(step, state, None)
            tell(step, "done", _run_step(work, run, step, machine, progress))


def _run_step(work: Path, run: str, step: Step, machine: MachineConfig, progress: Progress) -> dict[str, Any]:
    final = work / directory_name(step)
    partial = final.with_name(final.name + PARTIAL)
    with _told_as_user_error(step, partial):
        if partial.exists() and not step.resumable:
            shutil.rmtree(partial)
        partial.mkdir(exist_ok=True)
        (partial / FAILED).unlink(missing_ok=True)
        module, name = step.function.split(":")
        function = cast(StepFunction, getattr(importlib.import_module(module), name))
        inputs = {key: work / directory_name(source) for key, source in step.inputs.items()}
        started, clock = datetime.now(UTC), time.monotonic()
        with PeakMemory() as memory:
            result = function(step.config, inputs, Workspace(partial, machine, progress, work, run))
        check_counts(step.name, result.counts, step.failure_limit, "failed.parquet in its .partial directory")
        manifest = {
            "step": step.name,
            "identity": identity(step),
            "function": step.function,
            "version": step.version,
            "config": encode(step.config),
            "inputs": {key: directory.name for key, directory in inputs.items()},
            "content": dict(step.content),
            "machine": {**machine.model_dump(), **_software()},
            "started": started.isoformat(timespec="seconds"),
            "ended": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "seconds": round(time.monotonic() - clock, 3),
            "peak_memory_bytes": memory.peak_bytes,
            "counts": _counts_json(result.counts),
            "facts": dict(result.facts),
            "timing": dict(result.timing),
            "files": describe_files(partial),
        }
        write_manifest(partial, manifest)
        partial.rename(final)
        _flush_directory(work)
    return manifest


def _software() -> dict[str, str]:
    """The system, Python, and the packages whose version may change a result."""
    found = {}
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return {"platform": platform.platform(), "python": platform.python_version(), **found}


def check_counts(name: str, counts: Counts | None, failure_limit: float, failures: str) -> None:
    """Raises RuntimeError where rows are unaccounted for, and UserError where more failed than may; `failures` says
    where these stand."""
    if counts is None:
        return
    if not counts.balanced():
        raise RuntimeError(f"{name}: the counts do not balance: {counts}")
    if counts.failed > failure_limit * counts.read:
        raise UserError(
            f"{name}: {counts.failed} of {counts.read} rows failed, more than the limit of {failure_limit:.1%}; see "
            f"{failures}, or raise the limit"
        )


def _counts_json(counts: Counts | None) -> dict[str, Any] | None:
    if counts is None:
        return None
    return {"read": counts.read, "kept": counts.kept, "dropped": dict(counts.dropped), "failed": counts.failed}


@contextmanager
def _told_as_user_error(step: Step, partial: Path) -> Iterator[None]:
    """Leaves the reason of a failure in the partial directory, and turns a full disk into a UserError."""
    try:
        yield
    except Exception as error:
        full = isinstance(error, OSError) and (error.errno == errno.ENOSPC or "No space left" in str(error))
        if full:
            message = f"{partial.parent}: the disk is full; free some space and run the same command again"
            raise UserError(f"{step.name}: {message}") from error
        record = {"error": str(error), "kind": type(error).__name__, "traceback": traceback.format_exc()}
        if partial.is_dir():
            (partial / FAILED).write_text(json.dumps(record, indent=1), encoding="utf-8")
        if isinstance(error, UserError) and not str(error).startswith(step.name):
            raise UserError(f"{step.name}: {error}") from error
        raise


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
