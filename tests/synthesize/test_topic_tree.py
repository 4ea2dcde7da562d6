"""The tree of topics: exactly as many as asked, no two alike, every proposal accounted for."""

import random
from collections import Counter
from functools import cache
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hornbook.errors import UserError
from hornbook.recipe import BUILTIN, MachineConfig, TopicsConfig
from hornbook.records import Dropped, Failed, Topic, content_id
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.step_config import TopicsStep
from hornbook.synthesize.topic_tree import (
    CANARIES,
    LONGEST_LIST,
    ROUNDS,
    SEPARATOR,
    Titles,
    balance,
    check_canaries,
    evenly,
    exact_key,
    grow_topics,
    grow_tree,
    leaves_of,
    normal_form,
    read_curriculum,
    read_taxonomy,
    read_words,
    same_words,
)
from hornbook.tables import read_rows
from hornbook.teacher.request import Answer, Failure, request_id

SEEDS = len(read_taxonomy())
LEAVES = [leaf.title for leaf in leaves_of(read_taxonomy())]
SYLLABLES = ["ba", "do", "fi", "gu", "ke", "lo", "mi", "nu", "pa", "ro", "su", "te", "vi", "wo", "ze", "cha"]


class FakeModel:
    """A model whose reply is a function of the request and of how many came before: a tuple of titles, or a Failure."""

    name = "fake:model"

    def __init__(self, reply):
        self.reply = reply
        self.asked = []
        self.rehearsed = None

    def rehearse(self, requests, total):
        assert not self.asked
        self.rehearsed = (len(list(requests)), total)

    def answers(self, requests):
        for request in requests:
            value = self.reply(request, len(self.asked))
            self.asked.append(request)
            if isinstance(value, Failure):
                yield Answer(request_id(request), None, value)
            else:
                yield Answer(request_id(request), value)

    def note(self):
        return ""

    def ledger(self):
        return {"usd": 1.5}


def invented(number):
    """A word like no other: nothing that plural or past would change, and two letters from every other."""
    return "".join(SYLLABLES[number >> shift & 15] for shift in (0, 4, 8, 12, 16)) + "q"


def fresh(request, number, most=LONGEST_LIST):
    return tuple(invented(LONGEST_LIST * number + place) for place in range(min(request.count, most)))


def workspace(directory, workers=1):
    return Workspace(directory, MachineConfig(workers=workers), Silent(), directory, "run")


def config(count):
    return TopicsConfig(teacher=BUILTIN, count=count, failure_limit=1.0)


def grown(directory, model, count):
    """The result, the topics, and what was dropped and what failed; checked for what holds of every tree."""
    result = grow_tree(model, config(count), workspace(directory))
    topics = list(read_rows(directory / "topics.parquet", Topic))
    dropped = list(read_rows(directory / "dropped.parquet", Dropped))
    failed = list(read_rows(directory / "failed.parquet", Failed))
    check_tree(result, topics, dropped, failed, count)
    return result, topics, dropped, failed


def check_tree(result, topics, dropped, failed, count):
    assert len(topics) == count
    assert len({exact_key(topic.title) for topic in topics}) == count
    assert topics[:SEEDS] == read_taxonomy()
    by_path = {}
    for topic in topics:
        assert topic.id == content_id(topic.path)
        parent, _, title = topic.path.rpartition(SEPARATOR)
        assert title == topic.title
        assert topic.level == (by_path[parent].level + 1 if parent else 0)  # a parent comes before its children
        by_path[topic.path] = topic
    levels = [topic.level for topic in topics[SEEDS:]]
    assert levels == sorted(levels)
    parents = [topic.path.rpartition(SEPARATOR)[0] for topic in topics[SEEDS:]]
    places = {path: place for place, path in enumerate(by_path)}
    assert [places[p] for p in parents] == sorted(places[p] for p in parents)  # in the order of the parents
    assert result.counts.balanced()
    assert (result.counts.kept, result.counts.failed) == (count, len(failed))
    assert result.counts.dropped == Counter(row.reason for row in dropped)
    assert result.facts["levels"] == {str(k): v for k, v in Counter(topic.level for topic in topics).items()}
    assert sum(result.facts["roots"].values()) == count


# ---- near-duplicates ----


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("the history of volcanoes", "History of a Volcano"),
        ("how bees make honey", "Making Honey: How the Bee Does It"),
        ("birdwatching in winter", "bird watching in the winter"),
        ("the colour of the sky", "color of sky"),
        ("travelling by train", "traveling by trains"),
        ("a child's first day at school", "the children’s first days at schools".replace("children", "child")),
        ("café life", "Cafe Life"),
        ("planning a party", "how to plan parties"),
        ("an introduction to fractions", "fractions"),
        ("studying for an exam", "how to study for exams"),
    ],
)
def test_near_duplicates_are_caught(one, other):
    assert Titles(1).take([one, other])[1] is not None
    assert Titles(1).take([other, one])[1] is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("the history of Austria", "the history of Australia"),
        ("what microeconomics studies", "what macroeconomics studies"),
        ("explaining frogs to a five-year-old", "explaining fog to a five-year-old"),
        ("a helpful comparison for iron", "a helpful comparison for bronze"),
        ("a story that turns on gears", "a story that turns on fears"),
        ("life before electricity", "life after electricity"),
        ("why leaves fall", "when leaves fall"),
        ("cooking with oil", "cooking without oil"),
        ("the first world war", "the second world war"),
        ("the year 1914", "the year 1915"),
        ("hypothermia", "hyperthermia"),
        ("theory of mind", "theory of music"),
        ("rivers of Asia", "rivers of Africa"),
    ],
)
def test_different_topics_are_kept(one, other):
    assert Titles(1).take([one, other]) == [None, None]


def test_the_twin_is_named_with_how_it_was_found():
    found = Titles(1).take(["The Moon", "the moon!", "moons", "Mars", "a mars"])
    assert found == [None, ("The Moon", "duplicate"), ("The Moon", "near-duplicate"), None, ("Mars", "duplicate")]


def naive(titles):
    """What stays, by comparing each title with every one kept."""
    kept = []
    for title in titles:
        form = normal_form(title)
        if not any(normal_form(other) == form or same_words(form, normal_form(other)) for other in kept):
            kept.append(title)
    return kept


def spoiled(title, rng):
    """The same topic in other words, or with a slip."""
    words = title.split()
    long = [place for place, word in enumerate(words) if len(word) > 6]
    way = rng.randrange(4)
    if way == 0:
        return " ".join(["The", *words[::-1]])
    if way == 1:
        return title.upper() + "!"
    if way == 2 and long:
        place = rng.choice(long)
        words[place] = words[place][:3] + words[place][2:]
        return " ".join(words)
    return " ".join([*words, "an overview"])


def test_sifting_equals_comparing_every_pair():
    rng = random.Random(7)
    titles = [topic.title for topic in builtin_tree()[1]]
    sample = rng.sample(titles, 500)
    mixed = sample + [spoiled(title, rng) for title in rng.sample(sample, 250)]
    rng.shuffle(mixed)
    expected = naive(mixed)
    assert 240 <= len(mixed) - len(expected) <= 260
    for workers in (1, 2):
        sifter = Titles(workers)
        found = [twin for start in range(0, len(mixed), 35) for twin in sifter.take(mixed[start : start + 35])]
        assert [title for title, twin in zip(mixed, found, strict=True) if twin is None] == expected


def test_a_sieve_that_catches_nothing_or_all_is_found_out():
    class Blind(Titles):
        def take(self, titles):
            return [None] * len(titles)

    class Greedy(Titles):
        def take(self, titles):
            return [("something", "near-duplicate")] * len(titles)

    with pytest.raises(RuntimeError, match=r"planted title .* was kept"):
        check_canaries(Blind(1))
    with pytest.raises(RuntimeError, match=r"planted title .* was dropped"):
        check_canaries(Greedy(1))
    assert check_canaries(Titles(1)) == {"planted": 3, "caught": 3, "innocent_kept": len(CANARIES) - 3}


# ---- the seeds ----


def test_no_two_seeds_are_alike():
    for seeds in (read_taxonomy(), read_curriculum()):
        assert Titles(1).take([seed.title for seed in seeds]) == [None] * len(seeds)
        assert len({seed.id for seed in seeds}) == len(seeds)


def test_sizes_of_the_curriculum_and_the_words():
    levels = Counter(topic.level for topic in read_curriculum())
    assert 28 <= levels[0] <= 40
    assert 300 <= levels[1] <= 450
    words = read_words()
    assert len(words.name_verbs) >= 150
    assert len(words.name_nouns) >= 400
    assert len(words.name_qualifiers) >= 120
    assert len(words.audiences) >= 40
    assert len(words.styles) >= 20
    assert len(words.code_styles) >= 12
    assert len(words.difficulties) == 6


# ---- the tree of the built-in teacher ----


@cache
def builtin_tree():
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        step = TopicsStep(topics=config(20_000), seed=1)
        result = grow_topics(step, {}, workspace(directory))
        topics = list(read_rows(directory / "topics.parquet", Topic))
        dropped = list(read_rows(directory / "dropped.parquet", Dropped))
        failed = list(read_rows(directory / "failed.parquet", Failed))
    return result, topics, dropped, failed


def test_twenty_thousand_topics_from_the_builtin_teacher():
    result, topics, dropped, failed = builtin_tree()
    check_tree(result, topics, dropped, failed, 20_000)
    assert failed == []
    assert result.facts["teacher"] == "builtin (offline rules, not an LLM)"
    assert {topic.origin for topic in topics[SEEDS:]} == {result.facts["teacher"]}
    coverage = result.facts["coverage"]
    assert coverage["share_with_children"] == 1
    assert coverage["children_max"] - coverage["children_min"] <= 1
    assert result.facts["balance"] > 0.999
    assert max(result.facts["roots"].values()) < 1.1 * min(result.facts["roots"].values())


def test_no_near_duplicates_in_a_sample_of_the_builtin_tree():
    titles = [topic.title for topic in builtin_tree()[1]]
    forms = [normal_form(title) for title in random.Random(11).sample(titles, 1200)]
    for one, other in combinations(forms, 2):
        assert one != other
        assert abs(len(one) - len(other)) > 2 or not same_words(one, other), (one, other)


def test_the_bytes_do_not_depend_on_the_workers(tmp_path):
    written = []
    for workers in (1, 2):
        directory = tmp_path / str(workers)
        directory.mkdir()
        grow_tree(FakeModel(fresh), config(SEEDS + 900), workspace(directory, workers))
        written.append([path.read_bytes() for path in sorted(directory.iterdir())])
    assert written[0] == written[1]
    assert len(written[0]) == 3


# ---- the tree of a model ----


def test_one_round_suffices_a_model_that_gives_what_it_is_asked_for(tmp_path):
    model = FakeModel(fresh)
    result, topics, dropped, _ = grown(tmp_path, model, SEEDS + 4 * len(LEAVES))
    assert len(model.asked) == result.facts["requests"] == len(LEAVES)
    assert model.rehearsed == (10, len(LEAVES))
    assert {request.count for request in model.asked} == {5}  # 4 × 1.15
    assert Counter(row.reason for row in dropped) == {"surplus": len(LEAVES)}
    assert set(Counter(topic.path.rpartition(SEPARATOR)[0] for topic in topics[SEEDS:]).values()) == {4}
    assert result.timing == {"ledger": {"usd": 1.5}}


def test_repetitions_failures_and_nonsense_keep_their_reasons(tmp_path):
    def reply(request, number):
        if number >= len(LEAVES):  # asked again
            return fresh(request, number)
        leaf = request.path[-1]
        match number % 6:
            case 0:
                return Failure("unparsed", "no JSON", "sorry")
            case 1:
                return ()
            case 2:  # the node itself, a sibling twice, and a topic of another branch
                title = invented(40 * number)
                return (leaf, title, title.title() + ".", f"an introduction to {title}s", LEAVES[0])
            case 3:
                return ("...", "a > b", "word " * 40, *fresh(request, number, 2))
        return fresh(request, number)

    model = FakeModel(reply)
    result, _, dropped, failed = grown(tmp_path, model, SEEDS + 3 * len(LEAVES))
    sixth = [sum(1 for number in range(len(LEAVES)) if number % 6 == kind) for kind in range(6)]
    assert len(failed) == sixth[0]
    assert {(row.step, row.reason, row.detail, row.raw) for row in failed} == {
        ("topics", "unparsed", "no JSON", "sorry")
    }
    leaves = {leaf.id for leaf in leaves_of(read_taxonomy())}
    assert {row.id for row in failed} <= leaves
    assert all(row.request for row in failed)
    reasons = Counter(row.reason for row in dropped)
    assert reasons["no title"] == 3 * sixth[3]
    assert reasons["near-duplicate"] == sixth[2]
    assert reasons["duplicate"] == 3 * sixth[2]
    assert result.facts["coverage"]["share_with_children"] == 1
    again = model.asked[len(LEAVES) :]
    assert all(set(request.path) <= set(known_path(request)) for request in again)
    repeated = [request for request in again if request.path[-1] == LEAVES[2]]
    assert LEAVES[2] in repeated[0].known  # what was dropped is not to be proposed again either


def known_path(request):
    return next(topic.path for topic in read_taxonomy() if topic.title == request.path[-1]).split(SEPARATOR)


def test_too_little_below_the_leaves_grows_another_level(tmp_path):
    model = FakeModel(lambda request, number: fresh(request, number, 1 if len(request.path) == 3 else 40))
    count = SEEDS + ROUNDS * len(LEAVES) + 500
    result, topics, _, _ = grown(tmp_path, model, count)
    assert result.facts["levels"]["3"] == ROUNDS * len(LEAVES)
    assert result.facts["levels"]["4"] == 500
    assert result.facts["balance"] > 0.99
    deeper = [request for request in model.asked if len(request.path) == 4]
    assert 500 / 20 <= len(deeper) <= 500 / 8  # lists of about ten, not one topic a request
    parents = Counter(topic.path.partition(SEPARATOR)[0] for topic in topics if topic.level == 4)
    assert len(parents) == 20


@pytest.mark.parametrize(
    "reply",
    [
        lambda request, number: Failure("no reply", "timeout"),
        lambda request, number: (),
        lambda request, number: ("the same thing", "the same things"),
        lambda request, number: (request.path[-1],),
    ],
    ids=["failures", "nothing", "the same", "an echo"],
)
def test_a_teacher_that_cannot_is_an_error_that_says_so(tmp_path, reply):
    with pytest.raises(
        UserError, match=rf"there are \d+ topics of {SEEDS + 2000} after \d+ requests .* `topics.count`"
    ):
        grow_tree(FakeModel(reply), config(SEEDS + 2000), workspace(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["failed.parquet"]


def test_the_seeds_alone_need_no_teacher(tmp_path):
    model = FakeModel(fresh)
    grown(tmp_path, model, SEEDS)
    assert model.asked == []
    assert model.rehearsed is None
    with pytest.raises(UserError, match=rf"topics.count is {SEEDS - 1}, but the seed taxonomy alone holds {SEEDS}"):
        grow_tree(model, config(SEEDS - 1), workspace(tmp_path))


# ---- arithmetic ----


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.integers(0, 500))
def test_cutting_evenly(sizes, total):
    kept = evenly(sizes, total)
    assert sum(kept) == min(total, sum(sizes))
    assert all(0 <= few <= size for few, size in zip(kept, sizes, strict=True))
    cut = [few for few, size in zip(kept, sizes, strict=True) if few < size]
    if cut:  # nobody keeps more than one above the least of those that were cut
        assert max(kept) <= min(cut) + 1


def test_balance_of_known_counts():
    assert balance({"a": 5, "b": 5, "c": 5}) == pytest.approx(1)
    assert balance({"a": 5}) == 0
    assert balance({"a": 3, "b": 1}) == pytest.approx(0.811278, abs=1e-6)  # the entropy of 3:1 in bits


def test_a_teacher_that_fails_too_often_is_stopped_at_once(tmp_path):
    model = FakeModel(lambda request, number: Failure("unparsed", "no JSON", "hm"))
    limited = TopicsConfig(teacher=BUILTIN, count=SEEDS + 500, failure_limit=0.01)
    with pytest.raises(UserError, match=r"7 of 659 requests failed \(unparsed 7\), more than the limit of 1\.0%"):
        grow_tree(model, limited, workspace(tmp_path))
    failed = list(read_rows(tmp_path / "failed.parquet", Failed))
    assert [row.raw for row in failed] == ["hm"] * 7
