"""What the built-in teacher proposes below a leaf of the seed taxonomy: facets, by the kind of thing the leaf is."""

import re
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any

import yaml

from hornbook.teacher.parsing import TeacherError

TAXONOMY = "taxonomy.yaml"
ANY = "any"  # the kind whose facets fit every leaf
PLACE = re.compile(r"\bX\b")  # in a facet, where the leaf's title goes
WORD = re.compile(r"[a-z]{4,}")
LINKS = frozenset(("from", "into", "that", "what", "when", "where", "while", "with", "without", "your"))

Path = tuple[str, ...]  # titles from the root to a node


def proposals(path: Path, count: int, known: tuple[str, ...]) -> tuple[str, ...]:
    """Up to `count` topics below a leaf of the seed taxonomy, none of those known.

    Raises TeacherError (`unable`) for any other node, and where nothing is left to propose: facets are one level deep.
    """
    kind = kinds_by_path().get(path)
    if not kind:
        raise TeacherError(
            "unable", f"the built-in teacher proposes topics below leaves of its taxonomy alone, not below `{path[-1]}`"
        )
    seen = {title.casefold() for title in known}
    fresh = [title for title in propose_topics(path, kind, len(_facets(kind))) if title.casefold() not in seen]
    if not fresh:
        raise TeacherError("unable", f"the built-in teacher has no more topics below `{path[-1]}`")
    return tuple(fresh[:count])


def propose_topics(path: Path, kind: str, count: int) -> tuple[str, ...]:
    """The first `count` facets of a node of that kind, in an order of its own; a function of the arguments alone.

    Each node has another order, so that a tree that takes some of them holds each facet about as often. A facet that
    would repeat a word of the title (the history of the history of …) is left out.
    """
    title = path[-1]
    facets = [facet for facet in _facets(kind) if not _repeats(facet, title)]
    Random(f"facets {' > '.join(path)}").shuffle(facets)  # noqa: S311 (no secret)
    return tuple(PLACE.sub(lambda _: title, facet) for facet in facets[:count])


def _facets(kind: str) -> list[str]:
    kinds = read_taxonomy_file()["kinds"]
    return [*kinds[kind], *kinds[ANY]]


def _repeats(facet: str, title: str) -> bool:
    """Whether a word of the one begins a word of the other: help, helpful."""
    ones, others = (set(WORD.findall(text.casefold())) - LINKS for text in (facet, title))
    return any(one.startswith(other[:-1]) or other.startswith(one[:-1]) for one in ones for other in others)


@cache
def kinds_by_path() -> dict[Path, str]:
    """Every node of the seed taxonomy in order, a root before its branches, with its kind: empty above the leaves.

    Raises ValueError, with the place, for a file of another shape.
    """
    found: dict[Path, str] = {}
    content = read_taxonomy_file()
    kinds = content["kinds"]
    for root, branches in content["roots"].items():
        found[(root,)] = ""
        for branch, leaves_by_kind in branches.items():
            found[root, branch] = ""
            for kind, leaves in leaves_by_kind.items():
                if kind not in kinds or kind == ANY:
                    raise ValueError(f"{TAXONOMY}, {root} > {branch}: no such kind as `{kind}`")
                for leaf in leaves:
                    if (root, branch, leaf) in found:
                        raise ValueError(f"{TAXONOMY}, {root} > {branch}: `{leaf}` stands there twice")
                    found[root, branch, leaf] = kind
    return found


@cache
def read_taxonomy_file() -> dict[str, Any]:
    """`kinds`: facets by kind. `roots`: root > branch > kind > leaves. Raises ValueError where the file differs."""
    content = _read(TAXONOMY)
    if not isinstance(content, dict) or set(content) != {"kinds", "roots"}:
        raise ValueError(f"{TAXONOMY}: must hold `roots` and `kinds`, and nothing else")
    _check_lists(content["kinds"], "kinds")
    for root, branches in _mapping(content["roots"], "roots").items():
        for branch, leaves_by_kind in _mapping(branches, root).items():
            _check_lists(leaves_by_kind, f"{root} > {branch}")
    for kind, facets in content["kinds"].items():
        for facet in facets:
            if not PLACE.search(facet):
                raise ValueError(f"{TAXONOMY}, kinds > {kind}: `{facet}` has no X for the leaf")
    return content


@cache
def read_lists(name: str) -> dict[str, tuple[str, ...]]:
    """A file of `data/` that holds named lists of texts. Raises ValueError, with the place, where it does not."""
    content = _read(name)
    _check_lists(content, "the top", name)
    return {key: tuple(items) for key, items in content.items()}


def _read(name: str) -> Any:
    return yaml.safe_load((files("hornbook") / "data" / name).read_text(encoding="utf-8"))


def _check_lists(value: Any, place: str, name: str = TAXONOMY) -> None:
    for key, items in _mapping(value, place, name).items():
        if not isinstance(items, list) or not all(isinstance(item, str) and item.strip() for item in items):
            raise ValueError(f"{name}, {place} > {key}: must be a list of texts")
        if len(set(items)) < len(items):
            raise ValueError(f"{name}, {place} > {key}: holds `{max(items, key=items.count)}` twice")


def _mapping(value: Any, place: str, name: str = TAXONOMY) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{name}, {place}: must be a mapping whose keys are texts")
    return value
