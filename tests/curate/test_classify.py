"""The classifier on real code: it learns what is there, and shows when there was nothing to learn."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from hornbook.curate.classify import load_classifier, score_documents, split_held_out, train_classifier
from hornbook.errors import UserError
from hornbook.recipe import ClassifyConfig, MachineConfig
from hornbook.records import Document, Rating, ScoredDocument, content_id
from hornbook.run.progress import Silent
from hornbook.run.step import Result, Workspace
from hornbook.step_config import ClassifyStep, ScoreStep
from hornbook.tables import read_rows, write_rows
from hornbook.teacher.builtin.rate import rate_document

LIBRARY = Path(os.__file__).parent
FOLDERS = (".", "email", "json", "asyncio", "importlib", "encodings", "idlelib", "lib2to3", "xml/etree", "unittest")


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    """Some 300 files of the standard library, the folder as the source."""
    rows = {}
    for folder in FOLDERS:
        for path in sorted((LIBRARY / folder).glob("*.py"))[:60]:
            text = path.read_text(encoding="utf-8", errors="replace")
            if text.strip() and len(text) < 30_000:
                rows[content_id(text)] = Document(content_id(text), text, folder, "{}")
    return [rows[identity] for identity in sorted(rows)]


@pytest.fixture(scope="module")
def ratings(documents: list[Document]) -> list[float]:
    return [rate_document(document.text).score for document in documents]


def train(
    directory: Path, documents: list[Document], ratings: list[float], workers: int = 1, held_out_share: float = 0.4
) -> Result:
    for name in ("corpus", "ratings", "classifier"):
        (directory / name).mkdir(parents=True)
    write_rows(directory / "corpus" / "documents.parquet", Document, documents)
    rows = (Rating(row.id, score, "", "t", "r") for row, score in zip(documents, ratings, strict=True))
    write_rows(directory / "ratings" / "ratings.parquet", Rating, rows)
    config = ClassifyStep(classify=ClassifyConfig(trees=20, held_out_share=held_out_share, threshold=2.5), seed=4)
    inputs = {"corpus": directory / "corpus", "ratings": directory / "ratings"}
    return train_classifier(
        config,
        inputs,
        Workspace(directory / "classifier", MachineConfig(workers=workers), Silent(), directory / "classifier", "test"),
    )


def score(directory: Path, workers: int = 1) -> list[ScoredDocument]:
    (directory / "scored").mkdir()
    inputs = {"corpus": directory / "corpus", "classifier": directory / "classifier"}
    work = Workspace(directory / "scored", MachineConfig(workers=workers), Silent(), directory / "scored", "test")
    result = score_documents(ScoreStep(), inputs, work)
    rows = list(read_rows(directory / "scored" / "documents.parquet", ScoredDocument))
    assert result.counts is not None
    assert (result.counts.read, result.counts.kept) == (len(rows), len(rows))
    return rows


def test_it_learns_the_ratings_and_not_only_the_source(
    tmp_path: Path, documents: list[Document], ratings: list[float]
) -> None:
    facts = train(tmp_path, documents, ratings).facts
    assert facts["held_out"]["rank_correlation"]["low"] > 0.6
    assert facts["held_out"]["auc"]["value"] > 0.85
    assert facts["inside_sources"]["rank_correlation"]["low"] > 0.4
    assert facts["source_mean_baseline"]["rank_correlation"]["value"] < facts["held_out"]["rank_correlation"]["low"]
    assert facts["trained_on"] + facts["held_out"]["rank_correlation"]["n"] == len(documents)
    scored = score(tmp_path)
    assert [row.id for row in scored] == [document.id for document in documents]
    assert all(0 <= row.score <= 5 for row in scored)


def test_shuffled_ratings_show_no_correlation(tmp_path: Path, documents: list[Document], ratings: list[float]) -> None:
    """One interval in twenty misses 0 by chance, so three shuffles are judged together."""
    held_out = []
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(ratings).tolist()
        held_out.append(train(tmp_path / str(seed), documents, shuffled).facts["held_out"])
    values = [measured["rank_correlation"]["value"] for measured in held_out]
    assert abs(np.mean(values)) < 0.2  # of 89 documents each: 3.2 standard errors
    assert abs(np.mean([measured["auc"]["value"] for measured in held_out]) - 0.5) < 0.12
    intervals = [measured["rank_correlation"] for measured in held_out]
    assert sum(one["low"] < 0 < one["high"] for one in intervals) >= 2


def test_a_classifier_that_learned_the_source_is_exposed(tmp_path: Path) -> None:
    # Four sources, each with a form of its own that says which it is; inside a source the ratings are chance.
    forms = {
        "tables": "T{n} = [{n}, 2, 3, 4]\nU{n} = ({n}, 'a')\n",
        "functions": "def f{n}(x):\n    for y in x:\n        if y:\n            return y\n",
        "classes": "class C{n}:\n    def __init__(self):\n        self.x = {n}\n",
        "prose": "# A word about the number {n}\n# and nothing else.\n",
    }
    rng = np.random.default_rng(2)
    documents, ratings = [], []
    for level, (source, form) in enumerate(forms.items()):
        for number in range(80):
            text = form.format(n=number + 100)
            documents.append(Document(content_id(text), text, source, "{}"))
            ratings.append(float(np.clip(level + 0.5 + rng.normal(0, 0.3), 0, 5)))
    facts = train(tmp_path, documents, ratings).facts
    assert facts["held_out"]["rank_correlation"]["value"] > 0.8  # looks like a success …
    assert facts["inside_sources"]["rank_correlation"]["value"] < 0.2  # … and is none
    assert facts["inside_sources"]["variance_share_of_scores"] < 0.1
    assert facts["source_mean_baseline"]["rank_correlation"]["value"] > 0.8


def test_same_bytes_for_one_and_two_workers(tmp_path: Path, documents: list[Document], ratings: list[float]) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert train(first, documents, ratings).facts == train(second, documents, ratings, workers=2).facts
    assert score(first) == score(second, workers=2)
    for name in ("classifier/classifier.skops", "classifier/classifier.json", "scored/documents.parquet"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_one_class_in_the_held_out_ratings_is_undefined(
    tmp_path: Path, documents: list[Document], ratings: list[float]
) -> None:
    low = [min(2.0, rating) for rating in ratings]
    held_out = train(tmp_path, documents, low).facts["held_out"]
    assert held_out["auc"]["value"] is None
    assert held_out["f1"]["value"] is None


def test_what_cannot_be_learned_from_is_refused(
    tmp_path: Path, documents: list[Document], ratings: list[float]
) -> None:
    with pytest.raises(UserError, match="ratings to learn"):
        train(tmp_path / "few", documents[:15], ratings[:15])
    with pytest.raises(UserError, match="all ratings are 3"):
        train(tmp_path / "equal", documents, [3.0] * len(documents))


def test_ratings_of_another_corpus_are_refused(tmp_path: Path, documents: list[Document], ratings: list[float]) -> None:
    strangers = [Document("0" * 32, row.text, row.source, row.meta) for row in documents[:1]] + documents[1:]
    train(tmp_path / "good", documents, ratings)
    write_rows(tmp_path / "good" / "corpus" / "documents.parquet", Document, strangers)
    config = ClassifyStep(classify=ClassifyConfig(trees=2, held_out_share=0.4, threshold=2.5), seed=4)
    inputs = {"corpus": tmp_path / "good" / "corpus", "ratings": tmp_path / "good" / "ratings"}
    with pytest.raises(UserError, match=r"1 of .* ratings are of documents"):
        train_classifier(config, inputs, Workspace(tmp_path, MachineConfig(workers=1), Silent(), tmp_path, "test"))


def test_a_classifier_for_other_features_is_refused(
    tmp_path: Path, documents: list[Document], ratings: list[float]
) -> None:
    train(tmp_path, documents, ratings)
    path = tmp_path / "classifier" / "classifier.json"
    description = json.loads(path.read_text())
    path.write_text(json.dumps({**description, "features_version": 0}))
    with pytest.raises(UserError, match="made for other features"):
        load_classifier(tmp_path / "classifier")
    path.write_text("{}")
    with pytest.raises(UserError, match="not the description of a classifier"):
        load_classifier(tmp_path / "classifier")


def test_the_split_follows_the_ids_and_the_seed() -> None:
    ids = [content_id(str(number)) for number in range(100)]
    held = split_held_out(ids, 0.3, seed=1)
    assert held.sum() == 30
    assert np.array_equal(split_held_out(ids[::-1], 0.3, seed=1)[::-1], held)
    assert not np.array_equal(split_held_out(ids, 0.3, seed=2), held)
