"""How diverse a set of texts is, so that a user sees when generation stops adding anything (phi-1, section 2.2).

Every measure is taken on texts in a seeded order that depends on the texts alone, and over a fixed amount of text where
it would otherwise fall or rise with the size of the set; how much it was is told beside it. A measure of nothing is
None, never 0. Words are those of the step `dedup`: runs of word characters, and single punctuation marks.

Near-duplicates grow more frequent, and distinct n-grams rarer, the more texts there are of a kind, and the longer they
are: compare sets at the same amounts, or along their curves.
"""

import heapq
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import chain

import numpy as np
import numpy.typing as npt
import zstandard
from scipy.sparse import csr_array

from hornbook.curate.dedup import WORD
from hornbook.curate.rows import RowTable, table_of
from hornbook.records import Exercise, content_id
from hornbook.run.step import Inputs, Result, Workspace
from hornbook.step_config import DiversityStep
from hornbook.tables import read_columns

MOST_TEXTS = 30_000  # of a sample: 4 s of one core and 0.3 GB for exercises of 60 words
MOST_CHARACTERS = 8_000_000  # of a sample: 30,000 exercises fit, and one of long documents is bounded too
LONGEST_TEXT = 10_000  # characters of a text that are read, so that a megabyte is at least 100 texts
NEAR_WORDS, NEAR = 5, 0.7  # the n-grams and the threshold of the recipes' `dedup`
DISTINCT_WORDS = 100_000  # distinct-n falls as a sample grows, so it is taken over so many words
ZSTD_BYTES, ZSTD_WINDOW_LOG, ZSTD_LEVEL = 1_000_000, 20, 19  # a window of 2^20 bytes holds them all
VENDI_TEXTS = 1_000  # the eigenvalues of a 1,000 × 1,000 matrix: 0.3 s
VENDI_WORDS = 4  # n-grams of 1 to 4 words
CURVE_POINTS = 8
# A text is compared with so many before it for each of its rare n-grams. 30,000 of our exercises need 83; as many
# variants of one template, all near the threshold, would need them all, and take 30 s with this bound.
MOST_NEIGHBOURS = 300
PAIRS_AT_ONCE = 10_000  # compared at once: some 30 MB for exercises
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd and without structure: 2^64 over the golden ratio
SLACK = 1e-9  # below a whole number, so that 0.7 × 10 needs no more than 7

Sparse = csr_array[np.float64, tuple[int, int]]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measures:
    """Of a set of texts. None: too little to be measured."""

    texts: int
    near_duplicate_rate: float | None  # share of texts with a Jaccard similarity >= 0.7 to one earlier in the order
    words: int  # that the next three are over
    distinct_1: float | None  # distinct words over words (Li et al. 2016)
    distinct_2: float | None  # of the word 2-grams, which stay inside a text
    distinct_3: float | None
    bytes: int  # that the next one is over
    compression_ratio: float | None  # bytes over zstd-compressed bytes; higher: more repetition
    vendi_texts: int  # that the next one is over
    vendi_score: float | None  # 1 to `vendi_texts`: the effective number of different texts


@dataclass(frozen=True, slots=True)
class Point:
    """The first `texts` texts of the order, and what those since the point before brought."""

    texts: int
    new_trigrams_per_text: float  # distinct word 3-grams not seen before, over all words
    measures: Measures


@dataclass(frozen=True, slots=True)
class Coverage:
    """How evenly rows lie over topics × audiences.

    Balance is the entropy over its maximum, log of how many there could be: 1 where all are equally common; None where
    there could be only one.
    """

    rows: int
    topics: int
    audiences: int
    pairs: int
    pairs_possible: int  # topics × audiences
    share_covered: float | None
    topic_balance: float | None
    pair_balance: float | None  # against the pairs possible


def measure(texts: Sequence[str], seed: int) -> Measures:
    """The measures of a set that fits in memory. They do not depend on the order the texts are given in."""
    return _measure_first(texts, [len(texts)], seed)[0].measures


def curve(texts: Sequence[str], points: int, seed: int) -> list[Point]:
    """The measures of the first n texts, for at most `points` sizes that double up to the whole set.

    The last point has the measures of `measure`. Where the set is saturated, new 3-grams fall towards 0 and the rate of
    near-duplicates rises. The measures over a fixed amount of text stand still once n exceeds it.
    """
    return _measure_first(texts, sorted({len(texts) >> halvings for halvings in range(points)} - {0}), seed)


def _measure_first(texts: Sequence[str], sizes: list[int], seed: int) -> list[Point]:
    """Each measure is computed once for each amount of text it is taken over, whatever the number of sizes."""
    ordered = seeded_order(texts, seed)
    encoded = [text.encode("utf-8", "surrogatepass") for text in ordered]
    words = Words.of(ordered)
    kernel = ngram_kernel(words.first(VENDI_TEXTS))
    near, trigrams = _running(near_duplicates(words)), _running(_first_seen(words, 3))
    words_until, bytes_until = _running(words.lengths), _running([len(text) for text in encoded])
    distinct = cache(partial(_distinct, words))
    compression = cache(partial(_compression_ratio, b"".join(encoded)[:ZSTD_BYTES]))
    vendi = cache(lambda count: vendi_score(kernel[:count, :count]))
    points, before = [], 0
    for size in sizes:
        word_count = min(int(words_until[size]), DISTINCT_WORDS)
        byte_count = min(int(bytes_until[size]), ZSTD_BYTES)
        vendi_texts = min(size, VENDI_TEXTS)
        measures = Measures(
            size, float(near[size] / size) if size > 1 else None,
            word_count, *distinct(word_count),
            byte_count, compression(byte_count),
            vendi_texts, vendi(vendi_texts),
        )  # fmt: skip
        points.append(Point(size, float((trigrams[size] - trigrams[before]) / max(1, size - before)), measures))
        before = size
    return points


def _running(values: npt.ArrayLike) -> Integers:
    """The sum of the first n values, for n from 0."""
    return np.concatenate(([0], np.cumsum(values, dtype=np.int64)))


def seeded_order(texts: Sequence[str], seed: int) -> list[str]:
    """The texts by a seeded hash of their content; the copies of a text lie apart."""
    seen: Counter[str] = Counter()
    keyed = []
    for text in texts:
        seen[text] += 1
        keyed.append((content_id(f"{seed}:{seen[text]}:{text}"), text))
    return [text for _, text in sorted(keyed)]


# ---- words and n-grams, as numbers ----


@dataclass(frozen=True, slots=True)
class Words:
    """The words of texts, numbered from 1 in the order they are first met.

    After each text stand `NEAR_WORDS` zeros, so that the n-gram of a text too short for one can be read off like any.
    """

    numbers: Integers  # of the words, text after text
    starts: Integers  # of each text in `numbers`
    lengths: Integers  # of each text, in words

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Words":
        vocabulary: dict[str, int] = {}
        gap = np.zeros(NEAR_WORDS, np.int64)
        numbered = [
            np.array([vocabulary.setdefault(word, len(vocabulary) + 1) for word in WORD.findall(text)], np.int64)
            for text in texts
        ]
        lengths = np.array([len(text) for text in numbered], np.int64)
        numbers = np.concatenate([gap, *chain.from_iterable((text, gap) for text in numbered)])
        return cls(numbers, NEAR_WORDS + (lengths + NEAR_WORDS).cumsum() - lengths - NEAR_WORDS, lengths)

    def first(self, texts: int) -> "Words":
        """The first `texts` texts."""
        return Words(self.numbers, self.starts[:texts], self.lengths[:texts])

    def cut(self, words: int) -> "Words":
        """The first `words` words."""
        before = self.lengths.cumsum() - self.lengths
        return Words(self.numbers, self.starts, (words - before).clip(0, self.lengths))


def _ngrams(words: Words, n: int, least: int) -> tuple[npt.NDArray[np.uint64], Integers]:
    """The n-grams (n <= NEAR_WORDS) of all texts as numbers, each with the place of its text.

    A text of fewer than n words has `least` of them: 0, or 1, itself. Two that differ share a number once in 2^64.
    """
    counts = np.maximum(words.lengths - n + 1, least)
    texts = np.repeat(np.arange(len(counts)), counts)
    starts = np.arange(len(texts)) + np.repeat(words.starts - counts.cumsum() + counts, counts)
    grams = np.zeros(len(texts), np.uint64)
    for offset in range(n):
        grams *= MULTIPLIER
        grams += words.numbers[starts + offset].astype(np.uint64)
    return grams, texts


def _ngram_counts(words: Words, n: int) -> Sparse:
    """Texts × distinct n-grams: how often one stands in the other.

    A text of fewer than n words is one n-gram, as in `word_ngrams`, so no row is empty.
    """
    grams, texts = _ngrams(words, n, least=1)
    distinct, columns = np.unique(grams, return_inverse=True)
    return csr_array((np.ones(len(grams)), (texts, columns)), shape=(len(words.lengths), len(distinct)))


def _first_seen(words: Words, n: int) -> Integers:
    """How many n-grams each text has that no text before it has."""
    grams, texts = _ngrams(words, n, least=0)
    _, first = np.unique(grams, return_index=True)
    return np.bincount(texts[first], minlength=len(words.lengths))


# ---- the measures ----


def near_duplicates(words: Words) -> Flags:
    """Which texts have a Jaccard similarity of word 5-grams of at least 0.7 with an earlier one.

    Exact, where MinHash would miss some: with n-grams in order of rarity, two texts so alike share one of the first
    |x| - ⌈0.7 |x|⌉ + 1 of each, and the first they share leaves enough n-grams to both (prefix and positional filter,
    PPJoin, Xiao et al. 2008). Only such pairs are compared. Beyond MOST_NEIGHBOURS of them a text may be missed.
    """
    near = np.zeros(len(words.lengths), np.bool_)
    if len(near) < 2:
        return near
    sets = _ngram_counts(words, NEAR_WORDS)
    sets.data[:] = 1
    sets = sets[:, np.argsort(sets.sum(axis=0), kind="stable")]
    sets.sort_indices()
    sizes = np.diff(sets.indptr).astype(np.int64)
    for earlier, later, left in _nominated(sets, sizes, near):
        enough = left >= NEAR / (1 + NEAR) * (sizes[earlier] + sizes[later]) - SLACK
        pairs = np.unique(earlier[enough] * len(sizes) + later[enough])
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            ones, others = np.divmod(pairs[start : start + PAIRS_AT_ONCE], len(sizes))
            both: npt.NDArray[np.float64] = sets[ones].multiply(sets[others]).sum(axis=1)
            near[others[both / (sizes[ones] + sizes[others] - both) >= NEAR]] = True
    return near


def _nominated(sets: Sparse, sizes: Integers, near: Flags) -> Iterator[tuple[Integers, Integers, Integers]]:
    """Pairs of texts (earlier, later) that share a rare n-gram, nearest in the order first, with how many n-grams both
    have left from there on; none whose later text is by then in `near`, which the caller fills in."""
    text = np.repeat(np.arange(len(sizes)), sizes)
    left = sizes[text] - np.arange(len(text)) + sets.indptr[text]
    rare = left >= np.ceil(NEAR * sizes - SLACK)[text]
    gram, text, left = sets.indices[rare], text[rare], left[rare]
    order = np.argsort(gram, kind="stable")
    gram, text, left = gram[order], text[order], left[order]
    places = np.arange(len(gram))
    for distance in range(1, MOST_NEIGHBOURS + 1):
        places = places[(places >= distance) & ~near[text[places]]]
        places = places[gram[places] == gram[places - distance]]
        if not len(places):
            return
        yield text[places - distance], text[places], np.minimum(left[places - distance], left[places])


def _distinct(words: Words, count: int) -> tuple[float | None, float | None, float | None]:
    """Distinct 1-, 2- and 3-grams over all, of the first `count` words."""
    cut = words.cut(count)
    grams = [_ngrams(cut, n, least=0)[0] for n in (1, 2, 3)]
    one, two, three = (len(np.unique(all_of_n)) / len(all_of_n) if len(all_of_n) else None for all_of_n in grams)
    return one, two, three


def _compression_ratio(text: bytes, size: int) -> float | None:
    parameters = zstandard.ZstdCompressionParameters.from_level(ZSTD_LEVEL, window_log=ZSTD_WINDOW_LOG)
    compressed = zstandard.ZstdCompressor(compression_params=parameters).compress(text[:size])
    return size / len(compressed) if size else None


def ngram_kernel(words: Words) -> Matrix:
    """Texts × texts: the cosine of their counts of word n-grams, averaged over n = 1 to 4.

    The text kernel of Friedman and Dieng (2023). It needs no model and is not fitted to the set, as TF-IDF would be, so
    the scores of two sets compare; it is blind to synonyms.
    """
    kernel = np.zeros((len(words.lengths), len(words.lengths)))
    for n in range(1, VENDI_WORDS + 1):
        counts = _ngram_counts(words, n)
        norms = np.sqrt(counts.multiply(counts).sum(axis=1))
        counts.data /= np.repeat(norms, np.diff(counts.indptr))
        kernel += (counts @ counts.T).toarray() / VENDI_WORDS
    return kernel


def vendi_score(kernel: Matrix) -> float | None:
    """exp of the entropy of the eigenvalues of K/n: the effective number of different items (Friedman and Dieng 2023).

    K is positive semi-definite with ones on its diagonal. From 1 (all the same) to n (all different); None for n < 2.
    """
    if len(kernel) < 2:
        return None
    eigenvalues = np.linalg.eigvalsh(kernel / len(kernel))
    positive = eigenvalues[eigenvalues > 0]  # 0 log 0 = 0, and rounding makes some of them negative
    return float(np.exp(-np.sum(positive * np.log(positive))))


def coverage(rows: Iterable[tuple[str, str]]) -> Coverage:
    """Of pairs (topic, audience); memory: a count for each different pair."""
    pairs = Counter(rows)
    topics: Counter[str] = Counter()
    for (topic, _), count in pairs.items():
        topics[topic] += count
    audiences = len({audience for _, audience in pairs})
    possible = len(topics) * audiences
    return Coverage(
        pairs.total(), len(topics), audiences, len(pairs), possible,
        len(pairs) / possible if possible else None,
        _balance(topics.values(), len(topics)),
        _balance(pairs.values(), possible),
    )  # fmt: skip


def _balance(counts: Iterable[int], possible: int) -> float | None:
    if possible < 2:
        return None
    shares = np.array(list(counts), np.float64)
    shares /= shares.sum()
    return float(-np.sum(shares * np.log(shares)) / math.log(possible))


# ---- the step ----


def measure_diversity(config: DiversityStep, inputs: Inputs, work: Workspace) -> Result:
    """Measure `inputs["set"]` (exercises or documents) and, on a sample of at most as many texts, `inputs["corpus"]`.

    Writes diversity.json: `set` and `corpus` (Measures), `curve` (of the set) and `coverage` (null where no row has a
    topic; an exercise is for no audience, and that counts as one). Samples hold at most MOST_TEXTS texts.
    """
    table = table_of(inputs["set"])
    with work.progress.bar("measuring diversity", 3, "parts") as bar:
        subjects = coverage(_subjects(table))
        bar.advance()
        texts = draw(_texts(table), MOST_TEXTS, config.seed)
        points = curve(texts, CURVE_POINTS, config.seed)
        own = points[-1].measures if points else measure(texts, config.seed)
        bar.advance()
        corpus = draw(_texts(table_of(inputs["corpus"])), len(texts), config.seed)
        measured = {
            "set": asdict(own),
            "corpus": asdict(measure(corpus, config.seed)),
            "curve": [asdict(point) for point in points],
            "coverage": asdict(subjects) if subjects.rows else None,
        }
        bar.advance()
    # With 4 digits they are the same on every machine, whatever the order in which its BLAS adds.
    rounded = json.loads(json.dumps(measured), parse_float=lambda digits: round(float(digits), 4))
    (work.directory / "diversity.json").write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    return Result(None, {name: rounded[name] for name in ("set", "corpus", "coverage")})


def draw(rows: Iterable[tuple[str, str]], most_texts: int, seed: int) -> list[str]:
    """Of rows (id, text), the texts with the smallest seeded hashes of their ids: at most `most_texts`, and as many as
    MOST_CHARACTERS hold, each cut to LONGEST_TEXT. Which they are does not depend on the order of the rows.

    Ids are content hashes, so the copies of a text are drawn together, at the rate they have in the whole.
    """
    drawn: list[tuple[int, str]] = []  # a heap of negated hashes, the largest hash on top
    characters, bound = 0, 2**128  # what was once too much stays out, or a shorter text from farther on would slip in
    for identity, text in rows:
        place = int(content_id(f"{seed}:{identity}"), 16)
        if place >= bound:
            continue
        heapq.heappush(drawn, (-place, text[:LONGEST_TEXT]))
        characters += min(len(text), LONGEST_TEXT)
        while len(drawn) > most_texts or characters > MOST_CHARACTERS:
            negated, out = heapq.heappop(drawn)
            characters -= len(out)
            bound = -negated
    return [text for _, text in drawn]


def _texts(table: RowTable) -> Iterator[tuple[str, str]]:
    for identity, *parts in read_columns(table.path, ["id", *table.text_columns]):
        yield identity, "".join(parts)


def _subjects(table: RowTable) -> Iterator[tuple[str, str]]:
    """Topic and audience of every row that has a topic."""
    if table.row_type is Exercise:
        for (topic,) in read_columns(table.path, ["topic"]):
            yield topic, ""
        return
    for (meta,) in read_columns(table.path, ["meta"]):
        about = json.loads(meta)
        if "topic" in about:
            yield str(about["topic"]), str(about.get("audience", ""))
