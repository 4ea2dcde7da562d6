"""Near-duplicate removal against an all-pairs reference, and against faults planted into it."""

import random
import re
from functools import cache

import pytest

from hornbook.curate.dedup import UNIQUE_CANARY, Cluster, dedup_documents
from hornbook.recipe import DedupConfig, MachineConfig
from hornbook.records import Document, Dropped, Exercise, ScoredDocument, content_id
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.step_config import DedupStep
from hornbook.tables import column_names, read_rows, write_rows

VOCABULARY = [f"word{n}" for n in range(400)]


def step(threshold=0.7, ngram_words=3, bands=40, rows=4, seed=1):
    """With 40 bands of 4 a pair of similarity 0.7 is nominated with probability 1 - 1e-5."""
    return DedupStep(dedup=DedupConfig(ngram_words=ngram_words, bands=bands, rows=rows, threshold=threshold), seed=seed)


def run(config, folder, rows, row_type, workers=None):
    name = "exercises.parquet" if row_type is Exercise else "documents.parquet"
    (folder / "in").mkdir(parents=True, exist_ok=True)
    (folder / "out").mkdir(exist_ok=True)
    write_rows(folder / "in" / name, row_type, rows)
    work = Workspace(folder / "out", MachineConfig(workers=workers), Silent(), folder / "out", "test")
    result = dedup_documents(config, {"documents": folder / "in"}, work)
    kept = list(read_rows(folder / "out" / name, row_type))
    dropped = list(read_rows(folder / "out" / "dropped.parquet", Dropped))
    clusters = list(read_rows(folder / "out" / "clusters.parquet", Cluster))
    assert result.counts.balanced()
    assert (result.counts.read, result.counts.kept) == (len(rows), len(kept))
    assert sum(result.counts.dropped.values()) == len(dropped)
    assert sorted(path.name for path in (folder / "out").iterdir()) == sorted(
        [name, "dropped.parquet", "clusters.parquet"]
    )
    return result, kept, dropped, clusters


def document(text, source="here"):
    return Document(content_id(text), text, source, "{}")


def families(seed, count=40, length=60):
    """Texts in families: a random text and edits of it, from light to heavy."""
    rng = random.Random(seed)
    texts = []
    for _ in range(count):
        words = rng.choices(VOCABULARY, k=length)
        texts.append(" ".join(words))
        for edits in (1, 2, 4, 8):
            edited = list(words)
            for _ in range(edits):
                edited[rng.randrange(length)] = rng.choice(VOCABULARY)
            texts.append("\n  ".join(edited))
    rng.shuffle(texts)
    return texts


@cache
def naive_grams(text, n):
    words = re.findall(r"\w+|[^\w\s]", text)
    return {" ".join(words[i : i + n]) for i in range(max(1, len(words) - n + 1))}


def naive_jaccard(one, other, n):
    one, other = naive_grams(one, n), naive_grams(other, n)
    return len(one & other) / len(one | other)


def naive_kept(rows, n, threshold):
    """Best first; a row stays where no kept row is near it."""
    kept = []
    for row in sorted(rows, key=lambda row: (-getattr(row, "score", 0.0), row.id)):
        if all(naive_jaccard(row.text, other.text, n) < threshold for other in kept):
            kept.append(row)
    return {row.id for row in kept}


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_same_rows_stay_as_when_all_pairs_are_compared(tmp_path, threshold):
    rows = [document(text) for text in families(seed=7)]
    _, kept, dropped, clusters = run(step(threshold, bands=80, rows=3), tmp_path, rows, Document)
    assert {row.id for row in kept} == naive_kept(rows, 3, threshold)
    assert [row.id for row in kept] == [row.id for row in rows if row.id in {k.id for k in kept}]
    text_of = {row.id: row.text for row in rows}
    kept_ids = {row.id for row in kept}
    for row in dropped:
        near, similarity = re.fullmatch(r"of (\w{32}), similarity (\d\.\d\d)", row.detail).groups()
        exact = naive_jaccard(text_of[row.id], text_of[near], 3)
        assert row.reason == "near duplicate"
        assert near in kept_ids
        assert float(similarity) == pytest.approx(exact, abs=0.005)
        assert exact >= threshold
        assert exact == max(naive_jaccard(text_of[row.id], text_of[other], 3) for other in kept_ids if other < row.id)
    assert {(c.id, c.kept) for c in clusters if c.id != c.kept} == {(r.id, r.detail[3:35]) for r in dropped}
    assert {c.id for c in clusters if c.id == c.kept} == {c.kept for c in clusters}


def test_the_best_score_stays_then_the_smallest_id(tmp_path):
    text = " ".join(random.Random(1).choices(VOCABULARY, k=80))
    variants = sorted((text + f" tail{n}" for n in range(4)), key=content_id)
    other = sorted((" ".join(reversed(text.split())) + f" end{n}" for n in range(3)), key=content_id)
    scores = [1.0, 4.5, 4.5, 2.0, 3.0, 3.0, 3.0]
    rows = [ScoredDocument(content_id(t), t, "s", "{}", s) for t, s in zip(variants + other, scores, strict=True)]
    random.Random(2).shuffle(rows)
    _, kept, _, _ = run(step(), tmp_path, rows, ScoredDocument)
    assert {row.id for row in kept} == {content_id(variants[1]), content_id(other[0])}
    assert "score" in column_names(tmp_path / "out" / "documents.parquet")


def test_a_chain_of_small_changes_does_not_drop_what_is_far_from_all_kept(tmp_path):
    rng = random.Random(3)
    words = rng.choices(VOCABULARY, k=60)
    rows = [document(" ".join(words))]
    for position in range(0, 60, 4):
        words[position] = f"new{position}"
        rows.append(document(" ".join(words)))
    assert naive_jaccard(rows[0].text, rows[1].text, 3) > 0.7
    assert naive_jaccard(rows[0].text, rows[-1].text, 3) < 0.2
    _, kept, dropped, _ = run(step(), tmp_path, rows, Document)
    assert len(kept) > 2
    text_of = {row.id: row.text for row in rows}
    for row in dropped:
        assert naive_jaccard(text_of[row.id], text_of[row.detail[3:35]], 3) >= 0.7


def test_exercises_are_compared_by_prompt_and_solution(tmp_path):
    def exercise(prompt, solution, topic):
        return Exercise(content_id(prompt + solution + topic), topic, "f", prompt, solution, ("assert f",), "r")

    prompt = 'def add_all(numbers):\n    """Return the sum of all numbers that are even and not zero."""\n'
    solution = "    return sum(n for n in numbers if n % 2 == 0 and n != 0)\n"
    rows = [
        exercise(prompt, solution, "a"),
        exercise(prompt, solution.replace("    ", "\t"), "b"),
        exercise(prompt, "    total = 0\n    for each in numbers:\n        total += each\n    return total\n", "c"),
        exercise(
            'def join(names):\n    """Glue the names together with dashes."""\n', "    return '-'.join(names)\n", "d"
        ),
    ]
    _, kept, dropped, _ = run(step(), tmp_path, rows, Exercise)
    assert len(kept) == 3
    assert {row.id for row in dropped} == {max(rows[0].id, rows[1].id)}
    assert {row.topic for row in kept} >= {"c", "d"}


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["one"],
        ["", " ", "a b", "a  b", "a c", "\n"],
        ["naïve café déjà vu " * 20, "naïve  café\tdéjà vu " * 20],
    ],
)
def test_few_short_and_odd_texts(tmp_path, texts):
    rows = [Document(f"{n:032x}", text, "s", "{}") for n, text in enumerate(texts)]
    _, kept, _, _ = run(step(), tmp_path, rows, Document)
    forms = {" ".join(text.split()) for text in texts}
    assert sorted(" ".join(row.text.split()) for row in kept) == sorted(forms)
    assert [row.id for row in kept] == sorted(
        {" ".join(t.split()): f"{n:032x}" for n, t in reversed(list(enumerate(texts)))}.values()
    )


def test_rows_that_share_an_id_are_told_apart(tmp_path):
    text = " ".join(random.Random(9).choices(VOCABULARY, k=50))
    rows = [
        Document("same", text, "s", "{}"),
        Document("same", text[::-1], "s", "{}"),
        Document("same", text, "t", "{}"),
    ]
    _, kept, dropped, _ = run(step(), tmp_path, rows, Document)
    assert [row.source for row in kept] == ["s", "s"]
    assert len(dropped) == 1


def test_same_bytes_whatever_the_workers_and_the_same_rows_in_any_order(tmp_path):
    rows = [document(text) for text in families(seed=11, count=20)]
    outcomes = []
    for name, workers in (("one", 1), ("two", 2)):
        run(step(), tmp_path / name, rows, Document, workers)
        outcomes.append([path.read_bytes() for path in sorted((tmp_path / name / "out").iterdir())])
    assert outcomes[0] == outcomes[1]
    _, kept, _, _ = run(step(), tmp_path / "reversed", rows[::-1], Document)
    assert {row.id for row in kept} == {row.id for row in read_rows(tmp_path / "one/out/documents.parquet", Document)}


def test_canaries_are_planted_and_never_written(tmp_path):
    rows = [document(text) for text in families(seed=13, count=5)]
    result, kept, dropped, clusters = run(step(), tmp_path, rows, Document)
    assert result.facts["canaries"] == {"planted": 9, "caught": 9, "innocent_kept": 1}
    ids = {row.id for row in rows}
    assert {row.id for row in kept + dropped} == ids
    assert {c.id for c in clusters} <= ids
    assert not any(UNIQUE_CANARY[:20] in row.text for row in kept)


def test_a_copy_of_a_row_that_is_itself_dropped_is_caught(tmp_path):
    """The sources of canaries have the smallest ids; here all of them fall to rows with better scores."""
    rng = random.Random(17)
    rows = []
    for number in range(3):
        words = rng.choices(VOCABULARY, k=60)
        rows.append(ScoredDocument(f"{number:032x}", " ".join(words), "s", "{}", 1.0))
        words[5], words[30] = "other", "another"
        rows.append(ScoredDocument(f"f{number:031x}", " ".join(words), "s", "{}", 2.0))
    _, kept, _, _ = run(step(threshold=0.8), tmp_path, rows, ScoredDocument)
    assert {row.score for row in kept} == {2.0}


def test_bands_that_catch_nothing_stop_the_run(tmp_path):
    rows = [document(text) for text in families(seed=19, count=5)]
    with pytest.raises(RuntimeError, match=r"a planted copy of row .* was not caught"):
        run(step(bands=1, rows=400), tmp_path, rows, Document)


def test_a_comparison_that_finds_everything_alike_stops_the_run(tmp_path):
    text = UNIQUE_CANARY.replace("nineteen", "twenty")
    with pytest.raises(RuntimeError, match="a planted unique text was taken for a copy"):
        run(step(), tmp_path, [document(text)], Document)


def test_a_threshold_of_one_still_has_canaries(tmp_path):
    rows = [document(text) for text in families(seed=23, count=5)]
    rows.append(document(rows[0].text.replace(" ", "   ")))
    result, _, dropped, _ = run(step(threshold=1.0), tmp_path, rows, Document)
    assert result.facts["canaries"]["caught"] == 3
    assert len(dropped) == 1


def test_hundreds_of_copies_make_one_cluster(tmp_path):
    text = " ".join(random.Random(29).choices(VOCABULARY, k=100))
    rows = [document(f"{text} {n}") for n in range(600)]
    result, kept, dropped, _ = run(step(), tmp_path, rows, Document)
    assert [row.id for row in kept] == [min(row.id for row in rows)]
    assert len(dropped) == 599
    assert (result.facts["clusters"], result.facts["largest_cluster"]) == (1, 600)
