"""GSM8K, grade school arithmetic in words (arXiv 2110.14168): by a program that computes the answer, and by text.

phi-1.5 (table 4) is scored "via coding", zero-shot, one greedy answer. Its prompt is not published, so both prompts
here are ours.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from hornbook import rowsets
from hornbook.evaluate.code import STOPS, cut_completion
from hornbook.evaluate.coding import needed_backend, score_verdicts, summarize_programs
from hornbook.evaluate.task import Family, Item, Output, Scored, Tools, Write, proportion, spread
from hornbook.sandbox.execute import run_programs
from hornbook.sandbox.programs import Program

GSM8K = "gsm8k"
MAX_NEW_TOKENS = 256
ENTRY_POINT = "solution"
TEXT_STOPS = ("\nQuestion:", "\n\n")
ESCAPES = str.maketrans({"\\": r"\\", "\r": r"\r", "\0": r"\x00"})  # what source code cannot hold as it stands
MARK = "####"  # stands before the final answer
# Runs away from the program, on what crossed the sandbox's boundary as plain data. True is no number here, nor is "18".
TEST = f"""
import decimal, fractions, math
value = {ENTRY_POINT}()
assert type(value) in (int, float, decimal.Decimal, fractions.Fraction), "returned no number"
assert math.isclose(float(value), GOLD, rel_tol=1e-6, abs_tol=1e-6), f"returned {{float(value)}}"
"""
# Commas part thousands only: "1,2" is two numbers. A minus sign after a word, a number or a bracket is arithmetic.
NUMBER = r"(?:(?<![\w.)\]])-)?\$?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
FINAL = re.compile(rf"{MARK}\s*({NUMBER})")


def code_prompt(question: str) -> str:
    """A function to complete whose docstring is the question. It ends with the docstring's last quote.

    The docstring's value is the question, whatever that holds: backslashes and what would end it are escaped.
    """
    inside = question.translate(ESCAPES)
    inside = re.sub(r'"{3,}|"+\Z', lambda quotes: quotes[0].replace('"', '\\"'), inside)
    return f'def {ENTRY_POINT}():\n    """{inside}"""'


def text_prompt(question: str) -> str:
    """The question and `Answer:`, each on its line."""
    return f"Question: {question}\nAnswer:"


def gold_of(answer: str) -> str:
    """The final answer of a reference: what follows its last mark, without commas."""
    return answer.rpartition(MARK)[2].strip().replace(",", "")


def read_number(text: str) -> str | None:
    """The number right behind the first mark that has one, else the last number of the text; None: it has none.

    Without commas, dollar signs, and zeros alone behind the point.
    """
    marked = FINAL.search(text)
    numbers = [marked[1]] if marked else re.findall(NUMBER, text)
    return re.sub(r"\.0+$", "", re.sub(r"[,$]", "", numbers[-1])) if numbers else None


class GSM8KCode:
    """The answer by a program: `def solution():` with the question as its docstring, completed within 256 tokens, up to
    the stop strings of code. Right if it returns the answer, within a millionth of it or of one."""

    name, version, metric = "gsm8k_code", 1, "pass@1"
    family: Family = "reasoning"

    def items(self, limit: int | None) -> Sequence[Item]:
        """One for each question, in the authors' order. Raises UnavailableError."""
        return [
            Item(str(place), Write(code_prompt(row["question"]), STOPS, MAX_NEW_TOKENS))
            for place, row in spread(rowsets.load(GSM8K), limit)
        ]

    def data(self) -> str:
        """The checksum of the set."""
        return rowsets.checksum_here(GSM8K) or ""

    def score(self, items: Sequence[Item], outputs: Sequence[Output], tools: Tools) -> Iterator[Scored]:
        """1 where the program returns the answer. A sandbox that fails is an error.

        Detail holds the completion as cut, what the sandbox says, how it judged and what shut the program in. Raises
        UnavailableError where programs cannot be run.
        """
        backend = needed_backend(self.name, tools)
        rows = rowsets.load(GSM8K)
        completions = [cut_completion(output, STOPS) for output in outputs if isinstance(output, str)]
        programs = (
            _program(item.id, rows[int(item.id)], completion)
            for item, completion in zip(items, completions, strict=True)
        )
        verdicts = run_programs(programs, tools.limits, tools.workers, backend)
        return score_verdicts(self.name, completions, verdicts, backend, tools.progress)

    def summarize(self, scored: Sequence[Scored], items: Sequence[Item], outputs: Sequence[Output]) -> dict[str, Any]:
        """pass@1, and in which isolation it was found."""
        return summarize_programs(self.metric, scored)


def _program(id_: str, row: dict[str, Any], completion: str) -> Program:
    test = TEST.replace("GOLD", repr(float(gold_of(row["answer"]))))
    source = f"{code_prompt(row['question'])}{completion}\n"
    return Program(id_, source, (test,), entry_point=ENTRY_POINT, trusted=True)


class GSM8KText:
    """The answer by text, zero-shot: `Question: …` and `Answer:`, up to an empty line or the next question, within 256
    tokens. Right if the number read from it (see `read_number`) is the answer's, digit by digit. Of the 1,319 reference
    answers two go on after an empty line."""

    name, version, metric = "gsm8k_text", 1, "exact match"
    family: Family = "reasoning"

    def items(self, limit: int | None) -> Sequence[Item]:
        """One for each question, in the authors' order. Raises UnavailableError."""
        return [
            Item(str(place), Write(text_prompt(row["question"]), TEXT_STOPS, MAX_NEW_TOKENS))
            for place, row in spread(rowsets.load(GSM8K), limit)
        ]

    def data(self) -> str:
        """The checksum of the set."""
        return rowsets.checksum_here(GSM8K) or ""

    def score(self, items: Sequence[Item], outputs: Sequence[Output], tools: Tools) -> Iterator[Scored]:
        """1 where the number is right. Detail holds the number read, null where there is none, and the right one."""
        rows = rowsets.load(GSM8K)
        for item, output in zip(items, outputs, strict=True):
            assert isinstance(output, str)
            number, gold = read_number(cut_completion(output, TEXT_STOPS)), gold_of(rows[int(item.id)]["answer"])
            right = number == gold
            yield Scored("passed" if right else "failed", float(right), {"read": number, "gold": gold})

    def summarize(self, scored: Sequence[Scored], items: Sequence[Item], outputs: Sequence[Output]) -> dict[str, Any]:
        """The share that is right; `without_number` of the answers hold no number and count as wrong."""
        found = proportion(self.metric, scored)
        return found | {"without_number": sum("read" in row.detail and row.detail["read"] is None for row in scored)}
