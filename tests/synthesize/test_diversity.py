"""Measures of diversity against brute force, known answers and counts by hand."""

import json
import math
import random
import subprocess
import sys
from dataclasses import asdict
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import zstandard
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from hornbook.curate.dedup import WORD
from hornbook.curate.similarity import jaccard, word_ngrams
from hornbook.recipe import MachineConfig
from hornbook.records import Document, Exercise, content_id
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.synthesize import diversity
from hornbook.synthesize.diversity import (
    Coverage,
    Words,
    coverage,
    curve,
    draw,
    measure,
    measure_diversity,
    near_duplicates,
    ngram_kernel,
    seeded_order,
    vendi_score,
)
from hornbook.tables import write_rows

VOCABULARY = [f"word{n}" for n in range(300)]


def families(seed, count=40, shortest=1, longest=60):
    """Texts in families: random words, and edits of them from none to heavy.

    Some say everything three times, and some are joined by other white space.
    """
    rng = random.Random(seed)
    texts = []
    for _ in range(count):
        words = rng.choices(VOCABULARY, k=rng.randint(shortest, longest))
        for edits in (0, 0, 1, 2, 3, 5, 8):
            edited = list(words)
            for _ in range(edits):
                edited[rng.randrange(len(edited))] = rng.choice(VOCABULARY)
            texts.append(rng.choice((" ", "\n  ")).join(edited * rng.choice((1, 1, 3))))
    rng.shuffle(texts)
    return texts


def brute_force(texts):
    """The definition: all pairs, by what the step `dedup` compares."""
    grams = [word_ngrams(WORD.findall(text), 5) for text in texts]
    return [any(jaccard(one, grams[k]) >= 0.7 for k in range(place)) for place, one in enumerate(grams)]


@pytest.mark.parametrize("longest", [12, 60, 400])
@pytest.mark.parametrize("seed", [1, 2])
def test_near_duplicates_are_those_of_all_pairs(seed, longest):
    texts = families(seed, longest=longest)
    found = near_duplicates(Words.of(texts))
    expected = brute_force(texts)
    assert 20 < sum(expected) < len(texts)
    assert found.tolist() == expected
    ordered = seeded_order(texts, seed)
    assert measure(texts, seed).near_duplicate_rate == sum(brute_force(ordered)) / len(texts)


def test_near_duplicates_where_many_texts_share_much():
    """Sentences drawn from few, so that no n-gram is rare and most pairs lie around the threshold."""
    rng = random.Random(3)
    sentences = [" ".join(rng.choices(VOCABULARY, k=9)) for _ in range(14)]
    texts = [" ".join(sentences[n] for n in sorted(rng.sample(range(14), 9))) for _ in range(300)]
    expected = brute_force(texts)
    assert 60 < sum(expected) < 240
    assert near_duplicates(Words.of(texts)).tolist() == expected


def test_a_similarity_of_just_the_threshold_counts():
    shared = [f"s{n}" for n in range(11)]  # 7 n-grams
    one, other = " ".join(["a", *shared]), " ".join([*shared, "b", "c"])  # 8 and 9 n-grams: 7 of 10
    grams = [word_ngrams(text.split(), 5) for text in (one, other)]
    assert jaccard(*grams) == 0.7
    assert measure([one, other], 1).near_duplicate_rate == 0.5
    assert measure([one, other + " d"], 1).near_duplicate_rate == 0.0


def test_a_bound_on_comparisons_misses_but_never_invents(monkeypatch):
    texts = families(4, longest=30)
    monkeypatch.setattr(diversity, "MOST_NEIGHBOURS", 1)
    found, expected = near_duplicates(Words.of(texts)), np.array(brute_force(texts))
    assert not (found & ~expected).any()
    assert found.sum() > 0.8 * expected.sum()


def test_distinct_ngrams_by_hand():
    measures = measure(["a b a b c", "a b."], 1)  # words: a b a b c | a b .
    assert measures.words == 8
    assert measures.distinct_1 == 4 / 8  # a, b, c and the full stop
    assert measures.distinct_2 == 4 / 6  # ab ba ab bc | ab b.
    assert measures.distinct_3 == 4 / 4  # aba bab abc | ab.


def test_distinct_ngrams_are_over_a_fixed_number_of_words(monkeypatch):
    monkeypatch.setattr(diversity, "DISTINCT_WORDS", 50)
    texts = families(5, count=3)
    first = [WORD.findall(text) for text in seeded_order(texts, 1)]
    taken, cut = 0, []
    for words in first:
        cut.append(words[: 50 - taken])
        taken += len(cut[-1])
    bigrams = [pair for words in cut for pair in pairwise(words)]
    measures = measure(texts, 1)
    assert measures.words == taken == 50
    assert measures.distinct_1 == len({word for words in cut for word in words}) / 50
    assert measures.distinct_2 == len(set(bigrams)) / len(bigrams)


def test_compression_tells_repetition_from_noise():
    rng = random.Random(6)
    noise = ["".join(rng.choices("0123456789abcdef", k=5000)) for _ in range(20)]  # 4 bits of 8 are noise: 2
    repeated = ["The cat sat on the mat. " * 10] * 400
    assert measure(noise, 1).compression_ratio == pytest.approx(2, rel=0.15)
    assert measure(repeated, 1).compression_ratio > 500
    assert measure(repeated, 1).bytes == 240 * 400
    # A repetition at the far end of the megabyte is still in the window.
    far = "".join(rng.choices("0123456789abcdef", k=499_000))
    assert measure([far, far], 1).compression_ratio == pytest.approx(4, rel=0.15)
    assert measure([far] * 3, 1).bytes == diversity.ZSTD_BYTES


def test_vendi_score_of_known_kernels():
    assert vendi_score(np.ones((7, 7))) == pytest.approx(1)
    assert vendi_score(np.eye(7)) == pytest.approx(7)
    groups = np.kron(np.eye(3), np.ones((4, 4)))  # three kinds of four
    assert vendi_score(groups) == pytest.approx(3)
    half = np.array([[1, 0.5], [0.5, 1]])  # eigenvalues of K/2: 3/4 and 1/4
    assert vendi_score(half) == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))


def test_vendi_score_of_texts():
    same, apart = ["one two three four five"] * 9, [f"a{n} b{n} c{n} d{n}" for n in range(9)]
    assert measure(same, 1).vendi_score == pytest.approx(1)
    assert measure(apart, 1).vendi_score == pytest.approx(9)
    assert measure(same + apart, 1).vendi_score < 10


def test_vendi_score_is_that_of_an_independent_computation():
    texts = families(7, count=12, shortest=5)

    def cosines(n):
        counts = CountVectorizer(lowercase=False, token_pattern=r"\w+|[^\w\s]", ngram_range=(n, n)).fit_transform(texts)
        return cosine_similarity(counts)

    kernel = sum(cosines(n) for n in (1, 2, 3, 4)) / 4
    np.testing.assert_allclose(ngram_kernel(Words.of(texts)), kernel, atol=1e-12)
    shares = np.abs(np.linalg.eigvals(kernel / len(texts)))
    shares = shares[shares > 1e-12]
    assert measure(texts, 1).vendi_score == pytest.approx(np.prod(shares**-shares), rel=1e-6)


def test_vendi_score_is_over_a_sample_of_the_order(monkeypatch):
    monkeypatch.setattr(diversity, "VENDI_TEXTS", 20)
    texts = families(8)
    measures = measure(texts, 1)
    assert measures.vendi_texts == 20
    assert measures.vendi_score == pytest.approx(vendi_score(ngram_kernel(Words.of(seeded_order(texts, 1)[:20]))))


def test_measures_depend_on_the_texts_and_the_seed_alone():
    texts = families(9)
    shuffled = random.Random(1).sample(texts, len(texts))
    assert measure(shuffled, 1) == measure(texts, 1)
    assert seeded_order(texts, 1) != seeded_order(texts, 2)
    assert sorted(seeded_order(texts, 2)) == sorted(texts)


def test_the_curve_ends_in_the_measures_of_the_whole():
    texts = families(10)
    points = curve(texts, 8, 1)
    assert [point.texts for point in points] == [2, 4, 8, 17, 35, 70, 140, 280]
    assert points[-1].measures == measure(texts, 1)
    ordered = seeded_order(texts, 1)
    for point in points:
        first = ordered[: point.texts]
        assert point.measures.near_duplicate_rate == sum(brute_force(first)) / point.texts
        joined = "".join(first).encode()
        assert point.measures.bytes == len(joined)
        compressed = zstandard.ZstdCompressor(level=19).compress(joined)
        assert point.measures.compression_ratio == pytest.approx(len(joined) / len(compressed), rel=0.02)
        assert point.measures.vendi_score == pytest.approx(vendi_score(ngram_kernel(Words.of(first))))


def test_new_trigrams_by_hand():
    """Of one kind of text only the first brings anything; of texts with nothing in common each brings its own."""
    assert [point.new_trigrams_per_text for point in curve(["a b c d e"] * 8, 4, 1)] == [3, 0, 0, 0]
    apart = [" ".join(f"{letter}{n}" for letter in "abcde") for n in range(8)]
    assert [point.new_trigrams_per_text for point in curve(apart, 4, 1)] == [3, 3, 3, 3]
    texts = families(11)
    ordered = [WORD.findall(text) for text in seeded_order(texts, 1)]
    seen, before = set(), 0
    for point in curve(texts, 5, 1):
        known = len(seen)
        for words in ordered[before : point.texts]:
            seen.update(zip(words, words[1:], words[2:], strict=False))
        assert point.new_trigrams_per_text == (len(seen) - known) / (point.texts - before)
        before = point.texts


def test_a_set_that_collapses_is_seen():
    """Planted fault: a generator that stops inventing."""
    rng = random.Random(12)
    healthy = [" ".join(rng.choices(VOCABULARY, k=40)) for _ in range(400)]
    collapsed = [" ".join([*rng.choice(healthy[:20]).split(), "again"]) for _ in range(400)]
    well, ill = curve(healthy, 4, 1), curve(collapsed, 4, 1)
    assert (well[-1].measures.near_duplicate_rate, ill[-1].measures.near_duplicate_rate) == (0, 380 / 400)
    assert ill[-1].measures.vendi_score < 21 < well[-1].measures.vendi_score
    assert ill[-1].measures.compression_ratio > 3 * well[-1].measures.compression_ratio
    assert ill[-1].new_trigrams_per_text == 0
    assert well[-1].new_trigrams_per_text == pytest.approx(38, abs=0.1)


@pytest.mark.parametrize("texts", [[], [""], ["one"], ["", ""], ["", " \n", "?"], ["a\ud800 b", "ab"], ["x y"] * 3])
def test_few_short_and_odd_texts(texts):
    measures = measure(texts, 1)
    assert measures.texts == len(texts)
    assert (measures.near_duplicate_rate is None) == (measures.vendi_score is None) == (len(texts) < 2)
    assert (measures.distinct_1 is None) == (measures.words == 0)
    assert (measures.compression_ratio is None) == (measures.bytes == 0)
    if len(texts) > 1:
        assert measures.near_duplicate_rate == sum(brute_force(seeded_order(texts, 1))) / len(texts)
    assert [point.measures for point in curve(texts, 8, 1)][-1:] == [measures][: len(texts)]


def test_coverage_by_hand():
    rows = [("loops", "child"), ("loops", "child"), ("loops", "engineer"), ("sets", "child")]

    def entropy(*shares):
        return -sum(share * math.log(share) for share in shares)

    assert coverage(iter(rows)) == Coverage(
        rows=4,
        topics=2,
        audiences=2,
        pairs=3,
        pairs_possible=4,
        share_covered=3 / 4,
        topic_balance=pytest.approx(entropy(3 / 4, 1 / 4) / math.log(2)),
        pair_balance=pytest.approx(entropy(1 / 2, 1 / 4, 1 / 4) / math.log(4)),
    )
    even = coverage((f"topic {n % 6}", f"audience {n % 5}") for n in range(60))
    assert (even.pairs, even.share_covered) == (30, 1)
    assert (even.topic_balance, even.pair_balance) == (pytest.approx(1), pytest.approx(1))
    assert coverage([]) == Coverage(0, 0, 0, 0, 0, None, None, None)
    assert coverage([("loops", "child")] * 5) == Coverage(5, 1, 1, 1, 1, 1.0, None, None)


def test_a_sample_is_the_first_texts_of_a_hash_order(monkeypatch):
    rng = random.Random(13)
    rows = [(content_id(text), text) for text in ("x" * rng.randint(1, 400) + str(n) for n in range(300))]
    monkeypatch.setattr(diversity, "LONGEST_TEXT", 300)
    ordered = [text[:300] for _, text in sorted(rows, key=lambda row: content_id(f"5:{row[0]}"))]
    for most, characters in ((40, 10**9), (300, 9_000), (300, 10**9), (0, 10**9)):
        monkeypatch.setattr(diversity, "MOST_CHARACTERS", characters)
        expected, total = [], 0
        for text in ordered[:most]:
            total += len(text)
            if total > characters:
                break
            expected.append(text)
        for shuffle in (1, 2):
            assert sorted(draw(random.Random(shuffle).sample(rows, 300), most, 5)) == sorted(expected)


def exercise(text, topic):
    return Exercise(content_id(text), topic, "f", text[:20], text[20:], ("assert f",), "r")


def run(folder, rows, row_type, corpus):
    name = "exercises.parquet" if row_type is Exercise else "documents.parquet"
    write_rows(folder / "set" / name, row_type, rows)
    write_rows(folder / "corpus" / "documents.parquet", Document, corpus)
    (folder / "out").mkdir()
    work = Workspace(folder / "out", MachineConfig(), Silent(), folder / "out", "test")
    result = measure_diversity(SimpleNamespace(seed=1), {"set": folder / "set", "corpus": folder / "corpus"}, work)
    assert [path.name for path in (folder / "out").iterdir()] == ["diversity.json"]
    written = json.loads((folder / "out" / "diversity.json").read_text())
    assert result.counts is None
    assert result.facts == {name: written[name] for name in ("set", "corpus", "coverage")}
    return written


def rounded(value):
    return {name: round(part, 4) if isinstance(part, float) else part for name, part in asdict(value).items()}


CORPUS = [Document(content_id(text), text, "s", '{"path": "topic"}') for text in families(14)]


def test_the_step_on_exercises(tmp_path):
    texts = families(15, count=15, shortest=5)
    rows = [exercise(text, f"topic {n % 3}") for n, text in enumerate(texts)]
    written = run(tmp_path, rows, Exercise, CORPUS)
    assert written["set"] == rounded(measure(texts, 1)) == written["curve"][-1]["measures"]
    assert written["corpus"]["texts"] == len(texts) < len(CORPUS)
    assert written["corpus"] == rounded(measure(draw(((row.id, row.text) for row in CORPUS), len(texts), 1), 1))
    assert written["coverage"] == rounded(coverage((row.topic, "") for row in rows))
    assert [point["texts"] for point in written["curve"]] == [1, 3, 6, 13, 26, 52, 105]


def test_the_step_on_textbook_sections(tmp_path):
    pairs = [(topic, audience) for topic in ("loops", "sets") for audience in ("child", "engineer", "loops")] * 3
    texts = families(16, count=3)[: len(pairs)]
    metas = [json.dumps({"topic": topic, "audience": audience, "style": "s"}) for topic, audience in pairs]
    rows = [Document(content_id(text), text, "textbook", meta) for text, meta in zip(texts, metas, strict=True)]
    written = run(tmp_path, rows, Document, CORPUS)
    assert written["set"] == rounded(measure(texts, 1))
    assert written["coverage"] == rounded(coverage(pairs))
    assert written["coverage"]["share_covered"] == 1


@pytest.mark.parametrize("count", [0, 1])
def test_the_step_on_next_to_nothing_without_topics(tmp_path, count):
    written = run(tmp_path, CORPUS[:count], Document, CORPUS)
    assert written["coverage"] is None
    assert written["set"]["texts"] == written["corpus"]["texts"] == len(written["curve"]) == count
    assert written["set"]["vendi_score"] is None


def test_same_measures_in_another_process():
    """Python gives strings other hashes in every process; nothing may hang on them."""
    program = (
        "from synthesize.test_diversity import families\n"
        "from hornbook.synthesize.diversity import curve\n"
        "print(curve(families(17), 8, 1))\n"
    )
    environment = {"PYTHONHASHSEED": "1", "PYTHONPATH": "tests"}
    output = subprocess.check_output([sys.executable, "-c", program], env=environment, text=True)
    assert output == f"{curve(families(17), 8, 1)}\n"
