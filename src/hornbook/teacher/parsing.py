"""From a reply's text to what it says: tolerant of how it is wrapped, strict about what is in it.

Replies are hostile text: they are parsed, never run, and bounded in size and depth.
"""

import ast
import json
import re
import warnings
from collections.abc import Collection
from typing import Annotated, Any, Literal, TypeVar

import json_repair
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

Reason = Literal[
    "no reply", "rejected", "refused", "cut off", "empty", "unparsed", "wrong schema", "another reply", "unable"
]
LONGEST_REPLY = 1 << 20  # characters: a hundred times the longest section
LONGEST_CODE = 1 << 16  # characters of one exercise or one set of tests
# Characters and brackets: the repair takes quadratic time, at worst a second for so many, and hours for a whole reply.
LONGEST_REPAIR, MOST_OPENED = 1 << 13, 128
MOST_OBJECTS = 32  # braces at which an object is looked for
FENCE = re.compile(r"\A\s*```[^`\n]*\n(.*?)\n?```\s*\Z", re.DOTALL)
INDENT = re.compile(r"^[ \t]+", re.MULTILINE)
MARKS = str.maketrans("", "", '*`\\"')  # of Markdown, that may stand around a title or in it

M = TypeVar("M", bound=BaseModel)


class TeacherError(Exception):
    """A reply that cannot be used: no answer, or one that does not parse. Counted as failed, never as a low score."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")
    return value


def whole(text: str) -> str:
    """Without halves of surrogate pairs, which have no place in a file."""
    return text.encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    """A word as it was asked for: models write `Pass`, `did_not_understand` and `fail.`."""
    return " ".join(value.replace("_", " ").strip(" \t\r\n.").casefold().split()) if isinstance(value, str) else value


Score = Annotated[float, BeforeValidator(_no_truth)]
Text = Annotated[str, AfterValidator(whole)]
Verdict = Literal["pass", "fail", "did not understand"]  # phi-1.5's three, of a continuation of an adversarial prompt


class _Reply(BaseModel):
    """A JSON reply. Numbers may come as text; fields nobody asked for are ignored."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class RatingReply(_Reply):
    """The reply to a RateRequest."""

    document: Text
    rationale: Text
    score: Score


class ExerciseReply(_Reply):
    """The reply to an ExerciseRequest."""

    name: Text
    code: Text
    tests: list[Text]


class TestsReply(_Reply):
    """The reply to a TestsRequest."""

    __test__ = False

    name: Text
    tests: list[Text]


class TopicsReply(_Reply):
    """The reply to a TopicsRequest."""

    topic: Text
    topics: list[Text]


class GradeReply(_Reply):
    """The reply to a GradeRequest, and to a ProbeRequest."""

    answer: Text
    assessment: Text
    score: Score


class SafetyReply(_Reply):
    """The reply to a SafetyRequest."""

    continuation: Text
    reason: Text
    verdict: Annotated[Verdict, BeforeValidator(_plain)]


def parse_json(reply: str, schema: type[M]) -> M:
    """The JSON object of a reply, wherever it stands in it.

    Code fences, prose around it, line breaks inside strings and trailing commas are forgiven; a missing field or a
    wrong type is not. Raises TeacherError.
    """
    value = _find_object(_answer_of(reply), schema.model_fields.keys())
    if value is None:
        raise TeacherError("unparsed", "no JSON object in the reply")
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise TeacherError("wrong schema", f"{place}: {first['msg']}") from None


def _answer_of(reply: str) -> str:
    """The reply without what a model thought aloud before it.

    Some chat templates open the thinking themselves, so that the reply holds only its end.
    """
    if len(reply) > LONGEST_REPLY:
        raise TeacherError("unparsed", f"a reply of {len(reply)} characters")
    before, ended, after = reply.partition("</think>")
    thought = ended and not before.lstrip().startswith(("{", "[", "```", "Topic:", "**Topic"))
    text = (after if thought else reply).replace("\r\n", "\n")
    if not text.strip():
        raise TeacherError("empty", "nothing but white space")
    return text


def _find_object(text: str, fields: Collection[str]) -> dict[str, Any] | None:
    """The first object with all the fields, as it stands or as it can be mended; else the first there is."""
    decoder = json.JSONDecoder(strict=False)  # models put line breaks into strings
    found: dict[str, Any] | None = None
    first = start = text.find("{")
    for _ in range(MOST_OBJECTS):
        if start < 0:
            break
        try:
            value: dict[str, Any] = decoder.raw_decode(text, start)[0]
        except (ValueError, RecursionError):
            pass
        else:
            if value.keys() >= set(fields):
                return value
            found = found or value
        start = text.find("{", start + 1)
    mended = _mended(text[first : text.rfind("}") + 1]) if first >= 0 else None
    if mended is not None and mended.keys() >= set(fields):
        return mended
    return found or mended


def _mended(text: str) -> dict[str, Any] | None:
    """The object that a text was meant to be."""
    if not 0 < len(text) <= LONGEST_REPAIR or text.count("{") + text.count("[") > MOST_OPENED:
        return None
    try:
        value = json_repair.loads(text, skip_json_loads=True)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def check_echo(field: str, found: str, asked: str) -> None:
    """Raises TeacherError where a reply repeats something else than what was asked."""
    if " ".join(found.split()).casefold() != " ".join(asked.split()).casefold():
        raise TeacherError("another reply", f"{field} is `{found[:80]}`, asked was `{asked[:80]}`")


def split_section(reply: str, topic: str) -> str:
    """The Markdown of a section without the line `Topic: …` that it begins with. Raises TeacherError."""
    text = _answer_of(reply).strip()
    fenced = FENCE.match(text)
    if fenced and fenced[1].lstrip().startswith(("Topic:", "**Topic")):
        text = fenced[1].strip()
    first, _, rest = text.partition("\n")
    label, colon, named = first.lstrip("# ").translate(MARKS).partition(":")
    if not colon or label.strip().casefold() != "topic":
        raise TeacherError("wrong schema", f"the first line is `{first[:80]}`, not `Topic: {topic[:80]}`")
    check_echo("topic", named, topic.translate(MARKS))
    if not rest.strip():
        raise TeacherError("empty", "a section without text")
    return rest.strip() + "\n"


def split_exercise(code: str, name: str) -> tuple[str, str]:
    """Prompt (imports, signature, docstring) and solution (the indented body) of one function or class.

    Raises TeacherError for what is no Python, holds another definition, or has no docstring or no body.
    """
    source = INDENT.sub(lambda indent: indent[0].expandtabs(4), _source_of(code)).strip("\n") + "\n"
    body = parse_python(source, "the code").body
    *before, last = body or [ast.Pass()]
    if not isinstance(last, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) or last.name != name:
        raise TeacherError("wrong schema", f"the code does not end with the definition of `{name}`")
    if not all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in before):
        raise TeacherError("wrong schema", "something else than imports stands above the definition")
    first, *rest = last.body
    if ast.get_docstring(last) is None or not rest:
        raise TeacherError("wrong schema", f"`{name}` has no docstring" if rest else f"`{name}` has no body")
    end = first.end_lineno or first.lineno
    lines = source.split("\n")  # as Python counts them: a form feed or a line separator ends none
    if rest[0].lineno <= end:
        raise TeacherError("wrong schema", "the body begins on the line of the docstring")
    prompt = "\n".join(lines[:end]).rstrip() + "\n"
    while not lines[end].strip():
        end += 1
    return prompt, "\n".join(lines[end:])


def split_tests(tests: list[str], name: str) -> tuple[str, ...]:
    """The assert statements of a reply, each once. Raises TeacherError for anything else, or for none."""
    if sum(map(len, tests)) > LONGEST_CODE:
        raise TeacherError("unparsed", f"the tests are longer than {LONGEST_CODE} characters")
    found: dict[str, None] = {}
    for text in tests:
        source = _source_of(text)
        for node in parse_python(source, "a test").body:
            if not isinstance(node, ast.Assert):
                raise TeacherError("wrong schema", f"a test is no assert statement: `{source[:80]}`")
            if not any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node)):
                raise TeacherError("wrong schema", f"a test does not use `{name}`: `{source[:80]}`")
            found[_segment(source, node)] = None
    if not found:
        raise TeacherError("empty", "no tests")
    return tuple(found)


def _segment(source: str, node: ast.stmt) -> str:
    """The text of a statement. (`ast.get_source_segment` goes through all of the source in a Python loop each time.)"""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    lines = source.split("\n")[node.lineno - 1 : node.end_lineno]
    lines[-1] = lines[-1].encode()[: node.end_col_offset].decode()  # offsets count bytes
    lines[0] = lines[0].encode()[node.col_offset :].decode()
    return "\n".join(lines)


def parse_python(source: str, what: str) -> ast.Module:
    """The syntax tree of a text from a teacher. Raises TeacherError for what is no Python."""
    if len(source) > LONGEST_CODE:
        raise TeacherError("unparsed", f"{what} is longer than {LONGEST_CODE} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an escape such as \d in a string is the text's affair
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise TeacherError("unparsed", f"{what} is not Python: {error}") from None


def _source_of(text: str) -> str:
    """Python without a code fence, its line ends as Python reads them."""
    fenced = FENCE.match(text)
    return (fenced[1] if fenced else text).replace("\r\n", "\n").replace("\r", "\n")
