"""The texts sent to a teacher, by name."""

from functools import cache
from importlib.resources import files

from hornbook.records import content_id


@cache
def read_prompt(name: str) -> str:
    """The Markdown file of that name, with `$fields` to fill."""
    return (files("hornbook") / "prompts" / f"{name}.md").read_text(encoding="utf-8")


def prompt_id(name: str) -> str:
    """The content id of a prompt: part of the identity of every step that sends it."""
    return content_id(read_prompt(name))
