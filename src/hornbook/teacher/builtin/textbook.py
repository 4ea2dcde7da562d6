"""Textbook sections: prose on a topic for a reader, and an example from the grammar whose output is real."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from hornbook.teacher.builtin.compose import Bound, Family
from hornbook.teacher.builtin.finishes import Finish
from hornbook.teacher.builtin.grammar import Made, draw, is_reserved
from hornbook.teacher.builtin.lessons import AUDIENCES, TOOLS, TOPICS
from hornbook.teacher.builtin.pipeline import VARIABLES
from hornbook.teacher.builtin.primitives import Change, Condition
from hornbook.teacher.builtin.wording import Pen

LONGEST_CALL, LONGEST_OUTPUT = 60, 50  # characters
STYLES = ("worked example", "example first", "question and answer", "two examples", "step by step")

TITLES = ("# @t", "# A short lesson on @t", "# A first look at @t", "# Practice with @t", "# @t, by example")
CONDITION_FRAMES = (
    "The test `@c` is true when @x @h.",
    "To ask whether @x @h, write `@c`.",
    "In Python, `@c` tells whether @x @h.",
)
CHANGE_FRAMES = ("The expression `@c` gives @o.", "To get @o, write `@c`.", "We write `@c` for @o.")
TASKS = ("The task is as follows. @d", "Here is what we want. @d", "Our function has one job. @d")
LEADS = ("Here is the function:", "In code:", "This is the whole function:", "Written in Python:")
SECOND_LEADS = (
    "A second function is built in the same way:",
    "Here is another one of the same kind:",
    "Now with other parts:",
)
CHECKS = (
    "The call at the end prints `@r`.",
    "Run it, and you will see `@r`.",
    "The last line prints `@r`, as its comment says.",
)


def write_section(family: Family, audience: str, style: str, seed: int) -> str:
    """A section in Markdown, a function of its arguments alone. No example is of a reserved composition."""
    rng = Pen(f"textbook {family.name} {audience} {style} {seed}")
    title = rng.choice(TITLES).replace("@t", family.topic)
    title = "# " + title[2].upper() + title[3:]
    opening = rng.choice(AUDIENCES[audience])
    lesson = TOPICS[family.name]
    idea = " ".join(lesson[place] for place in sorted(rng.sample(range(len(lesson)), 2)))
    example = printable_example(family, rng)
    notes = explain(example.made.parts, rng)
    lead = rng.choice(LEADS)
    if style == "example first":
        paragraphs = [
            f"{opening} Let us begin with the code.",
            example.shown(),
            f"{idea} {' '.join(notes)}",
            rng.choice(CHECKS).replace("@r", example.printed[0]),
        ]
    elif style == "question and answer":
        paragraphs = [
            f"{opening} {idea}",
            f"{' '.join(notes)} {lead}",
            example.shown(),
            f"Question: what does `print({example.calls[1]})` print?",
            f"Answer: it prints `{example.printed[1]}`.",
        ]
    elif style == "two examples":
        other = printable_example(family, rng)
        paragraphs = [
            f"{opening} {rng.choice(TOPICS[family.name])} {' '.join(notes)}",
            example.shown(),
            f"{rng.choice(SECOND_LEADS)}",
            other.shown(),
            " ".join(explain(other.made.parts, rng)),
        ]
    elif style == "step by step":
        steps = [idea, *notes]
        paragraphs = [
            f"{opening} {rng.choice(TASKS).replace('@d', example.made.doc)}",
            "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1)),
            lead,
            example.shown(),
        ]
    else:
        paragraphs = [
            f"{opening} {idea}",
            f"{rng.choice(TASKS).replace('@d', example.made.doc)} {' '.join(notes)}",
            example.shown(),
            rng.choice(CHECKS).replace("@r", example.printed[0]),
        ]
    return "\n\n".join([title, *(paragraph for paragraph in paragraphs if paragraph.strip())]) + "\n"


@dataclass(frozen=True, slots=True)
class Example:
    """Code to show, with calls of it and what `print` writes for each."""

    made: Made
    calls: tuple[str, ...]  # telling ones first
    printed: tuple[str, ...]

    def shown(self) -> str:
        """The code with a call and, as a comment, what the call prints."""
        written = self.made.exercise
        return f"```python\n{written.prompt}{written.solution}\n\nprint({self.calls[0]})  # {self.printed[0]}\n```"


def printable_example(family: Family, rng: Pen) -> Example:
    """An example, never of a reserved composition, whose output is short and the same in every process."""
    while True:
        made = draw(rng, family, lambda key: not is_reserved(key))
        scope: dict[str, Any] = {}
        exec(compile(made.exercise.prompt + made.exercise.solution, "<textbook>", "exec"), scope)  # noqa: S102
        calls = sorted((call for call, _ in made.calls), key=lambda call: len(call) > LONGEST_CALL)
        values = [eval(call, scope) for call in calls]  # noqa: S307
        if any(map(holds_strings_unordered, values)) or any(len(str(value)) > LONGEST_OUTPUT for value in values):
            continue
        telling = sorted(zip(calls, values, strict=True), key=lambda pair: not pair[1])  # empty results last
        return Example(made, tuple(call for call, _ in telling), tuple(str(value) for _, value in telling))


def holds_strings_unordered(value: object) -> bool:
    """Whether a value holds a set of strings, which prints in another order in every process."""
    if isinstance(value, set):
        return len(value) > 1 and any(isinstance(item, str) for item in value)
    if isinstance(value, (list, tuple)):
        return any(map(holds_strings_unordered, value))
    return False


def explain(parts: Sequence[Bound | None], rng: Random) -> list[str]:
    """A sentence on each primitive of an example: its phrase and its code."""
    notes = []
    for bound in parts:
        part: Any = None if bound is None else bound.part
        if bound is None or bound.parameter is not None:
            continue
        if isinstance(part, Condition):
            item = VARIABLES[part.kind]
            frame = rng.choice(CONDITION_FRAMES)
            notes.append(
                frame.replace("@c", bound.code(item)).replace("@x", f"`{item}`").replace("@h", bound.holds(rng))
            )
        elif isinstance(part, Change):
            item = VARIABLES[part.kind]
            frame = rng.choice(CHANGE_FRAMES)
            notes.append(frame.replace("@c", bound.code(item)).replace("@o", bound.one(rng, f"`{item}`")))
        elif isinstance(part, Finish):
            notes.append(rng.choice(TOOLS[part.name]))
    return notes
