"""An offline rater of Python files: rules over the syntax tree, deterministic, and no language model.

It answers the paper's question, the "educational value for a student whose goal is to learn basic coding concepts"
(phi-1, section 2.1), from 0 to 5. What counts follows the paper's account of raw code (section 2): can it be read
alone, is it documented, does it compute something, and is it short enough to read; or is it boilerplate, generated, a
table of data, a test, a list of settings.
"""

import ast
import re
import warnings
from collections.abc import Iterable
from math import exp, log2
from statistics import fmean

from hornbook.teacher.builtin.syntax import Block, Outline, read_outline
from hornbook.teacher.request import Rated

MAX_CHARACTERS = 200_000  # a longer file is no reading material, and its tree would take seconds
LESSON_LINES = (4, 30)  # a function within these bounds is read at one sitting
GENERATED = re.compile(
    r"do not (?:edit|modify)|auto-?\s?(?:matically )?generated|machine[- ]generated|@generated"
    r"|(?:this (?:file|module)|file) (?:was|is|has been) [\w ]{0,20}generated|generated (?:by|from|with|using|on) ",
    re.I,
)
TEST_NAME = re.compile(r"^test|Tests?$|^setUp|^tearDown")
LICENCE = re.compile(r"copyright|licen[cs]e|all rights reserved|spdx|warrant(?:y|ies)", re.I)
PYTHON_2 = re.compile(r"^[ \t]*(?:print\s+[\"'\w%]|except\s+[\w.()]+\s*,\s*\w+\s*:|exec\s+[\"'\w])", re.M)
TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|<%.*?%>|\$\{\w+\}")


def rate_document(text: str) -> Rated:
    """The rules' score of a Python file, from 0 to 5, and the main reasons in one sentence.

    Always answers: what cannot be parsed gets a fixed low score that says so.
    """
    text = text.removeprefix("\ufeff")
    if not text.strip():
        return Rated(0.0, "empty file")
    if "\0" in text:
        return Rated(0.0, "contains NUL characters: not Python source")
    if len(text) > MAX_CHARACTERS:
        return Rated(0.5, f"{len(text):,} characters: too long to be read as a lesson")
    lines = text.split("\n")
    longest = max(map(len, lines))
    if longest > 2_000 or len(text) / len(lines) > 200:
        return Rated(0.2, f"minified or packed: a line of {longest:,} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in the document are no business of ours
            tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return _unparsed(text)
    except (RecursionError, MemoryError):
        return Rated(0.2, "nested too deeply to be parsed: not written for a reader")
    return _judge(read_outline(tree), lines)


def _unparsed(text: str) -> Rated:
    if PYTHON_2.search(text):
        return Rated(0.5, "does not parse: Python 2 syntax")
    if TEMPLATE.search(text):
        return Rated(0.3, "does not parse: a template with placeholders")
    return Rated(0.3, "does not parse as Python")


def _judge(outline: Outline, lines: list[str]) -> Rated:
    verdict = _not_a_lesson(outline, lines)
    return verdict if verdict is not None else _as_a_lesson(outline, lines)


def _not_a_lesson(outline: Outline, lines: list[str]) -> Rated | None:
    """A score for the kinds of file that teach nothing whatever their style."""
    code_lines = sum(1 for line in lines if line.strip() and not line.lstrip().startswith("#"))
    functions, outside = outline.functions, outline.outside
    statements = outside.statements + sum(block.statements for block in functions)
    data = outside.data_lines + sum(block.data_lines for block in functions)
    share = min(1.0, data / max(1, code_lines))
    head = "\n".join(line for number, line in enumerate(lines[:80]) if number < 15 or line.startswith("#"))
    if GENERATED.search(head):
        table = f": {share:.0%} of lines are a data table" if share > 0.5 else ""
        return Rated(0.3, f"generated file{table}")
    if not statements and not outline.imports and not functions and not outline.classes:
        what = "licence text" if LICENCE.search("\n".join(lines)) else "comments or docstrings"
        return Rated(0.1, f"no code, only {what}")
    if share > 0.5:
        return Rated(round(0.6 * (1 - share) + 0.2, 2), f"{share:.0%} of lines are a data table or embedded text")
    test_functions = sum(bool(TEST_NAME.search(block.name)) for block in functions)
    asserts = outside.asserts + sum(block.asserts for block in functions)
    if test_functions > 0.4 * len(functions) or asserts > 0.25 * max(8, statements):
        return Rated(0.9, "a test module: checks other code rather than explaining an idea")
    if not functions:
        return _without_functions(outline, statements)
    stubs = sum(block.statements <= 1 and not (block.arithmetic or block.comprehensions) for block in functions)
    if stubs > 0.85 * len(functions):
        return Rated(0.9, f"boilerplate: {stubs} of {len(functions)} functions hold at most one plain statement")
    return None


def _without_functions(outline: Outline, statements: int) -> Rated | None:
    if outline.classes and outline.class_fields + 2 >= statements:
        return Rated(0.7, f"declarations only: {outline.classes} classes without methods")
    plain = f"{outline.plain_assignments} plain assignment" + "s" * (outline.plain_assignments != 1)
    imported = f"{outline.imports} import" + "s" * (outline.imports != 1)
    if outline.imports >= statements - outline.plain_assignments and outline.imports >= outline.plain_assignments:
        return Rated(0.2, f"re-exports: {imported} and nothing defined")
    if outline.plain_assignments > 0.6 * statements:
        return Rated(0.4, f"configuration: {plain} and no functions")
    if not outline.outside.loops and not outline.outside.comprehensions:
        return Rated(0.8, "a script of statements without functions or loops")
    return None


def _as_a_lesson(outline: Outline, lines: list[str]) -> Rated:
    """Weighs the functions by their length, then the file around them."""
    total_lines = len(lines)
    functions = outline.functions or [_script(outline, total_lines)]
    weights = [min(block.lines, 80) for block in functions]  # one giant function must not be the whole verdict
    alone = _weighted((_self_contained(block) for block in functions), weights)
    logic = _weighted((_logic(block) for block in functions), weights)
    documented = _weighted((_documented(block) for block in functions), weights)
    plain = _weighted((_plain(block) for block in functions), weights)
    readable = _weighted((_readable_length(block) for block in functions), weights)

    comments = sum(line.lstrip().startswith("#") for line in lines) / max(1, total_lines)
    explained = 0.75 * documented + 0.15 * min(1.0, outline.doc_words / 40) + 0.10 * min(1.0, comments / 0.08)
    at_home = 1 - outline.foreign_imports / max(3, outline.imports + 1)  # share of imports a beginner can follow
    basic = max(0.0, 1 - 0.12 * outline.advanced_imports) * plain
    length = min(1.0, total_lines / 25) * min(1.0, 1.1 - 0.18 * max(0.0, log2(total_lines / 200)))
    covered = min(1.0, sum(block.lines for block in outline.functions) / max(1, 0.5 * total_lines))

    value = (
        0.25 * (0.6 * alone + 0.4 * at_home) + 0.30 * logic + 0.23 * explained + 0.12 * basic + 0.10 * readable
    ) * (0.55 + 0.3 * length + 0.15 * covered)
    # Measured on installed packages, `value` runs from 0.15 to 0.9; the line below spreads it over 0.5 to 5.
    score = min(5.0, max(0.5, 6.6 * value - 0.7))
    traits = {
        "self-contained": 0.6 * alone + 0.4 * at_home,
        "logic": logic,
        "explained": explained,
        "basic": basic,
        "readable": readable,
    }
    return Rated(round(score, 2), _reasons(traits, outline, functions, total_lines))


def _script(outline: Outline, total_lines: int) -> Block:
    block = outline.outside
    block.lines = total_lines
    block.doc_words = outline.doc_words
    return block


def _weighted(values: Iterable[float], weights: list[int]) -> float:
    total = sum(weights)
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / total if total else 0.0


def _self_contained(block: Block) -> float:
    """1 for a function of its arguments; less with every name of the project and every use of an object's state."""
    state = block.self_uses + 2 * block.self_stores
    return exp(-0.45 * len(block.foreign)) * exp(-2.0 * state / max(4, block.statements * 2))


def _logic(block: Block) -> float:
    """How much is computed, as loops, decisions and arithmetic; one loop with a decision and two sums is about 0.7."""
    amount = 2.5 * block.loops + 1.2 * block.branches + 2.0 * block.comprehensions + 0.5 * block.arithmetic
    amount *= 1.0 if block.returns else 0.7
    density = amount / max(4, block.statements)
    return (1 - exp(-amount / 4.5)) * min(1.0, 0.3 + density)


def _documented(block: Block) -> float:
    return min(
        1.0, (0.45 if block.doc_words >= 3 else 0.0) + 0.5 * min(1.0, block.doc_words / 25) + 0.25 * block.has_example
    )


def _plain(block: Block) -> float:
    return exp(-2.5 * block.advanced / max(6, block.statements))


def _readable_length(block: Block) -> float:
    shortest, longest = LESSON_LINES
    body = block.lines - block.doc_words // 10  # a long docstring does not make a function hard to read
    return min(1.0, body / shortest) if body < longest else max(0.1, (longest / body) ** 0.8)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count or 'no'} {noun}s"


def _reasons(traits: dict[str, float], outline: Outline, functions: list[Block], total_lines: int) -> str:
    """The two strongest and the two weakest traits in words; weak ones only where they are weak."""
    documented = sum(block.doc_words >= 3 for block in functions)
    loops = sum(block.loops + block.comprehensions for block in functions)
    branches = sum(block.branches for block in functions)
    good = {
        "self-contained": "no project imports" if not outline.foreign_imports else "mostly self-contained functions",
        "logic": _counted(loops, "loop") + " and " + _counted(branches, "condition"),
        "explained": f"{documented} of {len(functions)} functions documented",
        "basic": "only basic constructs",
        "readable": f"short functions ({fmean(block.lines for block in functions):.0f} lines on average)",
    }
    bad = {
        "self-contained": f"leans on {outline.foreign_imports} project imports or on object state",
        "logic": "little is computed",
        "explained": f"{documented} of {len(functions)} functions documented",
        "basic": "reflection, system modules or other machinery",
        "readable": "functions too long or too short to read as examples",
    }
    ranked = sorted(traits, key=lambda name: -traits[name])
    for_it = [good[name] for name in ranked if traits[name] >= 0.6][:2]
    against = [bad[name] for name in reversed(ranked) if traits[name] < 0.45][:2]
    if total_lines > 800:
        against.append(f"{total_lines:,} lines long")
    return (
        "; ".join(for_it) + (" — but " if for_it and against else "") + "; ".join(against) or "average in every respect"
    )
