"""What the teachers will be asked, and what it costs, before anything is asked."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hornbook.errors import UserError
from hornbook.plan.sets import EXERCISE_BYTES, SECTION_BYTES, Manifests
from hornbook.prompts.load import read_prompt
from hornbook.recipe import (
    BUILTIN,
    AnnotateConfig,
    HourPrice,
    LanguageModel,
    Recipe,
    TeacherConfig,
    TextbooksConfig,
    TokenPrice,
)
from hornbook.teacher.budget import rates_of
from hornbook.teacher.journal import PICO
from hornbook.teacher.request import prompt_of_section

BYTES_PER_TOKEN = 4.0  # of a prompt or a reply, English and Python mixed
DOCUMENT_BYTES: Mapping[str, int] = {
    "code": 6000,
    "prose": 3000,
}  # a mean document: assumed of The Stack and RefinedWeb
FIELD_TOKENS = 60  # of what is filled into a prompt (topic, reader, style, words), and of a chat's own marks
EXTRACT_TOKENS = 375  # 1,500 characters
RATING_TOKENS = 90  # a rationale of one or two sentences in JSON
EXERCISE_TOKENS = round(EXERCISE_BYTES / BYTES_PER_TOKEN) + 150  # with three to six tests in JSON
TESTS_TOKENS = 160  # four to six of them
TITLE_TOKENS = 10


@dataclass(frozen=True, slots=True)
class TeacherCost:
    """What one step asks of its teacher."""

    step: str
    teacher: str
    done: bool  # bought already: the numbers are those of its ledger
    requests: int
    prompt_tokens: int
    reply_tokens: int
    reply_tokens_at_most: int  # every reply as long as max_tokens lets it be
    usd: float | None  # None: no price is known, or it goes by the hour
    usd_at_most: float | None
    basis: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """Requests of one step to a language model."""

    step: str
    model: LanguageModel
    requests: int
    prompt_tokens: int  # of each
    reply_tokens: int
    basis: str


def teacher_costs(recipe: Recipe, done: Manifests) -> list[TeacherCost]:
    """Every step whose teacher is a language model, in the order of the pipeline. The built-in one costs nothing."""
    return [_cost(recipe, asked, done) for asked in _asked(recipe)]


def _cost(recipe: Recipe, asked: _Asked, done: Manifests) -> TeacherCost:
    name, most = asked.model.model.removeprefix("openai:"), asked.model.max_tokens
    if asked.step in done:
        ledger = done[asked.step].get("timing", {}).get("ledger", {})
        return TeacherCost(
            step=asked.step,
            teacher=name,
            done=True,
            requests=ledger.get("requests_sent", 0),
            prompt_tokens=ledger.get("prompt_tokens", 0),
            reply_tokens=ledger.get("completion_tokens", 0),
            reply_tokens_at_most=ledger.get("completion_tokens", 0),
            usd=ledger.get("usd", 0.0),
            usd_at_most=ledger.get("usd", 0.0),
            basis="bought: its ledger",
        )
    prompt, reply = asked.requests * asked.prompt_tokens, asked.requests * min(asked.reply_tokens, most)
    usd, usd_at_most, price = _usd(recipe, asked.model, prompt, reply, asked.requests * most)
    return TeacherCost(
        step=asked.step,
        teacher=name,
        done=False,
        requests=asked.requests,
        prompt_tokens=prompt,
        reply_tokens=reply,
        reply_tokens_at_most=asked.requests * most,
        usd=usd,
        usd_at_most=usd_at_most,
        basis=f"{asked.basis}; {price}",
    )


def _usd(
    recipe: Recipe, model: LanguageModel, prompt: int, reply: int, reply_at_most: int
) -> tuple[float | None, float | None, str]:
    """Dollars, dollars at most, and what they stand on."""
    name = model.model.removeprefix("openai:")
    price = recipe.machine.teacher.prices.get(name)
    if isinstance(price, HourPrice):
        return None, None, f"${price.hour_usd:g} an hour, and how many hours its server's speed decides"
    try:
        rates = rates_of(model, recipe.machine.teacher)
    except UserError:
        return None, None, f"no price: give machine.teacher.prices.{name}"
    costs = [(prompt * rates.prompt + tokens * rates.completion) / PICO for tokens in (reply, reply_at_most)]
    told = "this machine's own server, free"
    if isinstance(price, TokenPrice):
        told = f"machine.teacher.prices; in a batch file {price.batch_share:.0%} of that"
    return costs[0], costs[1], told


def _asked(recipe: Recipe) -> Iterator[_Asked]:
    if "filtered" in recipe.trained_sets:
        yield from _rating("annotate", recipe.annotate)
    if recipe.web is not None and "web" in recipe.trained_sets:
        yield from _rating("annotate.web", recipe.web.annotate)
    sets = recipe.trained_sets
    if recipe.topics is not None and any(
        asked is not None and asked.about == "general" and name in sets
        for name, asked in (("textbooks", recipe.textbooks), ("general_textbooks", recipe.general_textbooks))
    ):
        yield from _topics(recipe.topics.teacher, recipe.topics.count)
    if recipe.textbooks is not None and "textbooks" in sets:
        yield from _sections("textbooks", recipe.textbooks)
    if recipe.general_textbooks is not None and "general_textbooks" in sets:
        yield from _sections("textbooks.general", recipe.general_textbooks)
    if recipe.exercises is not None and "exercises" in sets:
        asked, model = recipe.exercises, recipe.exercises.teacher
        if isinstance(model, LanguageModel):
            prompt = _template("exercise")
            basis = "exercises.count, none asked twice"
            yield _Asked("exercises", model, asked.count, prompt, EXERCISE_TOKENS, basis)
            if asked.test_sets > 1:
                prompt = _template("tests") + round(EXERCISE_BYTES / 2 / BYTES_PER_TOKEN)
                requests, basis = asked.count * (asked.test_sets - 1), "exercises.count × (test_sets - 1)"
                yield _Asked("independent_tests", model, requests, prompt, TESTS_TOKENS, basis)


def _rating(step: str, asked: AnnotateConfig) -> Iterator[_Asked]:
    if asked.teacher == BUILTIN or not isinstance(asked.teacher, LanguageModel):
        return
    seen = min(DOCUMENT_BYTES[asked.about], asked.max_characters or DOCUMENT_BYTES[asked.about])
    prompt = _template("rate" if asked.about == "code" else "rate_prose") + round(seen / BYTES_PER_TOKEN)
    basis = f"{asked.sample:,} documents of {seen:,} bytes on average"
    yield _Asked(step, asked.teacher, asked.sample, prompt, RATING_TOKENS, basis)


def _topics(model: TeacherConfig, count: int) -> Iterator[_Asked]:
    if not isinstance(model, LanguageModel):
        return
    from hornbook.synthesize.topic_tree import LONGEST_LIST, SPARE, leaves_of, read_taxonomy

    seeds = read_taxonomy()
    titles = max(0, count - len(seeds)) * SPARE
    requests = max(len(leaves_of(seeds)) if titles else 0, math.ceil(titles / LONGEST_LIST))
    reply = round(titles * TITLE_TOKENS / max(requests, 1))
    basis = f"topics.count less {len(seeds):,} seeds, in lists of at most {LONGEST_LIST}"
    yield _Asked("topics", model, requests, _template("topics") + reply, reply, basis)


def _sections(step: str, asked: TextbooksConfig) -> Iterator[_Asked]:
    if not isinstance(asked.teacher, LanguageModel):
        return
    prompt = _template(prompt_of_section(asked.about, asked.extracts is not None))
    prompt += EXTRACT_TOKENS if asked.extracts is not None else 0
    reply = round(SECTION_BYTES[asked.about] / BYTES_PER_TOKEN)
    yield _Asked(step, asked.teacher, asked.count, prompt, reply, f"{asked.count:,} sections, none asked twice")


def _template(name: str) -> int:
    """Tokens of a prompt without what is long in it."""
    return round(len(read_prompt(name)) / BYTES_PER_TOKEN) + FIELD_TOKENS
