"""The program of one training process, which torchrun starts: `python -m hornbook.train.worker DIRECTORY`.

With `--launch PARENT` before torchrun's own arguments it is torchrun, which ends when the process PARENT is gone.
"""

import json
import os
import sys
from pathlib import Path

from hornbook.errors import UserError
from hornbook.run.workers import end_with
from hornbook.train.launch import FAILURE, RESULT, load_job


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
    except UserError as error:
        (directory / FAILURE).write_text(json.dumps({"error": str(error)}), encoding="utf-8")
        raise SystemExit(1) from error


def _train(directory: Path) -> None:
    from hornbook.train.device import pick_device
    from hornbook.train.loop import train_process
    from hornbook.train.parallel import joined_world

    job = load_job(directory)
    with joined_world(pick_device(job.machine).type) as world:
        result = train_process(job, world, lambda loss: None)
        if world.rank == 0:
            fields = {"facts": dict(result.facts), "timing": dict(result.timing)}
            (directory / RESULT).write_text(json.dumps(fields), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
