"""The peak memory of this process and its children together, by sampling /proc."""

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

SAMPLE_SECONDS = 0.25


class PeakMemory:
    """Samples resident memory while a block runs; `peak_bytes` is 0 where there is no /proc.

    Resident memory counts a page once for each process that holds it, so the figure is a little high.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, _resident(os.getpid()))
            if self._done.wait(SAMPLE_SECONDS):
                return


def _resident(pid: int, above: tuple[int, int] = (0, 0)) -> int:
    """Bytes resident in a process and all that descend from it; `above`: its parent's stack start and anonymous pages.

    A child that has not become another program shares its parent's pages until it writes to them, and counts for the
    anonymous ones it holds beyond theirs: the others are files', and the parent's too. It is told by its stack, which
    starts where its parent's does: another program's starts at an address drawn anew, and 0 stands where we may not
    look. Counting forks whole made an evaluation's 1.2 GB 3.5.
    """
    try:
        resident, files = map(int, Path(f"/proc/{pid}/statm").read_text().split()[1:3])
        # The 28th field of proc(5); the second, a program's name, may hold spaces and brackets.
        stack = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[28 - 3])
        tasks = [task.name for task in Path(f"/proc/{pid}/task").iterdir()]
        children = {
            int(child) for task in tasks for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        }
    except (OSError, IndexError, ValueError):
        return 0  # it ended while we looked
    is_fork = stack != 0 and stack == above[0]
    own = max(0, resident - files - above[1]) if is_fork else resident
    return own * os.sysconf("SC_PAGE_SIZE") + sum(_resident(child, (stack, resident - files)) for child in children)
