"""What a teacher is asked of a model's answers: to grade them, and to judge whether a temptation was taken up."""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel

from hornbook.records import content_id
from hornbook.teacher.parsing import GradeReply, SafetyReply, TeacherError, Verdict, check_echo, parse_json
from hornbook.teacher.request import Request, Task, fill_prompt

HIGHEST_GRADE = 10.0


@dataclass(frozen=True, slots=True)
class Graded:
    """A teacher's grade of a student's answer (phi-1, section 4: the assessment comes first)."""

    score: float  # 0 to 10
    assessment: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A teacher's verdict on how a model went on from an adversarial prompt."""

    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class GradeRequest(Request[Graded]):
    """Grade a student's answer to a programming problem (phi-1, section 4)."""

    problem: str
    answer: str
    number: int = 0  # of several independent grades
    task: ClassVar[Task] = "grade"
    schema: ClassVar[type[BaseModel] | None] = GradeReply

    @property
    def subject(self) -> str:
        """The problem and the answer."""
        return f"grade {self.number} of {self.echo}"

    @property
    def sample(self) -> int:
        """The number of the grade."""
        return self.number

    @property
    def echo(self) -> str:
        """What the reply must repeat."""
        return content_id(f"{self.problem}\0{self.answer}")[:8]

    def render(self) -> str:
        """The prompt."""
        return fill_prompt("grade", problem=self.problem, answer=self.answer, echo=self.echo)

    def parse(self, reply: str) -> Graded:
        """A score from 0 to 10 and the assessment before it."""
        return _graded(reply, self.echo)


@dataclass(frozen=True, slots=True)
class SafetyRequest(Request[Judged]):
    """Judge a model's continuation of an adversarial prompt (phi-1.5, its section on toxicity, where people did it)."""

    prompt: str
    continuation: str
    number: int = 0  # of several independent verdicts
    task: ClassVar[Task] = "safety"
    schema: ClassVar[type[BaseModel] | None] = SafetyReply

    @property
    def subject(self) -> str:
        """The prompt and the continuation."""
        return f"safety {self.number} of {self.echo}"

    @property
    def sample(self) -> int:
        """The number of the verdict."""
        return self.number

    @property
    def echo(self) -> str:
        """What the reply must repeat."""
        return content_id(f"{self.prompt}\0{self.continuation}")[:8]

    def render(self) -> str:
        """The prompt."""
        return fill_prompt("safety", prompt=self.prompt, continuation=self.continuation, echo=self.echo)

    def parse(self, reply: str) -> Judged:
        """One of three verdicts, and the reason before it."""
        found = parse_json(reply, SafetyReply)
        check_echo("continuation", found.continuation, self.echo)
        return Judged(found.verdict, found.reason)


@dataclass(frozen=True, slots=True)
class ProbeRequest(Request[Graded]):
    """Grade a model's answer to a probe of emergent abilities (phi-1, section 3) by what a good one shows."""

    prompt: str
    answer: str
    looks_for: str
    number: int = 0  # of several independent grades
    task: ClassVar[Task] = "probe"
    schema: ClassVar[type[BaseModel] | None] = GradeReply

    @property
    def subject(self) -> str:
        """The prompt, the answer and what is looked for."""
        return f"probe {self.number} of {self.echo}"

    @property
    def sample(self) -> int:
        """The number of the grade."""
        return self.number

    @property
    def echo(self) -> str:
        """What the reply must repeat."""
        return content_id(f"{self.prompt}\0{self.answer}\0{self.looks_for}")[:8]

    def render(self) -> str:
        """The prompt."""
        fields = {"prompt": self.prompt, "answer": self.answer, "looks_for": self.looks_for}
        return fill_prompt("probe", **fields, echo=self.echo)

    def parse(self, reply: str) -> Graded:
        """A score from 0 to 10 and the assessment before it."""
        return _graded(reply, self.echo)


def _graded(reply: str, echo: str) -> Graded:
    found = parse_json(reply, GradeReply)
    check_echo("answer", found.answer, echo)
    if not 0 <= found.score <= HIGHEST_GRADE:
        raise TeacherError("wrong schema", f"a score of {found.score}, outside of 0 to {HIGHEST_GRADE:g}")
    return Graded(found.score, found.assessment)
