"""The built-in general textbooks: what they work out is worked out again here."""

import itertools
import re
from dataclasses import replace
from functools import cache

from hornbook.records import Topic
from hornbook.synthesize.sampling import section_requests
from hornbook.synthesize.textbooks import overlap_with
from hornbook.synthesize.topic_tree import read_words
from hornbook.teacher.builtin.facets import kinds_by_path
from hornbook.teacher.builtin.general import GENERAL_STYLES, NAMES
from hornbook.teacher.builtin.general_lessons import RELATIONS
from hornbook.teacher.builtin.teacher import answer

EQUATION = re.compile(r"(\d+(?: [+×÷−] \d+)+) = (\d+)")
CLOCK = re.compile(r"(\d\d):(\d\d) \+ (\d+) minutes = (\d\d):(\d\d)")
PERSON = "|".join(NAMES)
CLUE = re.compile(rf"\b({PERSON}) ([a-z][^.]*?) ({PERSON})\.")
EXTRACT = (
    "The herring, a silver fish, swims in shoals. Herring eat plankton; herring are eaten by seals.\n$x @t @n {y}\n" * 3
)


@cache
def sections(count, *extracts):
    request_of = section_requests("builtin", "general", (), extracts)
    return [(request, answer(request).value) for request in (request_of(5, number) for number in range(count))]


def of_style(name, count=600):
    found = [(request, text) for request, text in sections(count) if request.style == name]
    assert len(found) > count / 12
    return found


def test_every_equation_holds():
    seen = 0
    for _, text in sections(600):
        for left, right in EQUATION.findall(text):
            value = eval(left.replace("×", "*").replace("÷", "/").replace("−", "-"))
            assert value == int(right), text
            seen += 1
        for hour, minute, added, then_hour, then_minute in CLOCK.findall(text):
            end = 60 * int(hour) + int(minute) + int(added)
            assert divmod(end, 60) == (int(then_hour), int(then_minute)), text
            seen += 1
    assert seen > 800


def test_the_clues_of_a_puzzle_fix_one_order_and_it_is_the_one_given():
    signs = {}
    for before, after, _, _ in RELATIONS:
        signs[before], signs[after] = 1, -1
    for request, text in of_style("template: ordering puzzle"):
        told = text.split("\n\n")[2]
        clues = [(one, other)[:: signs[said.replace(request.topic, "@t")]] for one, said, other in CLUE.findall(told)]
        assert len(clues) == 3, told
        people = sorted({name for pair in clues for name in pair})
        assert len(people) == 4
        fit = [
            order
            for order in itertools.permutations(people)
            if all(order.index(one) < order.index(two) for one, two in clues)
        ]
        assert len(fit) == 1
        assert ", ".join(fit[0]) in text


def test_the_odd_one_is_the_one_of_another_root():
    home = {path[2]: path[:2] for path in kinds_by_path() if len(path) == 3}
    for _, text in of_style("template: odd one out"):
        (odd,) = re.findall(r"So the odd one out is this: (.*)\.\n", text)
        shown = re.search(r"[:.] ([^:.]+(?:; [^;.]+){3})\.", text)[1].split("; ")
        others = [home[leaf] for leaf in shown if leaf != odd]
        assert len(set(others)) == 1, text
        assert len(others) == 3
        assert home[odd][0] != others[0][0]


def test_sections_read_like_text_and_say_that_they_are_templates():
    words = read_words()
    for request, text in [*sections(600), *sections(200, EXTRACT)]:
        assert request.style in GENERAL_STYLES
        assert request.style.startswith("template: ")
        assert request.audience in words.audiences
        assert 90 <= len(re.findall(r"\w+", text)) <= 420, text
        assert re.match(r"# \S", text)
        assert request.topic.casefold() in text.split("\n")[0].casefold()
        assert sum(f"“{word}”" in text for word in request.words) == 3, text
        assert not re.search(r"@\w|  +\S|\n\n\n| \.| ,|\.\.|[.!?] [a-z]", text), text


def test_no_two_sections_are_alike():
    """Near-duplicates share 0.7 of their word 5-grams; of 2,000 sections there were none. Here no two share half."""
    grams = []
    for _, text in sections(600)[:150]:
        words = text.lower().split()
        grams.append({hash(tuple(words[place : place + 5])) for place in range(len(words) - 4)})
    closest = max(len(one & other) / len(one | other) for one, other in itertools.combinations(grams, 2))
    assert closest < 0.5


def test_an_extract_is_counted_and_not_copied():
    for _, text in sections(200, EXTRACT):
        assert overlap_with(text, EXTRACT) == 0
        assert "“herring”" in text
        assert "9 times" in text
        assert "60 words" in text
    for extract in ("1 2 3", "```python\nx\n```", "<script>alert(1)</script>", "\udc80"):
        for _, text in sections(6, extract):
            assert "<" not in text
            assert "```" not in text
            text.encode()


def test_topics_of_ones_own_and_of_the_tree():
    own = Topic("0" * 32, "how our bakery works", "how our bakery works", 1, "own", "")
    below = Topic(
        "1" * 32,
        "what causes friction",
        "natural sciences > forces and motion > friction > what causes friction",
        3,
        "t",
        "",
    )
    for topic, known in ((own, False), (below, True)):
        request_of = section_requests("builtin", "general", (topic,), ())
        texts = [answer(request_of(1, number)).value for number in range(60)]
        assert len(set(texts)) == 60
        assert all(topic.title in text for text in texts)
        assert any("forces and motion" in text for text in texts) == known


def test_a_style_it_does_not_know_is_refused():
    request = section_requests("builtin", "general", (), ())(1, 1)
    assert answer(replace(request, style="a sonnet")).failure.reason == "unable"
