"""Training on several processes: torchrun started on this machine, and joined from others."""

import errno
import fcntl
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hornbook.errors import UserError
from hornbook.recipe import MachineConfig
from hornbook.run.step import Result
from hornbook.run.workers import cpu_quota
from hornbook.step_config import TrainStep

JOB = "job.json"
RESULT = "result.json"
FAILURE = "failure.json"
LOG = "processes.log"
LOOK_SECONDS = 0.5
LOCK_SECONDS = 60.0
LOG_LINES = 20  # of a failure's log that are shown


@dataclass(frozen=True, slots=True)
class Job:
    """What a process of a training run needs to know."""

    config: TrainStep
    inputs: Mapping[str, Path]
    directory: Path
    machine: MachineConfig
    shared: Path

    def save(self) -> None:
        """Write it where `load_job` finds it, whole or not at all."""
        fields = {
            "config": self.config.model_dump(mode="json"),
            "inputs": {name: str(path) for name, path in self.inputs.items()},
            "machine": self.machine.model_dump(mode="json"),
            "shared": str(self.shared),
        }
        writing = self.directory / f"{JOB}.writing"
        writing.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
        writing.replace(self.directory / JOB)


def load_job(directory: Path) -> Job:
    """The job of a step's working directory."""
    fields = json.loads((directory / JOB).read_text(encoding="utf-8"))
    return Job(
        TrainStep.model_validate_json(json.dumps(fields["config"])),
        {name: Path(path) for name, path in fields["inputs"].items()},
        directory,
        MachineConfig.model_validate_json(json.dumps(fields["machine"])),
        Path(fields["shared"]),
    )


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a step's directory: the processes of a run that was killed may write for a moment more.

    Raises UserError where another process holds it for longer than that.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    deadline = time.monotonic() + LOCK_SECONDS
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UserError(f"{directory}: another process trains here; end it, or wait for it") from None
                time.sleep(LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)


def loss_of(line: bytes) -> float:
    """The loss of a line of the losses; not a number where the step overflowed."""
    loss = json.loads(line)["loss"]
    return math.nan if loss is None else float(loss)


def launch(job: Job, losses: str, done: Callable[[float], None]) -> Result:
    """Train on the processes of the job's machine, of this node and others that join; `done` is told each step's loss.

    Raises UserError for what a process says the user can mend, RuntimeError with the end of its log for the rest.
    """
    directory = job.directory.absolute()
    inputs = {name: path.absolute() for name, path in job.inputs.items()}
    Job(job.config, inputs, directory, job.machine, job.shared.absolute()).save()
    with open(directory / LOG, "wb") as log, open(directory / losses, "ab+") as lines:
        process = _torchrun(directory, job.machine, log)
        try:
            lines.seek(0)
            while process.poll() is None:
                _tell(lines, done)
                time.sleep(LOOK_SECONDS)
            _tell(lines, done)
        finally:
            _end(process)
            (directory / JOB).unlink(missing_ok=True)
    if not (directory / RESULT).exists():  # it is written last, and whole: how a process ends after it says nothing
        raise _failure(directory)
    result = json.loads((directory / RESULT).read_text(encoding="utf-8"))
    clear(directory)
    return Result(facts=result["facts"], timing=result["timing"])


def join(work: Path, told: Callable[[str], None]) -> None:
    """Take part, from another node, in every training run that waits in a work directory, one after another.

    Raises UserError where there is no such directory, or a run ends with an error.
    """
    if not work.is_dir():
        raise UserError(f"{work}: no such directory; give the work directory of the run, on a disk both nodes see")
    told(f"waiting for a training run in {work}; Ctrl-C leaves")
    joined: set[tuple[Path, int]] = set()  # a job stays for a moment after its run has ended
    while True:
        for path in sorted(work.absolute().glob(f"*.partial/{JOB}")):
            with suppress(FileNotFoundError):  # it ended meanwhile
                job = path, path.stat().st_mtime_ns
                if job not in joined:
                    joined.add(job)
                    _join_one(path.parent, told)
        time.sleep(LOOK_SECONDS)


def _join_one(directory: Path, told: Callable[[str], None]) -> None:
    job = load_job(directory)
    if job.machine.nodes == 1:
        return
    told(f"joining {directory.name}")
    process = _torchrun(directory, job.machine, None)
    try:
        code = process.wait()
    finally:
        _end(process)
    if code and (directory / JOB).exists():
        raise UserError(f"{directory}: the run ended with an error, which its first node tells")
    told(f"{directory.name} is done" if not code else f"{directory.name} has ended without this node")


def _torchrun(directory: Path, machine: MachineConfig, log: Any) -> subprocess.Popen[bytes]:
    """Start the processes of this node. They end when this process does."""
    meeting = ["--standalone"]
    if machine.nodes > 1:
        meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint={machine.rendezvous}", f"--rdzv-id={directory.name}"]
    command = [
        *(sys.executable, "-m", "hornbook.train.worker", "--launch", str(os.getpid())),
        *(f"--nnodes={machine.nodes}", f"--nproc-per-node={machine.processes}", *meeting),
        *("-m", "hornbook.train.worker", str(directory)),
    ]
    threads = max(1, (machine.workers or cpu_quota()) // machine.processes)
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
    process.wait()


def _tell(lines: Any, done: Callable[[float], None]) -> None:
    """Tell of the steps logged since the last look; a line still being written waits for the next."""
    while True:
        place = lines.tell()
        line = lines.readline()
        if not line.endswith(b"\n"):
            lines.seek(place)
            return
        done(loss_of(line))


def _failure(directory: Path) -> Exception:
    with suppress(OSError, ValueError, KeyError):
        failure = json.loads((directory / FAILURE).read_text(encoding="utf-8"))
        if failure["kind"] == "UserError":
            return UserError(failure["error"])
        if failure["kind"] == "ENOSPC":
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return RuntimeError("a training process ended with an error:\n" + failure["error"])
    tail = (directory / LOG).read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    return RuntimeError("a training process ended with an error; the end of its log:\n" + "\n".join(tail))


def clear(directory: Path) -> None:
    """Remove what a run on several processes left beside its model."""
    for name in (JOB, f"{JOB}.writing", RESULT, f"{RESULT}.writing", FAILURE, LOG):
        (directory / name).unlink(missing_ok=True)
