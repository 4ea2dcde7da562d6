"""An offline rater of English prose: rules over lines and sentences, deterministic, and no language model.

It answers the question that phi-1's filter asks of code, of a web page: is there something to learn to reason with, or
about the world? Rules cannot tell whether a text is true. They can tell whether it consists of sentences or of links,
markup and boilerplate; whether its sentences can be read; whether it says what things are and why; and whether it can
be read alone.
"""

import re
from collections import Counter
from dataclasses import dataclass
from math import exp, log

from hornbook.teacher.request import Rated

READ_CHARACTERS = 60_000  # of a longer text: some twenty pages
FEWEST_WORDS = 40  # in sentences; below, there is nothing to judge
SENTENCE_WORDS = (8, 26)  # on average, within which sentences are easy to read
LONG_WORD = 7  # letters: their share stands for hard words

FENCE = re.compile(r"^ {0,3}(?:```|~~~)")
RULE = re.compile(r"^[\s=\-~^*_#+.:|]{3,}$")
HEADING = re.compile(r"^ {0,3}#{1,6}\s+\S")
DIRECTIVE = re.compile(r"^\s*(?:\.\.(?:\s|$)|:[\w-]+:|<!--|\[[^\]]+\]:\s)")
ITEM = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s+")
# Repetitions are bounded: a line of 60,000 brackets must not take a minute.
LINK = re.compile(r"https?://\S+|www\.\S+|!?\[[^\]\n]{0,300}\]\([^)\n]{0,500}\)")
LINK_TEXT = re.compile(r"(?<!!)\[([^\[\]\n]{0,300})\]\([^)\n]{0,500}\)|`([^`\n<]{1,300}) <[^>\n]{1,500}>`_+")
MARKUP = re.compile(r"<[^>\n]{1,200}>|[*_`|]{1,3}")
WORD = re.compile(r"[A-Za-z]+(?:['’][a-z]+)?")
SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)]*\s+(?=[A-Z\"“‘(])")
SENTENCE = re.compile(r"^[\"“‘(]*[A-Z0-9].*[.!?][\"'”’)]*$", re.S)
COMMON_WORDS = (
    "the of and to in a is that it for as with be on by are this or an from at not which have can its has was"
)
COMMON = frozenset(COMMON_WORDS.split())
EXPLAINS = re.compile(
    r"\b(?:is|are|was|were) (?:an?|the|called|known|defined|one of)\b|\b(?:means?|refers? to|consists? of|called"
    r"|known as|defined as|that is,|in other words|namely)\b",
    re.I,
)
REASONS = re.compile(
    r"\b(?:because|since|therefore|thus|hence|so that|as a result|due to|causes?|leads? to|why|in order to|depends? on"
    r"|if\b.{3,120}?,|when\b.{3,120}?,|although|however|whereas|unlike|instead)",
    re.I,
)
EXAMPLES = re.compile(
    r"\b(?:for example|for instance|such as|e\.g\.|suppose|imagine|consider|like an?|similar to)", re.I
)
BOILERPLATE = re.compile(
    r"copyright|all rights reserved|licen[cs]ed? under|warrant(?:y|ies)|permission is hereby|privacy policy|terms of"
    r" (?:use|service)|cookies?\b|subscribe|sign up|log in|newsletter|click here|read more|add to cart|free shipping"
    r"|buy now|follow us|share (?:this|on)|posted by|leave a comment|\bpip3? install|npm install|changelog"
    r"|release notes|pull requests?|bug reports?|issue tracker|\bbadge|build status|code of conduct|contributors?\b",
    re.I,
)
NARROW = re.compile(
    r"https?://|\bv?\d+\.\d+(?:\.\d+)?\b|\b(?:this (?:package|project|library|module|release|repository|site|page|blog)"
    r"|see (?:also|below|above|the)|our|we|my)\b",
    re.I,
)


@dataclass(frozen=True, slots=True)
class _Parts:
    """A text taken apart."""

    sentences: list[str]
    prose: int  # characters in sentences
    other: int  # in headings, items that are no sentences, and fragments
    markup: int  # in links, tables, directives and code
    repeated: float  # share of sentences that stand there more than once


def rate_prose(text: str) -> Rated:
    """The rules' score of an English text, from 0 to 5, and the main reasons in one sentence.

    Always answers: what is no prose gets a low score that says so.
    """
    head = text[:READ_CHARACTERS].removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not head.strip():
        return Rated(0.0, "empty text")
    if "\0" in head:
        return Rated(0.0, "contains NUL characters: not a text")
    parts = _take_apart(head)
    words = [word for sentence in parts.sentences for word in WORD.findall(sentence)]
    total = max(1, parts.prose + parts.other + parts.markup)
    if len(words) < FEWEST_WORDS:
        score = round(0.5 * parts.prose / total, 2)
        return Rated(score, f"hardly any sentences: {parts.markup / total:.0%} links, markup, tables or code")
    common = sum(word.lower() in COMMON for word in words) / len(words)
    if common < 0.12:  # English prose has a quarter to a half of such words
        return Rated(0.3, "not English sentences as far as the rules can tell")
    return _judge(parts, words, total)


def _take_apart(text: str) -> _Parts:
    paragraphs: list[list[str]] = [[]]
    other = markup = 0
    in_code = False
    for line in text.split("\n"):
        bare = line.strip()
        size = len(bare)
        if FENCE.match(line):
            in_code = not in_code
            markup += size
            paragraphs.append([])
        elif in_code or DIRECTIVE.match(line) or bare.startswith((">>>", "|", "$ ")):
            markup += size
            paragraphs.append([])
        elif not bare or RULE.match(line):
            paragraphs.append([])
        elif HEADING.match(line):
            other += size
            paragraphs.append([])
        else:
            if ITEM.match(line):
                paragraphs.append([])
            plain = LINK.sub(" ", LINK_TEXT.sub(lambda found: found[1] or found[2] or "", line))
            markup += max(0, size - len(plain.strip()))
            paragraphs[-1].append(ITEM.sub("", MARKUP.sub("", plain)).strip())
    sentences: list[str] = []
    prose = 0
    for lines in paragraphs:
        for piece in SENTENCE_END.split(" ".join(lines)):
            count = len(WORD.findall(piece))
            letters = sum(map(str.isalpha, piece)) + piece.count(" ")
            if count >= 5 and SENTENCE.match(piece.strip()) and letters > 0.85 * len(piece):
                sentences.append(piece.strip())
                prose += len(piece)
            else:
                other += len(piece)
    counted = Counter(sentences)
    repeated = sum(times - 1 for times in counted.values()) / max(1, len(sentences))
    return _Parts(sentences, prose, other, markup, repeated)


def _judge(parts: _Parts, words: list[str], total: int) -> Rated:
    sentences = parts.sentences
    count = len(sentences)
    length = len(words) / count
    shortest, longest = SENTENCE_WORDS
    readable = min(1.0, length / shortest) * min(1.0, (longest / length) ** 1.5)
    readable *= exp(-3.0 * max(0.0, sum(len(word) > LONG_WORD for word in words) / len(words) - 0.22))
    defined = sum(EXPLAINS.search(sentence) is not None for sentence in sentences)
    reasoned = sum(REASONS.search(sentence) is not None for sentence in sentences)
    shown = sum(EXAMPLES.search(sentence) is not None for sentence in sentences)
    explained = min(1.0, (1.0 * defined + 1.6 * reasoned + 2.0 * shown) / count)
    boilerplate = sum(BOILERPLATE.search(sentence) is not None for sentence in sentences)
    narrow = sum(NARROW.search(sentence) is not None for sentence in sentences)
    alone = exp(-3.0 * boilerplate / count) * exp(-1.2 * narrow / count)
    share = parts.prose / total
    in_sentences = min(1.0, share / 0.8) * (1 - parts.repeated)
    enough = min(1.0, log(len(words) / 15) / log(10))  # full from 150 words on
    value = (0.35 * explained + 0.25 * alone + 0.20 * readable + 0.20 * in_sentences) * (0.3 + 0.7 * in_sentences)
    # Measured on the descriptions of installed packages and Python's help topics, and on textbook paragraphs, `value`
    # runs from 0.1 to 0.95; the line below spreads it over 0.3 to 5.
    score = min(5.0, max(0.3, (5.6 * value - 0.3) * (0.4 + 0.6 * enough)))
    good = {
        "explained": f"{defined} of {count} sentences define and {reasoned} give reasons",
        "alone": "can be read alone",
        "readable": f"sentences of {length:.0f} words on average",
        "in sentences": f"{share:.0%} of it are sentences",
    }
    bad = {
        "explained": "little is explained",
        "alone": f"{boilerplate} sentences of boilerplate, and {narrow} tied to a project, a version or a page",
        "readable": f"hard to read: {length:.0f} words a sentence, or many long words",
        "in sentences": f"only {share:.0%} of it are sentences of its own",
    }
    traits = {"explained": explained, "alone": alone, "readable": readable, "in sentences": in_sentences}
    ranked = sorted(traits, key=lambda name: -traits[name])
    for_it = [good[name] for name in ranked if traits[name] >= 0.6][:2]
    against = [bad[name] for name in reversed(ranked) if traits[name] < 0.45][:2]
    reasons = "; ".join(for_it) + (" — but " if for_it and against else "") + "; ".join(against)
    return Rated(round(score, 2), reasons or "average in every respect")
