"""Work spread over processes, in order, with bounded memory, and without hanging when a worker dies."""

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

WATCH_SECONDS = 1.0
# How long GNU OpenMP's threads spin before they sleep. Its own default, three times as long, costs decoding a third on
# busy cores; not to spin at all costs it a fifth on idle ones: a thread that sleeps is late.
SPIN_COUNT = "100000"

T = TypeVar("T")
R = TypeVar("R")


def cpu_quota() -> int:
    """The CPUs this process may use: the smaller of its affinity and its control group's quota, at least 1."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cpus = min(cpus, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass  # no version 2 control group: the affinity is all there is to know
    return max(1, cpus)


def end_with(parent: int) -> None:
    """End this worker when its parent is gone: killed outright it cannot say so, and the workers hold each other's
    pipes open, so that none of them would ever see an end."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def ordered_map(function: Callable[[T], R], items: Iterable[T], workers: int, ahead: int = 4) -> Iterator[R]:
    """Results of `function` over `items`, in order, at most `ahead` items per worker under way.

    The function and the items must pickle between processes of this program; nothing pickled touches a file. A worker
    that dies raises BrokenProcessPool here at once.
    """
    if workers == 1:
        yield from map(function, items)
        return
    source = iter(items)
    context = multiprocessing.get_context("spawn")  # fork is unsafe beside the threads of Daft and PyTorch
    with ProcessPoolExecutor(workers, context, initializer=end_with, initargs=(os.getpid(),)) as pool:
        pending: deque[Future[R]] = deque(pool.submit(function, item) for item in islice(source, workers * ahead))
        while pending:
            yield pending.popleft().result()
            for item in islice(source, 1):
                pending.append(pool.submit(function, item))
