"""A trained model to talk to: opened from its directory, asked for a completion or several."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hornbook.model.generate import Sampling, TextGenerator
from hornbook.model.transformer import load_model
from hornbook.model.vocabulary import load_tokenizer

WELCOME = "Write a prompt, such as a signature and docstring, and end it with an empty line. Ctrl-D leaves."


@dataclass(frozen=True, slots=True)
class Opened:
    """A model ready to write."""

    generator: TextGenerator

    def stream(self, prompt: str, sampling: Sampling) -> Iterator[str]:
        """The completion piece by piece; trailing white space of the prompt is left to the model."""
        return self.generator.stream(prompt.rstrip(), sampling)


def open_model(directory: Path) -> Opened:
    """Raises UserError where the directory holds no whole model of ours."""
    return Opened(TextGenerator(load_model(directory), load_tokenizer(directory)))


def session(opened: Opened, sampling: Sampling) -> None:
    """Read prompts of several lines from standard input and write their completions, until its end."""
    print(WELCOME)
    while (prompt := _read_prompt()) is not None:
        if prompt.strip():
            print(prompt.rstrip(), end="", flush=True)
            for piece in opened.stream(prompt, sampling):
                print(piece, end="", flush=True)
            print("\n")


def _read_prompt() -> str | None:
    """The lines up to an empty one; None at the end of the input."""
    lines: list[str] = []
    try:
        while line := input("... " if lines else ">>> "):
            lines.append(line)
    except EOFError:
        if not lines:
            return None
    return "\n".join(lines)
