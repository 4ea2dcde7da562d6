"""Word problems of the built-in general textbooks, told around a topic and solved with a reason for each step.

Every equation stands in a form that a reader, or a test, can check: `6 × 4 = 24`, `09:40 + 25 minutes = 10:05`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

SLOT = re.compile(r"@(\w)")

Leaf = tuple[str, str, str]  # root, branch and title in the seed taxonomy


@dataclass(frozen=True, slots=True)
class Scene:
    """What a lesson plays with."""

    topic: str
    names: tuple[str, ...]  # of four people
    noun: str
    adjective: str
    leaf: Leaf | None  # where the topic stands in the seed taxonomy, if it does


def choose(rng: Random, frames: Sequence[str], **slots: str) -> str:
    """One of the frames with its slots `@x` filled."""
    return SLOT.sub(lambda found: slots[found[1]], rng.choice(frames))


def capitalize_first(text: str) -> str:
    """The text with a capital at its start."""
    return text[:1].upper() + text[1:]


OBJECTS = (
    "notes", "photographs", "cards", "drawings", "articles", "postcards", "books", "maps", "questions", "labels",
    "newspaper cuttings", "sketches", "posters", "stickers", "letters", "examples", "diagrams", "quotations",
)  # fmt: skip
WHERE = (
    "at the school library", "in the village hall", "at the kitchen table", "in the town museum", "in the classroom",
    "at the community centre", "on a bench in the park", "at the weekly market", "in a quiet office", "on the train",
)  # fmt: skip
WHY = (
    "for an exhibition about @t", "for a talk about @t", "for a small book about @t", "for a radio programme about @t",
    "for a quiz about @t", "for a wall newspaper about @t", "for a lesson about @t", "for a website about @t",
)  # fmt: skip


# ---- word problems ----

Problem = tuple[str, list[str], str]  # what is told and asked, the steps, the answer


def word_problem(rng: Random, scene: Scene) -> list[str]:
    """A problem of one or two operations, solved with a reason for each."""
    told, steps, answer = rng.choice(PROBLEMS)(rng, scene)
    lead = choose(
        rng,
        (
            "Let us go step by step.", "The way to the answer has these steps.", "We take one step at a time.",
            "How can we find out?", "Write down what you know, and then reason like this.", "Here is one safe way.",
        ),
    )  # fmt: skip
    close = choose(
        rng,
        (
            "So the answer is this: @a", "Therefore we can say: @a", "That settles it: @a", "We conclude: @a",
            "In one sentence: @a", "The result: @a",
        ),
        a=answer,
    )  # fmt: skip
    if rng.random() < 0.5:
        return [told, lead + "\n\n" + "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1)), close]
    return [told, f"{lead} {' '.join(steps)}", close]


def _about(rng: Random, scene: Scene) -> dict[str, str]:
    what, other = rng.sample(OBJECTS, 2)
    why = SLOT.sub(lambda _: scene.topic, rng.choice(WHY))
    a, b, c, d = scene.names
    return {"a": a, "b": b, "c": c, "d": d, "o": what, "u": other, "w": why, "p": rng.choice(WHERE), "t": scene.topic}


def _days(rng: Random, scene: Scene) -> Problem:
    each, days = rng.randint(3, 19), rng.randint(3, 12)
    lost = rng.randint(2, each * 2)
    slots = _about(rng, scene) | {"x": str(each), "y": str(days), "z": str(lost)}
    told = choose(
        rng,
        (
            "@a collects @o @w. On each of @y days @a adds @x of them to a box @p. In the end @b finds that @z are"
            " of no use and takes them out. How many @o stay in the box?",
            "For @y days in a row @a and @b sit @p and prepare @x @o a day, @w. Then @z of them get wet in the rain and"
            " must be thrown away. What is left?",
            "@w, @a makes @x new @o every day, and keeps at it for @y days. @c asks for @z of them and gets them. How"
            " many does @a still have?",
        ),
        **slots,
    )
    steps = [
        choose(
            rng,
            (
                "Every day brings the same number, so we multiply: @e.",
                "Equal amounts that come again and again call for multiplication: @e.",
                "We need @y times @x, and that is @e.",
            ),
            e=f"{each} × {days} = {each * days}", **slots,
        ),
        choose(
            rng,
            ("What goes away is subtracted: @e.", "From this we take what was lost: @e.", "Then @z go, and @e."),
            e=f"{each * days} − {lost} = {each * days - lost}", **slots,
        ),
    ]  # fmt: skip
    return capitalize_first(told), steps, f"{each * days - lost} {slots['o']} remain."


def _shares(rng: Random, scene: Scene) -> Problem:
    groups, each = rng.randint(3, 9), rng.randint(4, 15)
    rest = rng.randint(1, groups - 1)
    total = groups * each + rest
    slots = _about(rng, scene) | {"x": str(total), "y": str(groups)}
    told = choose(
        rng,
        (
            "@a has @x @o @w and wants to put them into @y folders, with the same number in each. How many go into a"
            " folder, and how many are left over?",
            "There are @x @o on a table @p. @y groups are to share them fairly @w. @a asks: how many does each get, and"
            " does anything remain?",
            "@b brings @x @o @w, and @y tables want equally many. What does each table get, and what does @b carry"
            " home?",
        ),
        **slots,
    )
    steps = [
        choose(
            rng,
            (
                "We look for the largest multiple of @y that is not above @x: @e.",
                "How often does @y go into @x? With @k each, we use @e.",
                "If each gets @k, then @e are given out, and one more for each would be too many.",
            ),
            e=f"{groups} × {each} = {groups * each}", k=str(each), **slots,
        ),
        choose(
            rng,
            ("The rest is the difference: @e.", "What is not given out remains: @e.", "Subtract to see the rest: @e."),
            e=f"{total} − {groups * each} = {rest}",
        ),
    ]  # fmt: skip
    return capitalize_first(told), steps, f"each share has {each} {slots['o']}, and {rest} left over."


def _mean(rng: Random, scene: Scene) -> Problem:
    mean = rng.randint(6, 30)
    off = [rng.randint(-5, 5) for _ in range(3)]
    values = [mean + step for step in off] + [mean - sum(off)]
    if min(values) < 1:
        return _mean(rng, scene)
    slots = _about(rng, scene) | dict(zip("kxyz", map(str, values), strict=True))
    told = choose(
        rng,
        (
            "Four friends count their @o @w: @a has @k, @b has @x, @c has @y and @d has @z. What is the mean?",
            "@a wrote down how many @o were finished in four weeks @w: @k, then @x, then @y, then @z. How many is"
            " that in an average week?",
            "In a project about @t the teams of @a, @b, @c and @d made @k, @x, @y and @z @o. If they shared evenly, how"
            " many would each team have?",
        ),
        **slots,
    )
    total = sum(values)
    steps = [
        choose(
            rng, ("First add them all: @e.", "All together there are @e.", "The sum comes first: @e."),
            e=f"{values[0]} + {values[1]} + {values[2]} + {values[3]} = {total}",
        ),
        choose(
            rng,
            (
                "There are four numbers, so we divide by four: @e.",
                "To share evenly among four means to divide: @e.",
                "The mean is the sum over the count, and @e.",
            ),
            e=f"{total} ÷ 4 = {mean}",
        ),
    ]  # fmt: skip
    high = sum(value > mean for value in values)
    steps.append(
        f"Check: of the four numbers {high if high else 'none'} lie above {mean}, so it stands between the extremes."
        if high
        else f"Check: all four numbers are {mean}, so nothing else could be their mean."
    )
    return capitalize_first(told), steps, f"the mean is {mean} {slots['o']}."


def _percent(rng: Random, scene: Scene) -> Problem:
    share, hundreds = rng.choice((5, 10, 15, 20, 25, 30, 35, 40, 45, 60, 65, 70, 80, 85)), rng.randint(1, 9)
    people = 100 * hundreds
    yes = share * hundreds
    slots = _about(rng, scene) | {"x": str(people), "y": str(share)}
    told = choose(
        rng,
        (
            "@a asks @x visitors @p whether they ever read anything about @t. @y percent say yes. How many say no?",
            "Of @x people in a survey about @t, @y percent answered every question right. How many did not?",
            "@b printed @x leaflets about @t. After a week @y percent of them are gone. How many are still there?",
        ),
        **slots,
    )
    steps = [
        choose(
            rng,
            (
                "One percent is a hundredth: @e.", "A percent of @x is its hundredth part, and @e.",
                "Begin with one percent: @e.",
            ),
            e=f"{people} ÷ 100 = {hundreds}", **slots,
        ),
        choose(
            rng,
            ("@y percent are @y times as many: @e.", "So @y percent come to this: @e.", "Then multiply: @e."),
            e=f"{hundreds} × {share} = {yes}", **slots,
        ),
        choose(
            rng, ("The others are the rest: @e.", "Take these from the whole: @e.", "What remains is @e."),
            e=f"{people} − {yes} = {people - yes}",
        ),
    ]  # fmt: skip
    return capitalize_first(told), steps, f"{people - yes} of the {people}."


def _rates(rng: Random, scene: Scene) -> Problem:
    units = rng.sample(range(2, 12), 2)
    prices = rng.sample(range(2, 15), 2)
    costs = [units[0] * prices[0], units[1] * prices[1]]
    slots = _about(rng, scene) | dict(zip("xykz", map(str, (units[0], costs[0], units[1], costs[1])), strict=True))
    told = choose(
        rng,
        (
            "@a needs @o @w. One shop sells @x of them for @y coins, another sells @k for @z coins. Which is cheaper"
            " for one piece?",
            "Two printers offer @o @w: the first makes @x for @y coins, the second @k for @z coins. @b wants the lower"
            " price of one. Which is it?",
            "@c reads @y pages about @t in @x hours, and @d reads @z pages in @k hours. Who reads fewer pages an hour?",
        ),
        **slots,
    )
    low = 0 if prices[0] < prices[1] else 1
    steps = [
        choose(
            rng,
            (
                "Different amounts cannot be compared as they stand, so we ask for one: @e and @f.",
                "Bring both to the same measure, one piece or one hour: @e, and on the other side @f.",
                "Division gives what belongs to one: @e in the first case, @f in the second.",
            ),
            e=f"{costs[0]} ÷ {units[0]} = {prices[0]}", f=f"{costs[1]} ÷ {units[1]} = {prices[1]}",
        ),
        f"Now the comparison is easy, since {prices[low]} is less than {prices[1 - low]}.",
    ]  # fmt: skip
    return capitalize_first(told), steps, f"the {('first', 'second')[low]} has the lower number, {prices[low]} for one."


def _backwards(rng: Random, scene: Scene) -> Problem:
    start, given, got = rng.randint(20, 90), rng.randint(5, 19), rng.randint(5, 40)
    end = start - given + got
    slots = _about(rng, scene) | {"x": str(given), "y": str(got), "z": str(end)}
    told = choose(
        rng,
        (
            "@a gives @x @o to @b and then gets @y from @c, all of it @w. Now @a has @z. How many were there at first?",
            "A box @p held some @o @w. Somebody took out @x, later @a put in @y, and now there are @z. How many did the"
            " box hold in the beginning?",
            "From a pile of @o, collected @w, @x were lent to @d. Then @y new ones came, and the pile has @z. How large"
            " was it before?",
        ),
        **slots,
    )
    steps = [
        choose(
            rng,
            (
                "We walk back from the end and undo each change. The last one added @y, so we take them away: @e.",
                "What came last is undone first: without the @y there were fewer, @e.",
                "Play the film backwards. Before the @y came there were @e.",
            ),
            e=f"{end} − {got} = {end - got}", **slots,
        ),
        choose(
            rng,
            (
                "Before that, @x had gone, so we put them back: @e.", "Then return the @x that left: @e.",
                "The @x that went away were still there at the start: @e.",
            ),
            e=f"{end - got} + {given} = {start}", **slots,
        ),
        f"Check it forwards: {start} − {given} = {start - given}, and {start - given} + {got} = {end}.",
    ]  # fmt: skip
    return capitalize_first(told), steps, f"at first there were {start} {slots['o']}."


PROBLEMS: tuple[Callable[[Random, Scene], Problem], ...] = (_days, _shares, _mean, _percent, _rates, _backwards)
