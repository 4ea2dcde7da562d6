"""How values stand in the page: numbers with their units, texts made harmless to look at, facts as a list."""

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from markupsafe import Markup

from hornbook.recipe import BUILTIN
from hornbook.report.record import StepRecord
from hornbook.teacher.budget import dollars
from hornbook.teacher.journal import PICO

EXCERPT_LINES, EXCERPT_COLUMNS = 48, 160
FACTS_SHOWN = 16  # of a step, in the text of a section; all of them stand in the table of steps
ELSEWHERE = frozenset(("canaries", "prompts", "topics", "roots", "failures"))  # facts that are long or have a place
MOST_ENTRIES = 500  # of one list or table among a step's facts: a tree may have 20,000 topics
BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(value: Any) -> Any:
    """Text with control characters, marks of writing direction and broken code points as characters that show."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(map(_visible_character, value)) if not value.isascii() or not value.isprintable() else value


def _visible_character(character: str) -> str:
    if character in "\n\t":
        return character
    hidden = character in BIDI_CONTROLS or unicodedata.category(character) in ("Cc", "Cs", "Cn", "Co")
    return f"⟨U+{ord(character):04X}⟩" if hidden else character


def excerpt(text: str) -> str:
    """The beginning of a text: so many lines, each so wide, and how much was left out."""
    lines = text.expandtabs(4).splitlines()
    shown = [
        line
        if len(line) <= EXCERPT_COLUMNS
        else f"{line[:EXCERPT_COLUMNS]} … {len(line) - EXCERPT_COLUMNS:,} more characters"
        for line in lines[:EXCERPT_LINES]
    ]
    more = [f"… {len(lines) - EXCERPT_LINES:,} more lines"] if len(lines) > EXCERPT_LINES else []
    return "\n".join([*shown, *more])


def number(value: float) -> str:
    """With thousands separated; a fraction with four significant digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def one_place(value: float) -> str:
    """With thousands separated and one decimal."""
    return f"{value:,.1f}"


def three_places(value: float) -> str:
    """With three decimals."""
    return f"{value:.3f}"


def percent(share: float) -> str:
    """A share as a percentage with one decimal."""
    return "<0.1%" if 0 < share < 0.0005 else f"{100 * share:.1f}%"


def bytes_text(size: int) -> str:
    """A size in decimal units."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"


def duration(seconds: float) -> str:
    """Seconds, or minutes and seconds from two minutes on, or hours and minutes."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"


def money(usd: float) -> str:
    """Dollars as the terminal shows them."""
    return dollars(round(usd * PICO))


def teacher_name(teacher: str | Mapping[str, Any]) -> str:
    """A recipe's teacher as a person should read it."""
    if isinstance(teacher, Mapping):
        return str(teacher["model"])
    return "builtin (offline rules, not an LLM)" if teacher == BUILTIN else teacher


def flat_facts(facts: Mapping[str, Any], *without: str) -> list[tuple[str, str]]:
    """The plain values of a step's facts, nested names joined: what a person can read at a glance."""
    return list(_flat({key: value for key, value in facts.items() if key not in without}, ""))[:FACTS_SHOWN]


def _flat(facts: Mapping[str, Any], place: str) -> Iterator[tuple[str, str]]:
    for key, value in facts.items():
        name = f"{place} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            if key not in ELSEWHERE:
                yield from _flat(value, name)
        elif not isinstance(value, Sequence) or isinstance(value, str):
            yield name, plain(value)


def plain(value: Any) -> str:
    """One value of a fact."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, int | float) else str(value)


def facts_json(step: StepRecord) -> str:
    """Facts and timing of a step as its manifest has them; long tables are cut, and prompts stand in their section."""
    prompts = {"prompts": "shown in the section Teacher"} if step.facts.get("prompts") else {}
    return json.dumps({"facts": _cut({**step.facts, **prompts}), "timing": step.timing}, indent=1, ensure_ascii=False)


def _cut(value: Any) -> Any:
    """With the first entries of long tables and lists only, and how many were left out."""
    if isinstance(value, Mapping):
        kept = {key: _cut(entry) for key, entry in islice(value.items(), MOST_ENTRIES)}
        return kept | ({"…": f"{len(value) - MOST_ENTRIES:,} more"} if len(value) > MOST_ENTRIES else {})
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_cut(entry) for entry in value[:MOST_ENTRIES]] + (
            [f"… {len(value) - MOST_ENTRIES:,} more"] if len(value) > MOST_ENTRIES else []
        )
    return value
