"""What a teacher is asked and what it answers: fields that render to a prompt, and a reply that parses to a value.

A request knows nothing of models, endpoints or money. Its `subject` says what it is about whatever the prompt's words
are, so that a reply to an earlier wording can be found and compared (`hornbook why-miss`).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from string import Template
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel

from hornbook.prompts.load import read_prompt
from hornbook.records import content_id
from hornbook.teacher.parsing import (
    ExerciseReply,
    RatingReply,
    Reason,
    TeacherError,
    TestsReply,
    TopicsReply,
    check_echo,
    parse_json,
    split_exercise,
    split_section,
    split_tests,
)

A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)
Task = Literal["rate", "textbook", "exercise", "tests", "topics", "grade", "safety", "probe"]
Subject = Literal["code", "general"]
Genre = Literal["code", "prose"]
HIGHEST_SCORE = 5.0


@dataclass(frozen=True, slots=True)
class Rated:
    """A teacher's judgement of one document."""

    score: float  # 0 to 5
    rationale: str


@dataclass(frozen=True, slots=True)
class WrittenExercise:
    """An exercise as a teacher wrote it: not yet verified."""

    topic: str
    name: str
    prompt: str  # imports, signature, docstring; ends in a newline
    solution: str  # the indented body; ends in a newline
    tests: tuple[str, ...]  # assert statements


class Request(ABC, Generic[A_co]):
    """One thing asked of a teacher."""

    __slots__ = ()
    task: ClassVar[Task]
    schema: ClassVar[type[BaseModel] | None] = None  # of a JSON reply; None: the reply is Markdown

    @property
    def prompt_name(self) -> str:
        """The file in `prompts/` that it renders."""
        return self.task

    @property
    def sample(self) -> int:
        """Which of several independent replies to the same text is meant, from 0."""
        return 0

    @property
    @abstractmethod
    def subject(self) -> str:
        """What it is about: the same for every wording of the prompt, different for different things."""

    @abstractmethod
    def render(self) -> str:
        """The text that is sent."""

    @abstractmethod
    def parse(self, reply: str) -> A_co:
        """What the reply says. Raises TeacherError for a reply that is of no use."""


@dataclass(frozen=True, slots=True)
class RateRequest(Request[Rated]):
    """Rate the educational value of one document (phi-1, section 2.1; phi-1.5 for prose)."""

    document: str
    source: str
    about: Genre = "code"  # what the document is, and so what is asked of it
    task: ClassVar[Task] = "rate"
    schema: ClassVar[type[BaseModel] | None] = RatingReply

    @property
    def prompt_name(self) -> str:
        """By what the document is."""
        return prompt_of_rating(self.about)

    @property
    def subject(self) -> str:
        """The document, and what it is read as."""
        read_as = " as prose" if self.about == "prose" else ""
        return f"rate {content_id(self.document)} of {self.source}{read_as}"

    @property
    def echo(self) -> str:
        """What the reply must repeat, so that a rating of another document is never taken for this one's."""
        return content_id(self.document)[:8]

    def render(self) -> str:
        """The prompt."""
        return fill_prompt(self.prompt_name, document=self.document, source=self.source, echo=self.echo)

    def parse(self, reply: str) -> Rated:
        """A score from 0 to 5 and why."""
        found = parse_json(reply, RatingReply)
        check_echo("document", found.document, self.echo)
        if not 0 <= found.score <= HIGHEST_SCORE:
            raise TeacherError("wrong schema", f"a score of {found.score}, outside of 0 to {HIGHEST_SCORE:g}")
        return Rated(found.score, found.rationale)


def prompt_of_rating(about: Genre) -> str:
    """The prompt for a rating."""
    return "rate" if about == "code" else "rate_prose"


@dataclass(frozen=True, slots=True)
class TextbookRequest(Request[str]):
    """Write a textbook section on a topic for an audience (phi-1, section 2.2; phi-1.5 for general knowledge)."""

    topic: str
    audience: str
    style: str
    seed: int  # tells apart sections that agree in all else, for the built-in teacher
    words: tuple[str, ...] = ()  # that must occur, as in TinyStories
    about: Subject = "code"
    path: str = ""  # where the topic stands in its tree: `Science > Physics`
    extract: str = ""  # of a real document, to start from and not to copy
    task: ClassVar[Task] = "textbook"

    @property
    def prompt_name(self) -> str:
        """By what it is about, and whether it starts from an extract."""
        return prompt_of_section(self.about, bool(self.extract))

    @property
    def subject(self) -> str:
        """All but the words of the prompt."""
        extract = f" from {content_id(self.extract)}" if self.extract else ""
        words = ", ".join(self.words)
        return f"textbook {self.seed}: {self.topic} | {self.path} | {self.audience} | {self.style} | {words}{extract}"

    def render(self) -> str:
        """The prompt."""
        fields = {"topic": self.topic, "audience": self.audience, "style": self.style, "words": ", ".join(self.words)}
        return fill_prompt(self.prompt_name, **fields, path=self.path or self.topic, extract=self.extract)

    def parse(self, reply: str) -> str:
        """A section of Markdown."""
        return split_section(reply, self.topic)


def prompt_of_section(about: Subject, from_extract: bool) -> str:
    """The prompt for a section."""
    if from_extract:
        return "textbook_extract"
    return "textbook_code" if about == "code" else "textbook_general"


@dataclass(frozen=True, slots=True)
class ExerciseRequest(Request[WrittenExercise]):
    """Write an exercise on a topic, of a given name where one is given (phi-1, section 2.2)."""

    topic: str
    seed: int  # tells apart exercises that agree in all else, for the built-in teacher
    name: str | None = None
    difficulty: str | None = None
    words: tuple[str, ...] = ()  # that the docstring must use
    task: ClassVar[Task] = "exercise"
    schema: ClassVar[type[BaseModel] | None] = ExerciseReply

    @property
    def subject(self) -> str:
        """All but the words of the prompt."""
        return f"exercise {self.seed}: {self.topic} | {self.name} | {self.difficulty} | {', '.join(self.words)}"

    def render(self) -> str:
        """The prompt."""
        fields = {"name": self.name or "any", "difficulty": self.difficulty or "any"}
        return fill_prompt("exercise", topic=self.topic, words=", ".join(self.words) or "any", **fields)

    def parse(self, reply: str) -> WrittenExercise:
        """An exercise with its solution and tests."""
        found = parse_json(reply, ExerciseReply)
        if self.name is not None:
            check_echo("name", found.name, self.name)
        prompt, solution = split_exercise(found.code, found.name)
        return WrittenExercise(self.topic, found.name, prompt, solution, split_tests(found.tests, found.name))


@dataclass(frozen=True, slots=True)
class TestsRequest(Request[tuple[str, ...]]):
    """Write tests for an exercise from its signature and docstring alone: an opinion independent of its solution."""

    __test__: ClassVar[bool] = False  # the name is ours, not pytest's

    name: str
    prompt: str  # imports, signature, docstring
    number: int  # of several independent sets, from 1
    task: ClassVar[Task] = "tests"
    schema: ClassVar[type[BaseModel] | None] = TestsReply

    @property
    def subject(self) -> str:
        """The exercise and which set."""
        return f"tests {self.number} of {content_id(self.prompt)}"

    @property
    def sample(self) -> int:
        """The number of the set."""
        return self.number

    def render(self) -> str:
        """The prompt."""
        return fill_prompt("tests", name=self.name, prompt=self.prompt)

    def parse(self, reply: str) -> tuple[str, ...]:
        """Assert statements."""
        found = parse_json(reply, TestsReply)
        check_echo("name", found.name, self.name)
        return split_tests(found.tests, self.name)


@dataclass(frozen=True, slots=True)
class TopicsRequest(Request[tuple[str, ...]]):
    """Propose topics below a node of a tree of topics."""

    path: tuple[str, ...]  # from the root to the node
    count: int
    known: tuple[str, ...] = ()  # siblings to avoid
    task: ClassVar[Task] = "topics"
    schema: ClassVar[type[BaseModel] | None] = TopicsReply

    @property
    def subject(self) -> str:
        """The node."""
        besides = f" besides {content_id(repr(self.known))}" if self.known else ""
        return f"topics {self.count} below {' > '.join(self.path)}{besides}"

    def render(self) -> str:
        """The prompt."""
        known = "\n".join(f"- {title}" for title in self.known) or "- (none)"
        return fill_prompt(
            "topics", topic=self.path[-1], path=" > ".join(self.path), count=str(self.count), known=known
        )

    def parse(self, reply: str) -> tuple[str, ...]:
        """Titles, cleaned of white space; empty ones left out."""
        found = parse_json(reply, TopicsReply)
        check_echo("topic", found.topic, self.path[-1])
        titles = tuple(title for title in (" ".join(text.split()) for text in found.topics) if title)
        if not titles:
            raise TeacherError("empty", "no topic")
        return titles[: self.count]


def fill_prompt(name: str, /, **fields: str) -> str:
    """A prompt with its fields in their places."""
    return Template(read_prompt(name)).substitute(fields)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request has no value: a fixed word, what was wrong, and the reply as it came."""

    reason: Reason
    detail: str
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Answer(Generic[A]):
    """What came of one request: a value, or why there is none."""

    request: str  # the id under which the reply is kept
    value: A | None
    failure: Failure | None = None


class Teacher(Protocol):
    """Rates, writes, proposes, grades and judges."""

    @property
    def name(self) -> str:
        """What a person reads wherever this teacher's work is shown."""

    def rehearse(self, requests: Iterable[Request[Any]], total: int) -> None:
        """Ask the first few of about `total` requests, and show what they give and what the rest will cost.

        Raises UserError where the user does not want the rest.
        """

    def answers(self, requests: Iterable[Request[A]]) -> Iterator[Answer[A]]:
        """An answer for each request, in order. The requests are taken as they are needed."""

    def note(self) -> str:
        """A few words for the progress bar, such as what was spent."""

    def ledger(self) -> Mapping[str, Any]:
        """What the step has cost so far, killed runs of it included; JSON values."""


TeacherContext = AbstractContextManager[Teacher]


def request_id(request: Request[Any]) -> str:
    """The id of a request that no model has a part in."""
    return content_id(request.subject)
