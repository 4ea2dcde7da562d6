"""Metrics of a run to TensorBoard, wandb or trackio, where one is installed and asked for."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from hornbook.errors import UserError

PROJECT = "hornbook"  # the name under which runs stand at a service


class Log(Protocol):
    """Takes the metrics of a step."""

    def __call__(self, step: int, values: Mapping[str, float]) -> None: ...


@contextmanager
def trackers(
    names: Sequence[str], run: str, directory: Path, config: Mapping[str, Any], first_step: int
) -> Iterator[Log]:
    """A function that hands each step's metrics to all trackers of `names`; `directory` is theirs to write to.

    `first_step` is where the run begins, or goes on: what was logged beyond it is written again.

    Raises UserError where one is not installed.
    """
    opened: list[_Tracker] = [_OPEN[name](run, directory, config, first_step) for name in names]

    def log(step: int, values: Mapping[str, float]) -> None:
        for tracker in opened:
            tracker.log(step, values)

    try:
        yield log
    finally:
        for tracker in opened:
            tracker.close()


def check_installed(names: Sequence[str]) -> None:
    """Raise UserError where a tracker is not installed."""
    for name in names:
        _module(name, name)


class _Tracker(Protocol):
    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class _TensorBoard:
    def __init__(self, run: str, directory: Path, config: Mapping[str, Any], first_step: int) -> None:
        _module("tensorboard", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(directory / "tensorboard" / run), purge_step=first_step or None)
        self._writer.add_text("config", f"```\n{config}\n```")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Service:
    """wandb, and trackio, which has its interface."""

    def __init__(self, name: str, run: str, **options: Any) -> None:
        self._run = _module(name, name).init(project=PROJECT, name=run, **options)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


def _wandb(run: str, directory: Path, config: Mapping[str, Any], first_step: int) -> _Service:
    directory.mkdir(parents=True, exist_ok=True)
    return _Service("wandb", run, dir=str(directory), config=dict(config))


def _trackio(run: str, directory: Path, config: Mapping[str, Any], first_step: int) -> _Service:
    return _Service("trackio", run, config=dict(config))


_OPEN: dict[str, Callable[[str, Path, Mapping[str, Any], int], _Tracker]] = {
    "tensorboard": _TensorBoard,
    "wandb": _wandb,
    "trackio": _trackio,
}


def _module(name: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"machine.trackers: {package} is not installed; `pip install {package}`, or leave it out"
        ) from error
