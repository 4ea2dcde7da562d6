"""The built-in teacher's topics read well with every leaf they stand below, and the taxonomy is what it says."""

import re
from collections import Counter
from importlib.resources import files

import pytest
import yaml

from hornbook.teacher.builtin.facets import (
    ANY,
    kinds_by_path,
    proposals,
    propose_topics,
    read_lists,
    read_taxonomy_file,
)
from hornbook.teacher.parsing import TeacherError

FEWEST_FACETS = 43  # 659 leaves × 30 topics are 20,000 with the seeds, and near-duplicates and repeated words go
PLURAL = ("device", "software", "instrument", "animal", "plant", "landscape", "institution", "occupation")
SINGULAR = (
    "phenomenon", "process", "matter", "weather", "region", "feeling", "virtue", "concept", "method", "fallacy",
    "faculty", "event", "era", "art", "sport", "game",
)  # fmt: skip
DOING = ("skill", "chore", "habit", "safety", "situation", "dilemma", "everyday", "mishap")
WITHOUT_PLURAL_S = {"cacti", "salmon", "wheels and axles"}
ENDS_IN_S_AND_IS_ONE = {
    "the Himalayas", "glass", "sadness", "kindness", "fairness", "loneliness", "gymnastics", "tennis", "chess",
    "draughts", "dominoes", "marbles", "confirmation bias", "hindsight bias", "photosynthesis", "metamorphosis",
    "the hypothesis", "the separation of powers", "the growth of railways",
}  # fmt: skip
LEAVES = {path: kind for path, kind in kinds_by_path().items() if kind}
SOME_LEAF = ("natural sciences", "changes of matter", "rusting")


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, which YAML itself takes in silence."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"{node.start_mark}: {[k for k, n in Counter(keys).items() if n > 1]}"
        return super().construct_mapping(node, deep)


def scalars(value):
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from scalars(item)
    elif isinstance(value, list):
        for item in value:
            yield from scalars(item)
    else:
        yield value


@pytest.mark.parametrize("name", ["taxonomy.yaml", "curriculum.yaml", "words.yaml"])
def test_data_files_hold_texts_and_no_key_twice(name):
    text = (files("hornbook") / "data" / name).read_text(encoding="utf-8")
    for scalar in scalars(yaml.load(text, StrictLoader)):
        assert isinstance(scalar, str)  # YAML 1.1 reads `no`, `on` and `false` as something else
        assert scalar == " ".join(scalar.split()) != ""
    assert max(map(len, text.splitlines())) <= 120


def test_size_of_the_taxonomy():
    levels = Counter(map(len, kinds_by_path()))
    assert set(levels) == {1, 2, 3}
    assert 16 <= levels[1] <= 20
    assert 600 <= levels.total() <= 800
    branches = Counter(path[:2] for path in LEAVES)
    assert len(branches) == levels[2]
    assert set(branches.values()) == {6, 7}
    roots = Counter(path[0] for path in LEAVES)
    assert max(roots.values()) <= 1.15 * min(roots.values())
    used = Counter(LEAVES.values())
    assert set(used) | {ANY} == set(read_taxonomy_file()["kinds"])


def test_every_leaf_has_many_distinct_topics():
    for path, kind in LEAVES.items():
        topics = propose_topics(path, kind, 999)
        assert len(topics) >= FEWEST_FACETS
        assert len({topic.casefold() for topic in topics}) == len(topics)
        for topic in topics:
            assert path[-1] in topic
            assert not re.search(r"\bX\b", topic)
            assert not re.search(r"\b(\w+) \1\b", topic), topic
            assert len(topic) <= 120


def test_leaves_have_the_number_their_kind_wants():
    for path, kind in LEAVES.items():
        title = path[-1]
        if kind in DOING:
            assert title.split()[0].endswith("ing"), title
        if kind in PLURAL:
            assert title.endswith("s") or title in WITHOUT_PLURAL_S, title
        if kind in SINGULAR:
            assert not title.endswith("s") or title in ENDS_IN_S_AND_IS_ONE, title


def test_verbs_after_a_leaf_have_its_number():
    """Where a facet makes the leaf a subject in the present tense, only leaves of that number may meet it."""
    singular = re.compile(r"\bX (is|has|does|works|changes|takes|matters|means|begins|comes|differs|helps|teaches)\b")
    plural = re.compile(
        r"\bX (are|have|do|work|change|take|matter|mean|begin|come|differ|help|live|grow|need|form|eat)\b"
    )
    for kind, facets in read_taxonomy_file()["kinds"].items():
        for facet in facets:
            assert kind in SINGULAR + DOING or not singular.search(facet), (kind, facet)
            assert kind in PLURAL or not plural.search(facet), (kind, facet)


def test_a_facet_never_repeats_a_word_of_the_title():
    topics = propose_topics(("money and work", "getting things done at work", "asking for help"), "skill", 999)
    assert not [topic for topic in topics if topic.count("help") > 1]
    assert any("help" in facet for facet in read_taxonomy_file()["kinds"]["skill"])


def test_leaves_of_a_kind_spread_over_its_facets():
    kind = "chore"
    uses = Counter()
    leaves = [path for path, other in LEAVES.items() if other == kind]
    for path in leaves:
        uses.update(topic.replace(path[-1], "X") for topic in propose_topics(path, kind, 29))
    expected = 29 * len(leaves) / len([*read_taxonomy_file()["kinds"][kind], *read_taxonomy_file()["kinds"][ANY]])
    assert min(uses.values()) > expected / 3
    assert max(uses.values()) < expected * 1.7


def test_proposals_leave_out_what_is_known():
    first = proposals(SOME_LEAF, 10, ())
    assert len(first) == 10
    more = proposals(SOME_LEAF, 10, tuple(topic.upper() for topic in first))
    assert not set(first) & set(more)
    assert first + more == proposals(SOME_LEAF, 20, ())


@pytest.mark.parametrize(
    "path",
    [
        ("natural sciences",),
        SOME_LEAF[:2],
        (*SOME_LEAF, "what drives rusting"),
        ("history", "changes of matter", "rusting"),
    ],
    ids=["root", "branch", "below a leaf", "another path"],
)
def test_unable_anywhere_but_below_a_leaf(path):
    with pytest.raises(TeacherError, match="leaves of its taxonomy alone") as caught:
        proposals(path, 5, ())
    assert caught.value.reason == "unable"


def test_unable_when_all_is_known():
    with pytest.raises(TeacherError, match="no more topics below `rusting`"):
        proposals(SOME_LEAF, 5, proposals(SOME_LEAF, 999, ()))


def test_words_are_of_one_word_and_names_make_identifiers():
    lists = read_lists("words.yaml")
    plain = [word for name in ("nouns", "verbs", "adjectives") for word in lists[name]]
    assert 1400 <= len(plain) == len(set(plain))
    assert all(re.fullmatch(r"[a-z]+", word) for word in plain)
    for name in ("name_verbs", "name_nouns", "name_qualifiers"):
        assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", word) for word in lists[name])
