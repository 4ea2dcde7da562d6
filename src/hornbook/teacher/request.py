"""What a teacher is asked and what it answers: structured fields that also render to a prompt."""

from dataclasses import dataclass
from string import Template
from typing import Protocol

from hornbook.prompts.load import read_prompt
from hornbook.records import content_id


class TeacherError(Exception):
    """A reply that cannot be used: no answer, or one that does not parse. Counted as failed, never as a low score."""


@dataclass(frozen=True, slots=True)
class RateRequest:
    """Rate the educational value of one document (phi-1, section 2.1)."""

    document: str
    source: str

    def render(self) -> str:
        """The prompt."""
        return Template(read_prompt("rate")).substitute(document=self.document, source=self.source)


@dataclass(frozen=True, slots=True)
class TextbookRequest:
    """Write a textbook section on a topic for an audience (phi-1, section 2.2)."""

    topic: str
    audience: str
    style: str
    seed: int  # tells apart sections that agree in all else

    def render(self) -> str:
        """The prompt."""
        fields = {"topic": self.topic, "audience": self.audience, "style": self.style, "seed": str(self.seed)}
        return Template(read_prompt("textbook")).substitute(fields)


@dataclass(frozen=True, slots=True)
class ExerciseRequest:
    """Write an exercise on a topic, of a given name where one is given (phi-1, section 2.2)."""

    topic: str
    seed: int  # tells apart exercises that agree in all else
    name: str | None = None
    difficulty: str | None = None

    def render(self) -> str:
        """The prompt."""
        fields = {"topic": self.topic, "name": self.name or "any", "difficulty": self.difficulty or "any"}
        return Template(read_prompt("exercise")).substitute(fields, seed=str(self.seed))


Request = RateRequest | TextbookRequest | ExerciseRequest


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


class Teacher(Protocol):
    """Annotates, writes or grades. Every method raises TeacherError where the reply is of no use."""

    @property
    def name(self) -> str:
        """What a person reads wherever this teacher's work is shown."""

    def rate(self, request: RateRequest) -> Rated:
        """A score from 0 to 5 and why."""

    def write_textbook(self, request: TextbookRequest) -> str:
        """A section of Markdown."""

    def write_exercise(self, request: ExerciseRequest) -> WrittenExercise:
        """An exercise with its solution and tests."""


def request_id(request: Request) -> str:
    """The id of a request: the content id of its rendered prompt."""
    return content_id(request.render())
