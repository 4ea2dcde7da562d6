"""Progress that a person can watch: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

PLAIN_SECONDS = 10.0  # between two lines where the output is not a terminal


class Bar(Protocol):
    """One task under way."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Move on by `amount` units; `note` (a loss, say) stands beside the bar."""


class Progress(Protocol):
    """Makes bars. One bar is open at a time."""

    def bar(self, label: str, total: float | None, unit: str) -> AbstractContextManager[Bar]:
        """A bar of `total` units (None: not known)."""

    def say(self, text: str) -> None:
        """Show a text to whoever watches. No bar may be open."""

    def confirm(self, question: str) -> bool | None:
        """Ask whether to go on; None where nobody is there to answer. No bar may be open."""


class Silent:
    """Shows nothing: for tests and for use as a library."""

    def bar(self, label: str, total: float | None, unit: str) -> AbstractContextManager[Bar]:
        """A bar nobody sees."""
        return _SilentBar()

    def say(self, text: str) -> None:
        """Nobody hears."""

    def confirm(self, question: str) -> bool | None:
        """Nobody answers."""
        return None


class _SilentBar(AbstractContextManager[Bar]):
    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def advance(self, amount: float = 1, note: str = "") -> None:
        return None


class Terminal:
    """Bars with rate and time left on a terminal; a line every ten seconds where the output is none."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.console = Console(file=stream or sys.stderr)

    def bar(self, label: str, total: float | None, unit: str) -> AbstractContextManager[Bar]:
        """A bar of `total` units."""
        kind = _RichBar if self.console.is_terminal else _PlainBar
        return kind(self.console, label, total, unit)

    def say(self, text: str) -> None:
        """Print the text as it is."""
        shown = "".join(c if c.isprintable() or c == "\n" else "�" for c in text)  # no letters that steer a terminal
        self.console.print(shown, markup=False, highlight=False, soft_wrap=True)

    def confirm(self, question: str) -> bool | None:
        """Wait for `y` or anything else, on a terminal."""
        if not (self.console.is_terminal and sys.stdin.isatty()):
            return None
        self.console.print(f"{question} [y/N] ", end="", markup=False, highlight=False)
        return sys.stdin.readline().strip().lower() in ("y", "yes")


class _Clocked(AbstractContextManager[Bar]):
    """Counts units and seconds."""

    def __init__(self, console: Console, label: str, total: float | None, unit: str) -> None:
        self.console, self.label, self.total, self.unit = console, label, total, unit
        self.done = 0.0
        self.started = time.monotonic()

    def rate(self) -> str:
        per_second = self.done / max(time.monotonic() - self.started, 1e-9)
        return f"{per_second:,.0f} {self.unit}/s" if per_second >= 10 else f"{per_second:.2g} {self.unit}/s"


class _PlainBar(_Clocked):
    def __enter__(self) -> Bar:
        self.said = self.started
        return self

    def advance(self, amount: float = 1, note: str = "") -> None:
        self.done += amount
        now = time.monotonic()
        if now - self.said >= PLAIN_SECONDS:
            self.said = now
            self._say(note)

    def _say(self, note: str) -> None:
        of = f" of {self.total:,.0f}" if self.total is not None else ""
        left = ""
        if self.total is not None and self.done > 0:
            seconds = (self.total - self.done) * (time.monotonic() - self.started) / self.done
            left = f", {seconds:,.0f} s left"
        print(
            f"  {self.label}: {self.done:,.0f}{of} {self.unit}, {self.rate()}{left}{'  ' + note if note else ''}",
            file=self.console.file,
            flush=True,
        )

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class _RichBar(_Clocked):
    def __enter__(self) -> Bar:
        self.rich = RichProgress(
            TextColumn("  {task.description:<28}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
        )
        self.rich.start()
        self.task = self.rich.add_task(self.label, total=self.total, rate="", note="")
        return self

    def advance(self, amount: float = 1, note: str = "") -> None:
        self.done += amount
        self.rich.update(self.task, completed=self.done, rate=self.rate(), note=note)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rich.stop()
