"""The offline rater of prose against texts whose order a teacher would defend."""

import pydoc_data.topics
import time

import pytest

from hornbook.teacher.builtin.rate_prose import READ_CHARACTERS, rate_prose
from hornbook.teacher.builtin.teacher import answer
from hornbook.teacher.request import RateRequest

LESSON = """# Why the Moon has phases

The Moon gives no light of its own. It is a ball of rock that reflects the light of the Sun, so half of it is always
bright. The Moon goes around the Earth once in about a month. When it stands between us and the Sun, its bright half
faces away from us, and we cannot see it at all. This is called the new moon.

A few days later we see a thin part of the bright half, because the Moon has moved a little to the side. For example,
hold a ball near a lamp in a dark room and turn slowly on the spot. The ball shows a thin curve of light at first, then
half of its face, and then all of it. The ball has not changed. Only the place from which we look has changed.

Therefore the shadow of the Earth has nothing to do with the phases. If the Earth's shadow does fall on the Moon, we
see an eclipse, which is a different and much rarer event.
"""
PLAIN = """The club met on Tuesday evening in the old hall. Eleven members came, and the chair opened the meeting. The
minutes were read and accepted. Mr Hall reported on the roof, and Mrs Lee spoke for some minutes about the garden. The
members thanked both of them. A vote was taken on the new chairs, and eight members voted in favour. Tea was served at
nine. The next meeting will take place in March. The chair closed the meeting at ten, and everybody went home early.
"""
README = """# fastlib

[![build](https://ci.example/b.svg)](https://ci.example/b) [![pypi](https://img.example/p.svg)](https://img.example/p)

Our package is licensed under the MIT licence. See the documentation at https://docs.example for this project. You can
install this package with pip install fastlib. Please open pull requests in this repository for version 2.1.0.

## Links

- [Documentation](https://docs.example)
- [Changelog](https://docs.example/changes)
- [Issues](https://docs.example/issues)

```
pip install fastlib
fastlib --help
```
"""
MENU = "\n".join(f"- [Page {number}](https://site.example/{number})" for number in range(60))


def test_a_lesson_is_above_a_record_above_a_readme_above_a_menu():
    ordered = [rate_prose(text).score for text in (LESSON, PLAIN, README, MENU)]
    assert ordered == sorted(ordered, reverse=True)
    assert len(set(ordered)) == 4
    assert ordered[0] >= 4.5
    assert ordered[2] < 1.2
    assert ordered[3] < 0.5
    assert "little is explained" in rate_prose(PLAIN).rationale


@pytest.mark.parametrize(
    ("text", "most", "reason"),
    [
        ("", 0.0, "empty"),
        ("a\0b", 0.0, "NUL"),
        (MENU, 0.5, "hardly any sentences"),
        ("|a|b|\n|-|-|\n" + "|1|2|\n" * 99, 0.5, "hardly any sentences"),
        ("def f(x):\n    return x + 1\n" * 60, 0.5, "hardly any sentences"),
        (
            "Der Mond scheint nicht von selbst. Er wirft das Licht der Sonne zurück, wie ein Spiegel. " * 9,
            0.5,
            "English",
        ),
        (
            "We use cookies on this site. Subscribe to our newsletter and follow us to read more today. " * 9,
            1.0,
            "boiler",
        ),
    ],
)
def test_what_is_no_lesson_scores_low_and_says_why(text, most, reason):
    rated = rate_prose(text)
    assert rated.score <= most
    assert reason in rated.rationale


def test_repetition_and_loss_of_reasons_cost():
    assert rate_prose(PLAIN * 12).score < rate_prose(PLAIN).score
    without = LESSON.replace("because", "and").replace("For example,", "Now").replace("Therefore", "And")
    assert rate_prose(without).score < rate_prose(LESSON).score


def test_the_same_text_in_markup_of_its_own_keeps_its_score():
    linked = LESSON.replace("the Sun, so", "[the Sun](https://sun.example/a_b), so").replace(
        "a ball of rock", "**a ball** of rock"
    )
    assert rate_prose(linked).score == pytest.approx(rate_prose(LESSON).score, abs=0.4)
    assert rate_prose("\ufeff" + LESSON.replace("\n", "\r\n")) == rate_prose(LESSON)


def test_help_topics_that_explain_are_above_those_that_list():
    topics = pydoc_data.topics.topics
    assert rate_prose(topics["booleans"]).score > 4
    assert rate_prose(topics["operator-summary"]).score < 3


@pytest.mark.parametrize(
    "piece", ["[", "`<", "![", "(", "if ", "! ", ".) ", "<", "*", "A", "A. ", "http://", "- ", "\n", "\udc80"]
)
def test_a_hostile_text_gets_its_answer_soon(piece):
    started = time.perf_counter()
    rated = rate_prose(piece * (READ_CHARACTERS // len(piece)))
    assert 0 <= rated.score <= 5
    assert rated.rationale
    assert time.perf_counter() - started < 5


def test_the_builtin_teacher_reads_by_what_it_is_asked_about():
    assert answer(RateRequest(LESSON, "s", "prose")).value == rate_prose(LESSON)
    assert answer(RateRequest(LESSON, "s")).value.rationale == "does not parse as Python"
