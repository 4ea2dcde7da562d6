"""The teacher that needs no model, no key and no network: rules and a grammar, deterministic."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, Self, cast

from hornbook.run.workers import ordered_map
from hornbook.teacher.builtin.facets import proposals
from hornbook.teacher.builtin.general import GENERAL_STYLES, write_general
from hornbook.teacher.builtin.grammar import exercise, family_of
from hornbook.teacher.builtin.lessons import AUDIENCES
from hornbook.teacher.builtin.rate import rate_document
from hornbook.teacher.builtin.rate_prose import rate_prose
from hornbook.teacher.builtin.textbook import STYLES, write_section
from hornbook.teacher.parsing import TeacherError
from hornbook.teacher.request import (
    A,
    Answer,
    ExerciseRequest,
    Failure,
    RateRequest,
    Request,
    TextbookRequest,
    TopicsRequest,
    WrittenExercise,
    request_id,
)

DISPLAY_NAME = "builtin (offline rules, not an LLM)"
CHUNK = 64  # requests given to a worker at once: an eighth of a second of exercises, so that the bar keeps moving
FEW = 512  # requests that are answered here: starting workers takes about as long


class BuiltinTeacher:
    """Rates by reading the syntax tree, writes from a grammar of small Python tasks and from
    templates of reasoning, proposes topics from templates."""

    name = DISPLAY_NAME

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing is held."""

    def rehearse(self, requests: Iterable[Request[Any]], total: int) -> None:
        """It costs nothing, and says the same every time."""

    def answers(self, requests: Iterable[Request[A]]) -> Iterator[Answer[A]]:
        """The answers in order, made by as many processes as there is work for."""
        source = iter(requests)
        first = list(islice(source, FEW))
        if len(first) < FEW or self._workers == 1:
            yield from map(answer, chain(first, source))
            return
        rest = chain(first, source)
        chunks: Iterator[list[Request[A]]] = iter(lambda: list(islice(rest, CHUNK)), [])
        for answered in ordered_map(_answer_chunk, chunks, self._workers):
            yield from answered

    def note(self) -> str:
        """It spends nothing."""
        return ""

    def ledger(self) -> Mapping[str, Any]:
        """It costs nothing."""
        return {}


def answer(request: Request[A]) -> Answer[A]:
    """What the rules and the grammar say to one request."""
    asked = request_id(request)
    try:
        return Answer(asked, cast(A, _value(request)))
    except TeacherError as error:
        return Answer(asked, None, Failure(error.reason, error.detail))


def _answer_chunk(requests: list[Request[A]]) -> list[Answer[A]]:
    return [answer(request) for request in requests]


def _value(request: Request[Any]) -> object:
    match request:
        case RateRequest(about="prose"):
            return rate_prose(request.document)
        case RateRequest():
            return rate_document(request.document)
        case TextbookRequest():
            return _section(request)
        case ExerciseRequest():
            return _exercise(request)
        case TopicsRequest():
            return proposals(request.path, request.count, request.known)
    raise TeacherError("unable", f"the built-in teacher does not do `{request.task}`; a language model does")


def _section(request: TextbookRequest) -> str:
    if request.about == "general":
        return _general_section(request)
    family = family_of(request.topic)
    if family is None:
        raise TeacherError("unable", f"the built-in teacher knows no topic `{request.topic}`")
    if request.audience not in AUDIENCES or request.style not in STYLES:
        detail = f"the built-in teacher does not write for `{request.audience}` in `{request.style}`"
        raise TeacherError("unable", detail)
    return write_section(family, request.audience, request.style, request.seed)


def _general_section(request: TextbookRequest) -> str:
    if request.style not in GENERAL_STYLES or len(request.words) != 3:
        raise TeacherError("unable", f"the built-in teacher does not write general knowledge in `{request.style}`")
    noun, verb, adjective = request.words
    path = tuple(request.path.split(" > "))
    return write_general(
        request.topic, path, request.audience, request.style, (noun, verb, adjective), request.seed, request.extract
    )


def _exercise(request: ExerciseRequest) -> WrittenExercise:
    family = family_of(request.topic)
    if family is None:
        raise TeacherError("unable", f"the built-in teacher knows no topic `{request.topic}`")
    if request.difficulty is not None or request.words:
        raise TeacherError("unable", "the built-in teacher knows no grades of difficulty and takes no words")
    if request.name is not None and not request.name.isidentifier():
        raise TeacherError("unable", f"`{request.name}` is no name of a function")
    return exercise(family, request.seed, request.name).exercise
