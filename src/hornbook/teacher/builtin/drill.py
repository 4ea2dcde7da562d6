"""The drill: 164 problems of the grammar whose compositions are reserved, so that no exercise can be one of them.

It measures whether a model puts known primitives together in ways it has not seen, not whether it can program. The
frozen file is `data/drill.jsonl.gz`; `write_drill` makes it again, byte for byte, while the grammar is the same.
"""

import gzip
import json
from dataclasses import asdict
from pathlib import Path
from random import Random

from hornbook.records import Problem
from hornbook.teacher.builtin.grammar import FAMILIES, THOROUGH, Made, draw, is_reserved
from hornbook.teacher.builtin.wording import Pen

PROBLEMS = 164  # as many as HumanEval has, so that intervals compare
SEED = 20230620


def build_drill() -> tuple[Problem, ...]:
    """The problems of the drill."""
    exercises = [made.exercise for made in drilled()]
    return tuple(
        Problem(f"drill/{number}", e.prompt, e.name, e.solution, e.tests, protocol="drill")
        for number, e in enumerate(exercises)
    )


def drilled() -> list[Made]:
    """The exercises the drill is made of, in an order that mixes the families. Every family has at least one."""
    shares = family_shares()
    used: set[str] = set()
    exercises = []

    def wanted(composition: str) -> bool:
        return is_reserved(composition) and composition not in used

    for place, name in enumerate(sorted(shares)):
        family = next(family for family in FAMILIES if family.name == name)
        pen = Pen(f"drill {SEED} {place} {name}")
        for _ in range(shares[name]):
            made = draw(pen, family, wanted, THOROUGH)
            used.add(made.composition)
            exercises.append(made)
    Random(SEED).shuffle(exercises)  # noqa: S311
    return exercises


def family_shares() -> dict[str, int]:
    """How many problems each family has: one, and of the rest as many as its weight is worth (largest remainders)."""
    left = PROBLEMS - len(FAMILIES)
    total = sum(family.weight for family in FAMILIES)
    exact = {family.name: left * family.weight / total for family in FAMILIES}
    shares = {name: 1 + int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (int(exact[name]) - exact[name], name))
    for name in by_remainder[: PROBLEMS - sum(shares.values())]:
        shares[name] += 1
    return shares


def write_drill(path: Path) -> None:
    """Write the frozen file: JSON lines of Problem, compressed without a time stamp."""
    lines = "".join(json.dumps(asdict(problem)) + "\n" for problem in build_drill())
    path.write_bytes(gzip.compress(lines.encode(), mtime=0))
