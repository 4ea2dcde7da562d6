"""Textbook sections of general knowledge without a language model: templates that practise reasoning on a topic.

Rules know no facts about the world, so a section states none but where its topic stands in the taxonomy. What it
teaches is how to think: to count, compare, order, plan, test and doubt, in a scene about the topic; and every number,
order and conclusion in it is worked out, so that it is right. What it says of an extract is counted in the extract. The
names of the styles begin with `template`, so that no row of a data set passes for a model's work.
"""

import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from random import Random

from hornbook.teacher.builtin.facets import kinds_by_path, propose_topics
from hornbook.teacher.builtin.general_lessons import fair_test, odd_one_out, ordering
from hornbook.teacher.builtin.general_plans import logic, plan
from hornbook.teacher.builtin.general_problems import Leaf, Scene, choose, word_problem

LESSONS: dict[str, Callable[[Random, Scene], list[str]]] = {
    "template: word problem": word_problem,
    "template: ordering puzzle": ordering,
    "template: odd one out": odd_one_out,
    "template: fair test": fair_test,
    "template: plan with times": plan,
    "template: what follows": logic,
}
GENERAL_STYLES = tuple(LESSONS)

# fmt: off
NAMES = (
    "Ada", "Amir", "Anna", "Ben", "Bilal", "Carla", "Chen", "Dora", "Elif", "Emeka", "Eva", "Farid", "Finn", "Grace",
    "Hana", "Hugo", "Ines", "Ivan", "Jana", "Jonas", "Kaito", "Kofi", "Lara", "Leo", "Lin", "Maya", "Mina", "Nils",
    "Noor", "Olga", "Omar", "Pia", "Priya", "Rosa", "Sami", "Sofia", "Tariq", "Tess", "Tomas", "Uma", "Vera", "Yara",
    "Yusuf", "Zoe",
)
# fmt: on
TITLES = (
    "Thinking about @t",
    "A lesson around @t",
    "Careful reasoning: @t",
    "@T: a problem and its solution",
    "What we can work out about a project on @t",
    "Practice in reasoning, with @t",
    "@T, and how to think clearly",
    "One problem on the way to @t",
)  # fmt: skip
OPENINGS = (
    "This lesson is for @a. It uses a project about @t to practise one thing: saying how we know what we say.",
    "Nobody needs to know much about @t to follow this page, and @a will need nothing but patience.",
    "A good way to start with @t is a small problem that can be solved completely. This one was made for @a.",
    "Facts about @t fill whole books. Here we practise what comes before the facts, in a way that suits @a.",
    "When we learn about @t, we soon meet numbers, orders and claims. Let us look at one case slowly, as @a would.",
    "Who wants to find out more about @t has one thing to learn first: how to reach a conclusion safely. Think of @a.",
    "Every subject has its puzzles, and a project about @t is no exception. The reader we have in mind is @a.",
    "Here is a short scene from a project about @t. Read it as @a would: slowly, with a pencil at hand.",
)
PLACES = (
    "In a library, books about @l would stand in the part on @r, on the shelf marked “@b”.",
    "The subject belongs to @b, which is a branch of @r.",
    "If knowledge is a tree, then @r is one of its great limbs, @b grows from it, and our subject is a leaf there.",
    "Somebody who asks about @l is asking about @b, and so about @r.",
    "On a map of all subjects we would look under @r first, then under @b, and there we would find @l.",
)
MORALS = (
    "What should stay with us is the method: write down what is given, say what is wanted, and go in small steps.",
    "The answer matters less than the way to it, because the same way leads through many other problems.",
    "Notice that no step needed a guess. Each one followed from something that was written down before it.",
    "If a result surprises you, go back and look for the first step you cannot explain. That is where to work.",
    "It helps to check the result in a second way, since two different ways rarely go wrong in the same manner.",
    "A conclusion is only as strong as the weakest step behind it, so each step deserves a reason of its own.",
    "Explain the solution to somebody else. Where you hesitate, there is something left to understand.",
    "Now change one number or one name in the story, and see which steps change with it and which do not.",
)
TASKS = (
    "To end with, write three sentences about @t. Use the words “@n”, “@v” and “@j” in them.",
    "A task for tomorrow: tell a short story about @t in which the words “@n”, “@v” and “@j” occur.",
    "Can you invent a similar problem about @t? Let the words “@n”, “@v” and “@j” be part of it.",
    "Write a letter of five lines about @t to a friend, and find a place in it for “@n”, “@v” and “@j”.",
    "Draw a picture about @t, and give it a title that contains “@n”, “@v” or “@j”.",
)
QUESTIONS = (
    "Some questions for later: @q.",
    "Those who want to go on may ask about @q.",
    "From here the way leads on to other pages: @q.",
    "Which of these would you look up first: @q?",
)
READINGS = (
    "This section began with a page of somebody else's text. It has @w words, and “@x” is there @c. A word that comes "
    "back so often is a hint at what a text is about, although it is no proof.",
    "Before we started, we looked at a real text and counted. Among its @w words, “@x” stands @c. Counting is a humble "
    "way to read, but it does not flatter anybody: two readers who count will agree.",
    "Take any page and ask which longer word it repeats most. On the page beside us, of @w words, it is “@x”, which "
    "occurs @c. From that alone we may guess the subject, and then read on to see whether the guess was good.",
)  # fmt: skip
MORE_WORDS = (
    "Other words of that page are @m; look up one of them that you could not explain.",
    "The page also speaks of @m. How might these words belong together?",
    "Further down it has @m, and each of these deserves a sentence of its own.",
)
LONG_WORD = re.compile(r"\b[A-Za-z][a-z]{4,17}\b")
ANY_WORD = re.compile(r"\w+")


def write_general(
    topic: str, path: tuple[str, ...], audience: str, style: str, words: tuple[str, str, str], seed: int, extract: str
) -> str:
    """A section in Markdown, a function of its arguments alone.

    `path` leads from the root of a tree of topics to the topic; `words` are a noun, a verb and an adjective.
    """
    rng = Random(f"general {topic} {audience} {style} {seed}")  # noqa: S311 (no secret)
    noun, verb, adjective = words
    names = tuple(rng.sample(NAMES, 4))
    leaf = _leaf_of(path)
    scene = Scene(topic, names, noun, adjective, leaf)
    title = choose(rng, TITLES, t=topic, T=topic[:1].upper() + topic[1:])
    opening = choose(rng, OPENINGS, t=topic, a=audience)
    if leaf is not None and rng.random() < 0.7:
        opening += " " + choose(rng, PLACES, r=leaf[0], b=leaf[1], l=leaf[2])
    paragraphs = [f"# {title}", opening, *LESSONS[style](rng, scene)]
    if extract:
        paragraphs.append(_reading(rng, extract))
    task = choose(rng, TASKS, t=topic, n=noun, v=verb, j=adjective)
    ending = [rng.choice(MORALS), task]
    if leaf is not None:
        asked = [title for title in _topics_below(leaf) if title != topic]
        ending.append(choose(rng, QUESTIONS, q=", ".join(rng.sample(asked, 3))))
    paragraphs.append(" ".join(ending))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


@cache
def _topics_below(leaf: Leaf) -> tuple[str, ...]:
    return propose_topics(leaf, kinds_by_path()[leaf], 20)


def _leaf_of(path: tuple[str, ...]) -> Leaf | None:
    """The leaf of the seed taxonomy that a topic is, or grew below."""
    return (path[0], path[1], path[2]) if len(path) > 2 and kinds_by_path().get(path[:3]) else None


def _reading(rng: Random, extract: str) -> str:
    """What can be counted in an extract, and single words of it: nothing that could be called a phrase."""
    counted = Counter(word.lower() for word in LONG_WORD.findall(extract))
    if not counted:
        return ""
    ranked = sorted(counted, key=lambda word: (-counted[word], word))
    first, rest = ranked[0], ranked[1:12]
    times = {1: "once", 2: "twice"}.get(counted[first], f"{counted[first]} times")
    told = choose(rng, READINGS, w=str(len(ANY_WORD.findall(extract))), x=first, c=times)
    if len(rest) >= 3:
        told += " " + choose(rng, MORE_WORDS, m=", ".join(f"“{word}”" for word in rng.sample(rest, 3)))
    return told
