"""Puzzles and a method in the built-in general textbooks: an order to find, an odd one out, a fair test."""

from functools import cache
from random import Random

from hornbook.teacher.builtin.facets import kinds_by_path
from hornbook.teacher.builtin.general_problems import Scene, capitalize_first, choose

RELATIONS = (  # before, after, first and last, of what
    ("has read more about @t than", "has read less about @t than", "has read the most", "the least"),
    ("finished the page on @t before", "finished the page on @t after", "finished first", "last"),
    ("lives closer to the library than", "lives farther from the library than", "lives closest", "farthest away"),
    ("is older than", "is younger than", "is the oldest", "the youngest"),
    ("asked more questions about @t than", "asked fewer questions about @t than", "asked the most", "the fewest"),
    ("spoke about @t longer than", "spoke about @t more briefly than", "spoke longest", "most briefly"),
    ("arrived earlier than", "arrived later than", "arrived first", "last"),
)


def ordering(rng: Random, scene: Scene) -> list[str]:
    """Four people in an order that three clues fix."""
    order = rng.sample(scene.names, 4)
    before, after, first, last = (part.replace("@t", scene.topic) for part in rng.choice(RELATIONS))
    pairs = [(0, 1), (1, 2), (2, 3)]
    rng.shuffle(pairs)
    clues = [
        f"{order[one]} {before} {order[two]}." if rng.random() < 0.5 else f"{order[two]} {after} {order[one]}."
        for one, two in pairs
    ]
    slots = {"a": order[0], "b": order[1], "c": order[2], "d": order[3], "t": scene.topic, "n": scene.noun}
    slots |= {"j": scene.adjective.capitalize(), "N": scene.noun.capitalize(), "k": " ".join(clues)}
    told = choose(
        rng,
        (
            "Four members of a team called the @j @N work on @t. We know three things about them. @k Who stands where?",
            "@t is the subject of a club with four members. Somebody asks in which order they come. The clues are"
            " these: @k Can you put all four in a row?",
            "In a project about @t each of four people got a card with the word “@n” on it. Then came a riddle. @k Find"
            " the whole order.",
            "Here is a puzzle that came up in a group on @t. @k Is that enough to order the four? It is.",
        ),
        **slots,
    )
    chain = " ".join(
        (
            choose(rng, ("Turn every clue the same way round.", "First say all clues in the same direction."), **slots),
            f"{order[0]} {before} {order[1]}, {order[1]} {before} {order[2]}, and {order[2]} {before} {order[3]}.",
            choose(
                rng,
                (
                    "The end of each link is the beginning of the next, so they form one chain.",
                    "Each name but the outer ones occurs twice, and there the links hook into each other.",
                    "Two of the links share @b and two share @c, which joins all of them.",
                ),
                **slots,
            ),
        )
    )
    close = choose(
        rng,
        (
            "The order is @a, @b, @c, @d. Thus @a @f, and @d @l.",
            "So we read off: @a, @b, @c, @d. It is @a who @f, and @d is at the other end.",
            "No other row fits: @a, @b, @c, @d. At one end @a @f, and at the other stands @d.",
        ),
        f=first, l=last, **slots,
    )  # fmt: skip
    jump = choose(
        rng,
        (
            "By the way, @a and @c never stand in one clue, and yet we know that @a @x @c.",
            "Notice that nobody told us that @a @x @d, and yet it follows.",
            "It also follows that @b @x @d, although no clue says so.",
        ),
        x=before, **slots,
    )  # fmt: skip
    return [capitalize_first(told), chain, f"{close} {jump}"]


@cache
def _branches() -> dict[tuple[str, str], list[str]]:
    """The leaves of each branch of the seed taxonomy."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in kinds_by_path():
        if len(path) == 3:
            found.setdefault((path[0], path[1]), []).append(path[2])
    return found


def odd_one_out(rng: Random, scene: Scene) -> list[str]:
    """Three of one branch of the taxonomy and one of another root."""
    branches = _branches()
    full = [branch for branch, leaves in branches.items() if len(leaves) > 2]
    own = scene.leaf[:2] if scene.leaf is not None else None
    home = own if own in full else rng.choice(full)
    away = rng.choice([branch for branch in branches if branch[0] != home[0]])
    stranger = rng.choice(branches[away])
    three = rng.sample(branches[home], 3)
    shown = rng.sample([*three, stranger], 4)
    a, b = scene.names[:2]
    slots = {"a": a, "b": b, "t": scene.topic, "s": stranger, "h": home[1], "r": home[0], "f": away[1], "g": away[0]}
    slots |= dict(zip("wxyz", shown, strict=True)) | dict(zip("klm", three, strict=True))
    told = choose(
        rng,
        (
            "While they work on @t, @a writes four subjects on the board: @w; @x; @y; @z. Three of them belong"
            " together. @b is asked which one does not.",
            "@a has four cards on the table: @w; @x; @y; @z. “One of them does not fit,” says @b. Which is it, and what"
            " is the reason?",
            "A game for a break between two hours on @t is to find the odd one out of four: @w; @x; @y; @z.",
        ),
        **slots,
    )
    reason = choose(
        rng,
        (
            "Do not look at the words, look for what three of them share. There is a heading that covers @k, @l and @m:"
            " they belong to @h, within @r. It does not cover @s, which we would look up under @f, within @g.",
            "Try out headings. Under @h we would find @k, and @l and @m as well. For @s we would have to go to another"
            " shelf, @f, which is a part of @g.",
            "Three of the four are subjects from @r, more exactly from @h: @k; @l; @m. The fourth comes from @g, where"
            " it belongs to @f.",
        ),
        **slots,
    )
    doubt = choose(
        rng,
        (
            "@b objects that another rule might single out another card, for example the number of letters. That is"
            " true. An answer to such a puzzle is good when its rule is simple and says something about the things"
            " themselves.",
            "Could there be a second solution? Perhaps, if somebody sorts by sound or by length. So @a adds to the"
            " answer the rule behind it, and then everybody can judge it.",
            "To sort means to choose a rule. @a says the rule aloud first and the answer second, because an answer"
            " without its rule teaches nothing.",
        ),
        **slots,
    )
    return [capitalize_first(told), f"{reason} So the odd one out is this: {stranger}.", doubt]


WAYS = (
    "reading a page aloud", "drawing a picture", "listening to a talk", "explaining it to a friend", "copying the text",
    "making a list of key words", "watching a short film", "answering questions", "walking and thinking about it",
    "sorting cards", "telling it as a story", "underlining the main words",
)  # fmt: skip


def fair_test(rng: Random, scene: Scene) -> list[str]:
    """Two ways to learn, compared by their means, and what such a test does not show."""
    one, two = rng.sample(WAYS, 2)
    low, high = sorted(rng.sample(range(6, 22), 2))
    means = [high, low] if rng.random() < 0.5 else [low, high]
    sets = [[mean + step for step in _balanced(rng)] for mean in means]
    a, b, c, _ = scene.names
    slots = {"a": a, "b": b, "c": c, "t": scene.topic, "x": one, "y": two}
    told = choose(
        rng,
        (
            "@a thinks that @x helps people to remember facts about @t. @b believes in @y. Instead of quarrelling they"
            " make a test.",
            "What works better when you learn about @t: @x, or @y? @a and @b do not agree, so they plan a comparison.",
            "“I learn best by @x,” says @a, who is busy with @t. “And I by @y,” says @b. Both could be wrong, so"
            " they try it out with others.",
        ),
        **slots,
    )
    design = choose(
        rng,
        (
            "Eight classmates draw lots. Four of them get @x, and four get @y. All have the same page and the same"
            " twenty minutes, because otherwise nobody could say what made the difference. A day later each writes down"
            " as many facts as possible.",
            "To be fair, everything but one thing must be equal: the page, the time, the room. Only the way differs."
            " Chance decides who goes where, so that the keen ones do not all sit on one side. Four use @x and four use"
            " @y, and next morning the facts they still know are counted.",
            "They change one thing alone, the way of learning, and keep the rest as it is. Eight people take part, half"
            " with @x and half with @y, sorted by lot. The count of facts that each remembers is the result.",
        ),
        **slots,
    )
    sums = [
        f"{' + '.join(map(str, values))} = {sum(values)}, and {sum(values)} ÷ 4 = {sum(values) // 4}" for values in sets
    ]
    better, worse = (0, 1) if means[0] > means[1] else (1, 0)
    slots |= {
        "e": sums[0],
        "f": sums[1],
        "g": (one, two)[better],
        "d": f"{means[better]} − {means[worse]} = {high - low}",
    }
    result = choose(
        rng,
        (
            "Suppose these are the numbers. With @x: @e. With @y: @f. The means differ by @d facts, in favour of @g.",
            "Let us invent results to see how one would reckon. For @x we get @e; for @y, @f. So @g is ahead, since"
            " @d.",
            "Say the sheets show this: @x gives @e, while @y gives @f. On average @g wins, and @d is by how much.",
        ),
        **slots,
    )
    doubt = choose(
        rng,
        (
            "Is the matter settled? @c warns that four people are few, and that a lucky guess or a bad night can move a"
            " mean. A second test with other people would tell more than a long debate.",
            "Such a result is a hint and no proof. With eight people, chance alone makes differences, so @c proposes to"
            " repeat the test before anybody believes it.",
            "@c asks the best question: would the same thing happen again? Only a repetition can answer it, and a"
            " larger one would answer it better.",
        ),
        **slots,
    )
    return [capitalize_first(told), design, result, doubt]


def _balanced(rng: Random) -> list[int]:
    """Four steps around a mean."""
    first, second = rng.randint(1, 5), rng.randint(0, 4)
    steps = [first, -first, second, -second]
    rng.shuffle(steps)
    return steps
