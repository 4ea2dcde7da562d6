"""Small real steps for the engine's tests."""

import os
import signal
from pathlib import Path

from hornbook.errors import UserError
from hornbook.recipe import Section
from hornbook.run.step import Counts, Inputs, Result, Workspace


class Add(Section):
    amount: int


class Slow(Section):
    steps: int
    kill_at: str  # path of a file; the process kills itself once, when it is reached


def add(config: Add, inputs: Inputs, work: Workspace) -> Result:
    total = config.amount + sum(int((path / "number").read_text()) for path in inputs.values())
    (work.directory / "number").write_text(str(total))
    (work.directory / "deep").mkdir()
    (work.directory / "deep" / "table").write_bytes(bytes(range(256)) * 40)
    return Result(Counts(read=3, kept=2, dropped={"odd": 1}), {"total": total})


def unbalanced(config: Add, inputs: Inputs, work: Workspace) -> Result:
    return Result(Counts(read=3, kept=2, dropped={"odd": 2}))


def failing(config: Add, inputs: Inputs, work: Workspace) -> Result:
    return Result(Counts(read=100, kept=100 - config.amount, failed=config.amount))


def mendable(config: Add, inputs: Inputs, work: Workspace) -> Result:
    raise UserError("data.jsonl, line 3: not JSON")


def full(config: Add, inputs: Inputs, work: Workspace) -> Result:
    with open("/dev/full", "w") as device:  # the kernel answers ENOSPC to every write
        device.write("x" * 100_000)
    return Result()


def slow(config: Slow, inputs: Inputs, work: Workspace) -> Result:
    """Counts up in a file, one line a step; goes on from the lines it finds."""
    path = work.directory / "lines"
    done = len(path.read_text().splitlines()) if path.exists() else 0
    once = Path(config.kill_at)
    for number in range(done, config.steps):
        with open(path, "a") as file:
            file.write(f"{number}\n")
        if number == config.steps // 2 and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return Result()
