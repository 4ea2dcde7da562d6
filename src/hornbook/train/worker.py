"""The program of one training process, which torchrun starts: `python -m hornbook.train.worker DIRECTORY`.

With `--launch PARENT` before torchrun's own arguments it is torchrun, which ends when the process PARENT is gone.
"""

import errno
import json
import os
import sys
import traceback
from contextlib import nullcontext, suppress
from pathlib import Path

from hornbook.errors import UserError
from hornbook.run.workers import end_with
from hornbook.train.launch import FAILURE, RESULT, load_job, locked


def main(arguments: list[str]) -> None:
    """Run torchrun, or one process of a run."""
    if arguments[0] == "--launch":
        from torch.distributed.run import main as torchrun

        end_with(int(arguments[1]))
        torchrun(arguments[2:])
        return
    end_with(os.getppid())
    directory = Path(arguments[0])
    try:
        _train(directory)
    except BaseException as error:
        _tell(directory, error)
        raise
    # The libraries' threads sometimes abort a process that ends the usual way; what is to be written is written.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _tell(directory: Path, error: BaseException) -> None:
    """Leave the reason for the run's end; the first process to fail has the word."""
    kind, text = "crash", traceback.format_exc()
    if isinstance(error, UserError):
        kind, text = "UserError", str(error)
    elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
        kind = "ENOSPC"
    with suppress(OSError), open(directory / FAILURE, "x", encoding="utf-8") as failure:
        json.dump({"kind": kind, "error": text}, failure)


def _train(directory: Path) -> None:
    from hornbook.train.device import pick_device
    from hornbook.train.loop import train_process
    from hornbook.train.parallel import joined_world

    job = load_job(directory)
    with joined_world(pick_device(job.machine).type) as world:
        with locked(directory) if world.rank == 0 else nullcontext():
            result = train_process(job, world, lambda loss: None)
            if world.rank == 0:
                writing = directory / f"{RESULT}.writing"
                fields = {"facts": dict(result.facts), "timing": dict(result.timing)}
                writing.write_text(json.dumps(fields), encoding="utf-8")
                writing.replace(directory / RESULT)
        world.wait()


if __name__ == "__main__":
    main(sys.argv[1:])
