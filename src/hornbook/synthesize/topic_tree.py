"""The step `topics`: a tree of topics that grows from the seed taxonomy, level by level (phi-1.5, section 2.2)."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from rapidfuzz import fuzz
from rapidfuzz.distance import Indel
from rapidfuzz.process import cdist

from hornbook.errors import UserError
from hornbook.recipe import TopicsConfig
from hornbook.records import Dropped, Failed, Topic, content_id
from hornbook.run.progress import Bar
from hornbook.run.step import Counts, Inputs, Result, Workspace
from hornbook.run.workers import cpu_quota
from hornbook.step_config import TopicsStep
from hornbook.tables import TableWriter, write_rows
from hornbook.teacher.builtin.facets import kinds_by_path, read_lists
from hornbook.teacher.limit import check_failures
from hornbook.teacher.load import load_teacher, sent_prompts
from hornbook.teacher.request import Failure, Teacher, TopicsRequest

STEP = "topics"
SEED, SEPARATOR = "seed", " > "
SPARE = 1.15  # topics asked for, over topics wanted: near-duplicates go
LONGEST_LIST = 40  # topics of one request: in longer lists models repeat themselves
SHORTEST_LIST = 10  # topics of one request below the first level: shorter lists pay for the prompt, not for topics
FEWEST_NODES = 20  # asked below the first level, so that all does not hang on one
MOST_CHILDREN = 60  # of one node, before its children are asked instead
ROUNDS = 5  # of requests below the nodes of one level
REHEARSED = 10  # requests
NO_REASON = Failure("no reply", "")
LONGEST_TITLE = 120  # characters; the prompt asks for two to ten words

WORD = re.compile(r"[^\W_]+")
POSSESSIVE = re.compile(r"['’]s?\b")
ARTICLES = frozenset(("a", "an", "the"))
STOP_WORDS = """a about all also an and are as at be been being by can could did do does during for from had has have
her his how in into is it its of on onto or our over so some such than that the their them then these they this those
through to was we were what which will with would you your basics exploring guide introduction overview understanding"""
STOPS = frozenset(STOP_WORDS.split())
# A near-duplicate has the same words but for their forms, order, articles and stop words, and but for one letter put in
# or left out of a longer word (color, colour). The ratio of whole titles cannot tell: `explaining frogs to a child` and
# `explaining fog to a child` are at 98, and of 20,000 different titles 10,000 pairs are at 85 or more.
SHORTEST_VARIANT = 5  # letters
LEAST_RATIO = 90  # of the forms of near-duplicates: a word of 5 letters and its variant of 6 alone are at 90.9
CANARIES = (  # titles, and as what each must be dropped after those before it; empty: it must stay
    ("how the lamplighters of Quillhaven count tortoises", ""),
    ("the history of Quillhaven", ""),
    ("the history of Quillmouth", ""),
    ("How Lamplighters of Quillhaven Count Tortoises!", "duplicate"),
    ("Counting tortoises: a Quillhaven lamplighter", "near-duplicate"),
    ("a history of Quilhaven", "near-duplicate"),
)


# ---- the seeds ----


@dataclass(frozen=True, slots=True)
class Words:
    """What makes requests on one topic differ: words.yaml, whose comments say what each list is for."""

    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    adjectives: tuple[str, ...]
    name_verbs: tuple[str, ...]
    name_nouns: tuple[str, ...]
    name_qualifiers: tuple[str, ...]
    audiences: tuple[str, ...]
    styles: tuple[str, ...]
    code_styles: tuple[str, ...]
    difficulties: tuple[str, ...]  # from easy to hard


def read_words() -> Words:
    """The lists of words.yaml. Raises TypeError where one is missing or too many."""
    return Words(**read_lists("words.yaml"))


def read_taxonomy() -> list[Topic]:
    """General knowledge: roots, branches and leaves, each node before those below it."""
    return [_seed(path) for path in kinds_by_path()]


def read_curriculum() -> list[Topic]:
    """Programming: headings and topics, each heading before its topics."""
    lists = read_lists("curriculum.yaml")
    return [_seed(path) for heading, titles in lists.items() for path in ((heading,), *((heading, t) for t in titles))]


def _seed(path: tuple[str, ...]) -> Topic:
    joined = SEPARATOR.join(path)
    return Topic(content_id(joined), path[-1], joined, len(path) - 1, SEED, "")


# ---- near-duplicates ----

Twin = tuple[str, str]  # the title that another repeats, and how: `duplicate` or `near-duplicate`


class Titles:
    """The titles kept so far."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._by_key: dict[str, str] = {}
        self._by_form: dict[str, str] = {}  # in the order in which they came

    def take(self, titles: Sequence[str]) -> list[Twin | None]:
        """Keep those that repeat none kept before them; gives for each what it repeats, the first of several."""
        forms = [normal_form(title) for title in titles]
        before = list(self._by_form)
        others = [*before, *forms]  # 35 titles beside 20,000: 700 kB of ratios
        ratios = cdist(forms, others, scorer=fuzz.ratio, score_cutoff=LEAST_RATIO, dtype=np.uint8, workers=self.workers)
        found: list[Twin | None] = []
        for place, (title, form) in enumerate(zip(titles, forms, strict=True)):
            near = (others[column] for column in np.flatnonzero(ratios[place, : len(before) + place]))
            twin = self._twin(title, form, near)
            if twin is None:
                self._by_key[exact_key(title)] = title
                self._by_form[form] = title
            found.append(twin)
        return found

    def _twin(self, title: str, form: str, near: Iterable[str]) -> Twin | None:
        if exact_key(title) in self._by_key:
            return self._by_key[exact_key(title)], "duplicate"
        if form in self._by_form:
            return self._by_form[form], "near-duplicate"
        for other in near:
            if other in self._by_form and same_words(form, other):
                return self._by_form[other], "near-duplicate"
        return None


def exact_key(title: str) -> str:
    """A title without case, accents, punctuation and articles."""
    plain = unicodedata.normalize("NFKD", POSSESSIVE.sub("", title.casefold()))
    words = WORD.findall("".join(char for char in plain if not unicodedata.combining(char)))
    return " ".join(word for word in words if word not in ARTICLES)


def normal_form(title: str) -> str:
    """The stems of a title's words in alphabetical order, without stop words (unless there are no others)."""
    words = exact_key(title).split()
    return " ".join(sorted(stem(word) for word in words if word not in STOPS)) or " ".join(words)


def stem(word: str) -> str:
    """An English word without plural, -ing, -ed and a last -e: crude, and the same for all forms of most words."""
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-2] if word.endswith(("ches", "shes", "sses", "xes", "zes")) else word[:-1]
        word = word.removesuffix("ie") + "y" if len(word) > 3 and word.endswith("ie") else word
    if len(word) > 5 and word.endswith("ing"):
        word = _undoubled(word[:-3])
    elif len(word) > 4 and word.endswith("ed") and not word.endswith("eed"):
        word = _undoubled(word[:-2])
    word = word[:-1] if len(word) > 3 and word.endswith("e") else word
    return word[:-1] + "i" if len(word) > 2 and word.endswith("y") else word


def _undoubled(word: str) -> str:
    return word[:-1] if word[-1:] == word[-2:-1] and not word.endswith(("l", "s", "z")) else word


def same_words(form: str, other: str) -> bool:
    """Whether normal forms differ by nothing but a letter more or less in longer words, or by how words are joined."""
    if form.replace(" ", "") == other.replace(" ", ""):
        return True
    ones, twos = form.split(), other.split()
    return len(ones) == len(twos) and all(
        one == two or (min(len(one), len(two)) >= SHORTEST_VARIANT and Indel.distance(one, two) <= 1)
        for one, two in zip(ones, twos, strict=True)
    )


def check_canaries(titles: Titles) -> dict[str, int]:
    """Plant titles among those kept; raises RuntimeError where one is not dropped, or kept, as it must be."""
    for (title, reason), twin in zip(CANARIES, titles.take([title for title, _ in CANARIES]), strict=True):
        if (twin[1] if twin else "") != reason:
            raise RuntimeError(f"{STEP}: the planted title `{title}` was {f'dropped for {twin}' if twin else 'kept'}")
    caught = sum(1 for _, reason in CANARIES if reason)
    return {"planted": caught, "caught": caught, "innocent_kept": len(CANARIES) - caught}


# ---- growth ----


@dataclass(slots=True)
class Node:
    """A node whose children are asked for."""

    topic: Topic
    children: list[Topic] = field(default_factory=list)
    proposed: list[str] = field(default_factory=list)  # all that was proposed below it, kept or not


@dataclass(slots=True)
class Growth:
    """The tree so far, and what became of all that was proposed for it."""

    teacher: Teacher
    tree: list[Topic]
    titles: Titles
    dropped: TableWriter[Dropped]
    failed: TableWriter[Failed]
    bar: Bar
    failure_limit: float
    failures: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    proposed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def drop(self, topic: Topic, reason: str, detail: str) -> None:
        """Enter a proposal that is not kept."""
        self.reasons[reason] += 1
        self.dropped.write(Dropped(topic.id, STEP, reason, detail))


def grow_topics(config: TopicsStep, inputs: Inputs, work: Workspace) -> Result:
    """Have the teacher grow the seed taxonomy into a tree of exactly `count` topics, no two of them near-duplicates.

    Writes topics.parquet (Topic: the seeds, then level after level, the children of a node together), dropped.parquet
    (`duplicate` and `near-duplicate`, of what came before them in the tree; `surplus`, cut evenly from the last level;
    `no title`) and failed.parquet (Failed, by the id of the node). Counts are of seeds, proposals and failed requests.

    Raises UserError where the teacher cannot give so many, RuntimeError where a planted near-duplicate slips through.
    """
    with load_teacher(config.topics.teacher, work, STEP) as teacher:
        return grow_tree(teacher, config.topics, work)


def grow_tree(teacher: Teacher, config: TopicsConfig, work: Workspace) -> Result:
    """The same, with a teacher at hand."""
    seeds, count = read_taxonomy(), config.count
    if count < len(seeds):
        raise UserError(f"{STEP}.count is {count}, but the seed taxonomy alone holds {len(seeds)} topics; ask for more")
    frontier = [Node(leaf) for leaf in leaves_of(seeds)]
    plan = requests_below(frontier, count - len(seeds))
    if plan:
        teacher.rehearse((request for _, request in plan[:REHEARSED]), len(plan))
    titles = Titles(work.machine.workers or cpu_quota())
    titles.take([seed.title for seed in seeds])
    with (
        TableWriter(work.directory / "dropped.parquet", Dropped) as dropped,
        TableWriter(work.directory / "failed.parquet", Failed, whole_after=UserError) as failed,
        work.progress.bar(STEP, count - len(seeds), "topics") as bar,
    ):
        growth = Growth(teacher, list(seeds), titles, dropped, failed, bar, config.failure_limit)
        while len(growth.tree) < count:
            frontier = grow_level(growth, frontier, count)
        planted = check_canaries(titles)
    write_rows(work.directory / "topics.parquet", Topic, growth.tree)
    ledger = teacher.ledger()
    facts = {
        "teacher": teacher.name,
        "prompts": sent_prompts(config.teacher, "topics"),
        "requests": growth.requests,
        **shape_of(growth.tree),
        "canaries": planted,
    }
    reasons = dict(sorted(growth.reasons.items()))
    counts = Counts(len(seeds) + growth.proposed + failed.rows, len(growth.tree), reasons, failed.rows)
    return Result(counts, facts, {"ledger": ledger} if ledger else {})


def leaves_of(seeds: Sequence[Topic]) -> list[Topic]:
    """The nodes without children."""
    parents = {seed.path.rpartition(SEPARATOR)[0] for seed in seeds}
    return [seed for seed in seeds if seed.path not in parents]


def grow_level(growth: Growth, frontier: list[Node], count: int) -> list[Node]:
    """Add children below the frontier to the tree, at most as many as it lacks; gives the nodes to ask next.

    A node that gave too little, by failure or repetition, is asked again, with what it proposed already. Raises
    UserError where the level falls short and is too thin to be built upon.
    """
    missing = count - len(growth.tree)
    found = 0
    for _ in range(ROUNDS):
        plan = requests_below(frontier, missing - found)
        if not plan:
            break
        brought = ask(growth, plan, missing - found)
        if not brought:
            break
        found += brought
    if found < min(missing, len(frontier)):
        raise UserError(
            f"{STEP}: with `{growth.teacher.name}` there are {len(growth.tree) + found} topics of {count} after "
            f"{growth.requests} requests ({growth.failed.rows} failed, {growth.reasons.total()} topics dropped); ask "
            f"for fewer in `{STEP}.count`, or take another teacher"
        )
    room = evenly([len(node.children) for node in frontier], missing)
    for node, most in zip(frontier, room, strict=True):
        growth.tree += node.children[:most]
        for topic in node.children[most:]:
            growth.drop(topic, "surplus", f"below `{node.topic.path}`")
    children = [Node(topic) for node in frontier for topic in node.children]
    return children[:: max(1, len(children) // max(FEWEST_NODES, (count - len(growth.tree)) // SHORTEST_LIST))]


def requests_below(frontier: Sequence[Node], missing: int) -> list[tuple[Node, TopicsRequest]]:
    """What to ask so that the nodes get about as many children each; empty where they have all they can have."""
    if missing <= 0:
        return []
    share = min(MOST_CHILDREN, math.ceil((sum(len(node.children) for node in frontier) + missing) / len(frontier)))
    plan = []
    for node in frontier:
        wanted = share - len(node.children)
        if wanted > 0:
            path = tuple(node.topic.path.split(SEPARATOR))
            longest = min(LONGEST_LIST, math.ceil(wanted * SPARE))
            plan.append((node, TopicsRequest(path, longest, tuple(node.proposed))))
    return plan


def ask(growth: Growth, plan: Sequence[tuple[Node, TopicsRequest]], missing: int) -> int:
    """Put the requests to the teacher and sift what comes; gives how many topics were kept."""
    kept = 0
    for (node, _), answer in zip(plan, growth.teacher.answers(request for _, request in plan), strict=True):
        if answer.value is None:
            why = answer.failure or NO_REASON
            growth.failed.write(Failed(node.topic.id, STEP, why.reason, why.detail, why.raw, answer.request))
            if why.reason != "unable":  # where a teacher has nothing deeper to say, the level is asked again
                growth.failures[why.reason] += 1
                check_failures(growth.failures, growth.failure_limit, growth.requests + len(plan), "requests")
            continue
        brought = sift(growth, node, [_below(node.topic, t, growth.teacher.name, answer.request) for t in answer.value])
        growth.bar.advance(max(0, min(brought, missing - kept)), growth.teacher.note())
        kept += brought
    growth.requests += len(plan)
    return kept


def sift(growth: Growth, node: Node, proposals: Sequence[Topic]) -> int:
    """Add to the node's children the proposals that are titles and new; gives how many."""
    growth.proposed += len(proposals)
    node.proposed += [topic.title for topic in proposals]
    fit, before = [topic for topic in proposals if is_title(topic.title)], len(node.children)
    for topic in proposals:
        if not is_title(topic.title):
            growth.drop(topic, "no title", topic.title[:LONGEST_TITLE])
    for topic, twin in zip(fit, growth.titles.take([topic.title for topic in fit]), strict=True):
        if twin is None:
            node.children.append(topic)
        else:
            growth.drop(topic, twin[1], f"`{topic.title}` is `{twin[0]}` again")
    return len(node.children) - before


def is_title(text: str) -> bool:
    """Whether a proposal can be a node: something to read, of one line, that leaves paths readable."""
    return len(text) <= LONGEST_TITLE and SEPARATOR not in text and any(char.isalnum() for char in text)


def _below(parent: Topic, title: str, origin: str, request: str) -> Topic:
    path = f"{parent.path}{SEPARATOR}{title}"
    return Topic(content_id(path), title, path, parent.level + 1, origin, request)


def evenly(sizes: Sequence[int], total: int) -> list[int]:
    """How many of each to keep so that `total` remain, the largest cut first and what is left over spread out."""
    if sum(sizes) <= total:
        return list(sizes)
    most = max(n for n in range(max(sizes)) if sum(min(size, n) for size in sizes) <= total)
    kept = [min(size, most) for size in sizes]
    larger = [place for place, size in enumerate(sizes) if size > most]
    rest = total - sum(kept)
    for number in range(rest):
        kept[larger[number * len(larger) // rest]] += 1
    return kept


def shape_of(tree: Sequence[Topic]) -> dict[str, Any]:
    """Facts on a tree: how many topics by level and root, how the seeds are covered, and how even it is."""
    children = Counter(topic.path.rpartition(SEPARATOR)[0] for topic in tree)
    covered = [children[leaf.path] for leaf in leaves_of([topic for topic in tree if topic.origin == SEED])]
    roots = Counter(topic.path.partition(SEPARATOR)[0] for topic in tree)
    return {
        "levels": {str(level): n for level, n in sorted(Counter(topic.level for topic in tree).items())},
        "roots": dict(roots),
        "coverage": {
            "seed_leaves": len(covered),
            "share_with_children": sum(n > 0 for n in covered) / len(covered),
            "children_min": min(covered),
            "children_median": median(covered),
            "children_max": max(covered),
        },
        "balance": balance(roots),
    }


def balance(counts: Mapping[str, int]) -> float:
    """Entropy over the largest it can be: 1 where all counts are equal, 0 where there is only one."""
    entropy = -sum(n * math.log(n / sum(counts.values())) for n in counts.values() if n) / sum(counts.values())
    return entropy / math.log(len(counts)) if len(counts) > 1 else 0.0
