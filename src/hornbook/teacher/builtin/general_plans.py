"""Two more lessons of the built-in general textbooks: a plan with times, and what follows from what."""

from random import Random

from hornbook.teacher.builtin.general_problems import Scene, capitalize_first, choose

JOBS = (
    "clear the room", "print the programme", "put up the pictures", "set up the chairs", "welcome the guests",
    "read the introduction", "answer questions", "make tea", "try out the lamp", "paint the title", "sort the notes",
    "hang the map", "test the microphone", "write the name cards", "cut the paper", "sweep the floor",
)  # fmt: skip
EVENTS = ("an evening", "an exhibition", "a talk", "an open morning", "a reading", "a small show", "a quiz", "a lesson")


def plan(rng: Random, scene: Scene) -> list[str]:
    """Jobs one after the other, with the time of each."""
    jobs = rng.sample(JOBS, rng.randint(3, 4))
    lengths = [5 * rng.randint(1, 9) for _ in jobs]
    now = 60 * rng.randint(8, 16) + 5 * rng.randint(0, 11)
    total, start = sum(lengths), now
    a, b, c, _ = scene.names
    listed = "; ".join(f"{job}, {length} minutes" for job, length in zip(jobs, lengths, strict=True))
    slots = {"a": a, "b": b, "c": c, "t": scene.topic, "e": rng.choice(EVENTS), "l": listed, "s": clock(start)}
    told = choose(
        rng,
        (
            "@a prepares @e about @t and starts at @s. The jobs come one after the other: @l. When is everything done?",
            "For @e about @t, @a and @b have to do this, in this order: @l. They begin at @s. Can the doors open on"
            " time?",
            "“We start at @s,” says @a, who is in charge of @e about @t. On the list stands: @l. @b wants to know when"
            " they will have finished.",
        ),
        **slots,
    )
    steps = []
    for number, (job, length) in enumerate(zip(jobs, lengths, strict=True), 1):
        steps.append(f"{number}. To {job}: {clock(now)} + {length} minutes = {clock(now + length)}.")
        now += length
    added = " + ".join(map(str, lengths))
    check = choose(
        rng,
        (
            "As a check, add the minutes first: @x = @y. From @s it takes @y minutes to @f, which agrees.",
            "There is a second way. All jobs together take @x = @y minutes, and @y minutes after @s it is @f.",
            "Do both ways agree? @x = @y, and @s + @y minutes = @f. They do.",
        ),
        x=added, y=str(total), f=clock(now), **slots,
    )  # fmt: skip
    shared = choose(
        rng,
        (
            "If @c helped, some jobs could run side by side, and then the longest of them would count and not their"
            " sum.",
            "With a second pair of hands the sum no longer holds: what happens at the same time is not added.",
            "A careful planner leaves some minutes free at the end, because it is rare that every job takes as long as"
            " the list says.",
        ),
        **slots,
    )
    lead = choose(rng, ("We add the times in order.", "Follow the clock.", "Each job begins when the last one ends."))
    return [
        capitalize_first(told),
        f"{lead}\n\n" + "\n".join(steps),
        f"Everything is done at {clock(now)}. {check}",
        shared,
    ]


def clock(minutes: int) -> str:
    """A time of day."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


GROUPS = (
    ("member of the reading club", "members of the reading club"), ("guest of the museum", "guests of the museum"),
    ("pupil of this class", "pupils of this class"), ("player of the team", "players of the team"),
    ("neighbour on our street", "neighbours on our street"), ("cook of the canteen", "cooks of the canteen"),
    ("singer of the choir", "singers of the choir"), ("driver of the bus company", "drivers of the bus company"),
)  # fmt: skip
DEEDS = (
    ("has heard a talk about @t", "have heard a talk about @t"), ("owns a book about @t", "own a book about @t"),
    ("asked a question about @t", "asked a question about @t"), ("wrote a note about @t", "wrote a note about @t"),
    ("has seen a film about @t", "have seen a film about @t"), ("made a drawing about @t", "made a drawing about @t"),
)  # fmt: skip


def logic(rng: Random, scene: Scene) -> list[str]:
    """A general claim and a single person: what follows, what does not, and what would refute the claim."""
    (one, many), (does, do) = rng.choice(GROUPS), rng.choice(DEEDS)
    does, do = does.replace("@t", scene.topic), do.replace("@t", scene.topic)
    a, b, c, d = scene.names
    slots = {"a": a, "b": b, "c": c, "d": d, "g": one, "m": many, "h": does, "v": do}
    said = choose(
        rng,
        (
            "@d makes a claim: all @m @v. Let us take it as true for a while and ask what follows.",
            "Suppose somebody tells us that all @m @v, without exception.",
            "Here is the rule of the day: whoever is a @g @h. @d swears that it holds.",
        ),
        **slots,
    )
    cases = [
        choose(
            rng,
            (
                "@a is a @g. Then it follows that @a @h, for the rule speaks of all of them.",
                "We meet @a, a @g. By the rule, @a @h, and nobody needs to check it.",
            ),
            **slots,
        ),
        choose(
            rng,
            (
                "@b @h. Does it follow that @b is a @g? No: the rule does not say that only they do, and others may as"
                " well.",
                "We hear that @b @h. That does not make @b a @g, because the rule cannot be read backwards.",
            ),
            **slots,
        ),
        choose(
            rng,
            (
                "It is not true that @c @h. Then @c cannot be a @g, for otherwise the rule would be broken.",
                "If we find out that it is false that @c @h, we know at once that @c is not a @g.",
            ),
            **slots,
        ),
    ]
    rng.shuffle(cases)
    refuted = choose(
        rng,
        (
            "How could one show that @d is wrong? A single @g of whom it is false that this person @h would be enough."
            " A hundred who fit the rule do not prove it, but one who does not fit refutes it.",
            "The claim would fall with one exception. It is of no use to look at people who are not @m, since the rule"
            " says nothing about them.",
            "And if @d had said “some” in place of “all”? Then one @g who @h would make the sentence true, and even"
            " many exceptions would not make it false.",
        ),
        **slots,
    )
    if rng.random() < 0.5:
        return [said, "\n".join(f"- {case}" for case in cases), refuted]
    return [f"{said} {cases[0]}", f"{cases[1]} {cases[2]}", refuted]
