"""Teachers over the faulty server: what tests ask of them, and what they left in their journals."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from string import Template
from subprocess import PIPE
from typing import Any

from hornbook.recipe import EndpointsConfig, LanguageModel, MachineConfig, TokenPrice
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.teacher.journal import FILE
from hornbook.teacher.llm import LanguageModelTeacher
from hornbook.teacher.request import Answer, RateRequest, Request

MODEL = LanguageModel(model="openai:faulty", temperature=0.0, top_p=None, max_tokens=300)
PRICE = TokenPrice(input_usd=1.0, output_usd=4.0)
PRICES = {"faulty": PRICE}
IN, OUT = 1_000_000, 4_000_000  # the same in 1e-12 dollars a token


HORNBOOK = [sys.executable, "-m", "hornbook.cli"]


class Watcher(Silent):
    """Hears what is said, and answers what it is asked by `reply`."""

    def __init__(self, reply: bool | None = None) -> None:
        self.reply = reply
        self.heard: list[str] = []
        self.asked: list[str] = []

    def say(self, text: str) -> None:
        self.heard.append(text)

    def confirm(self, question: str) -> bool | None:
        self.asked.append(question)
        return self.reply


def workspace(
    work: Path, *urls: str, watcher: Silent | None = None, run: str = "test", out: Path | None = None, **endpoints: Any
) -> Workspace:
    """A place to work in whose teacher is at `urls`; `endpoints`: fields of EndpointsConfig."""
    config = EndpointsConfig(base_urls=urls, **{"preview": "go on", **endpoints})
    return Workspace(out or work, MachineConfig(workers=1, teacher=config), watcher or Silent(), work, run)


def teacher(
    work: Path, *urls: str, model: LanguageModel = MODEL, step: str = "step", **more: Any
) -> LanguageModelTeacher:
    """A teacher at `urls` whose journal is in `work`; `more`: of `workspace`."""
    return LanguageModelTeacher(model, workspace(work, *urls, **more), step)


def ask(work: Path, *urls: str, requests: Iterable[Request[Any]], **more: Any) -> list[Answer[Any]]:
    """All answers of such a teacher."""
    with teacher(work, *urls, **more) as asked:
        return list(asked.answers(requests))


def ratings(count: int, text: str = "") -> Iterator[RateRequest]:
    """Requests to rate so many documents."""
    for number in range(count):
        yield RateRequest(f"def f(x):\n    return x + {number}  # {text}\n", "source")


@contextmanager
def process(*command: object, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process whose output is read; killed at the end."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])} | environment
    words = list(map(str, command))
    with subprocess.Popen(words, env=environment, stdout=PIPE, stderr=PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def program(text: str, **names: Any) -> AbstractContextManager[subprocess.Popen[str]]:
    """A Python text in a process of its own, with `$names` put in; names in capitals go into its environment."""
    environment = {name: value for name, value in names.items() if name.isupper()}
    return process(sys.executable, "-c", Template(text).substitute(names), **environment)


def rows(work: Path, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """What a query of the journal in `work` gives."""
    with closing(sqlite3.connect(work / FILE)) as connection:
        return connection.execute(query, values).fetchall()


def prompt_of(entry: dict[str, Any]) -> str:
    """The prompt of a request in the server's log."""
    return entry["body"]["messages"][0]["content"]
