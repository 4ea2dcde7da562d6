"""The frozen drill is what the grammar builds, and holds nothing an exercise can be."""

import gzip
from importlib.resources import files

from hornbook.teacher.builtin.drill import PROBLEMS, build_drill, drilled, family_shares, write_drill
from hornbook.teacher.builtin.grammar import FAMILIES, THOROUGH, draw, exercise, is_reserved
from hornbook.teacher.builtin.wording import Pen

FROZEN = files("hornbook") / "data" / "drill.jsonl.gz"


def test_rebuilding_gives_the_frozen_file(tmp_path):
    write_drill(tmp_path / "drill.jsonl.gz")
    # The text, not the compressed bytes: those may differ between versions of zlib.
    assert gzip.decompress((tmp_path / "drill.jsonl.gz").read_bytes()) == gzip.decompress(FROZEN.read_bytes())


def test_the_references_pass():
    problems = build_drill()
    assert len({problem.prompt for problem in problems}) == len(problems) == PROBLEMS == 164
    for problem in problems:
        scope = {}
        exec(problem.prompt + problem.reference, scope)
        for test in problem.tests:
            exec(test, scope)
        assert problem.entry_point in scope


def test_every_family_has_its_share():
    shares = family_shares()
    assert set(shares) == {family.name for family in FAMILIES}
    assert sum(shares.values()) == PROBLEMS
    assert min(shares.values()) >= 1


def test_tests_notice_when_a_part_is_left_out():
    """A planted fault: the same pipeline without its condition must fail the tests of a thorough exercise."""
    family = FAMILIES[0]
    rng = Pen(3)
    caught = 0
    while caught < 30:
        made = draw(rng, family, lambda key: key.split("|")[2] != "-" and key.split("|")[4] == "list", THOROUGH)
        program = made.exercise.prompt + made.exercise.solution
        condition = made.parts[1].code("x")
        if f" if {condition}]" not in program:
            continue
        scope = {}
        exec(program.replace(f" if {condition}]", "]"), scope)
        assert not all(repr(eval(call, scope)) == repr(eval(result)) for call, result in made.calls)
        caught += 1


def test_its_compositions_are_reserved_and_its_primitives_are_taught():
    exercises = drilled()
    compositions = {made.composition for made in exercises}
    taught = {
        (type(part.part).__name__, part.name)
        for family in FAMILIES
        for number in range(40)
        for part in exercise(family, number).parts
        if part is not None
    }
    asked = {(type(part.part).__name__, part.name) for made in exercises for part in made.parts if part is not None}
    assert all(map(is_reserved, compositions))
    assert len(compositions) == PROBLEMS
    assert asked <= taught
