"""The cut, the canaries, and the samples a person reads."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from hornbook.curate.classify import fit_forest, load_classifier, predict
from hornbook.curate.features import FEATURE_NAMES, FEATURES_VERSION, features_of
from hornbook.curate.filter import REASON, SAMPLE_CHARACTERS, SAMPLES, filter_documents, find_cut
from hornbook.curate.filter_canaries import canaries
from hornbook.curate.forest_file import write_forest
from hornbook.errors import UserError
from hornbook.recipe import FilterConfig, MachineConfig
from hornbook.records import Dropped, ScoredDocument, content_id
from hornbook.run.progress import Silent
from hornbook.run.step import Result, Workspace
from hornbook.step_config import FilterStep
from hornbook.tables import read_rows, write_rows
from hornbook.teacher.builtin.rate import rate_document


def work(directory: Path) -> Workspace:
    directory.mkdir(parents=True, exist_ok=True)
    return Workspace(directory, MachineConfig(workers=1), Silent(), directory, "test")


@pytest.fixture(scope="module")
def library() -> list[str]:
    """Some 300 files of the standard library; every other one is for training, the rest to be filtered."""
    folders = (".", "asyncio", "email", "encodings", "idlelib", "importlib", "json", "lib2to3", "unittest", "xml/etree")
    paths = [path for folder in folders for path in sorted((Path(os.__file__).parent / folder).glob("*.py"))[:60]]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in paths]
    return sorted({text for text in texts if text.strip() and len(text) < 30_000}, key=content_id)


def store_classifier(directory: Path, texts: list[str], ratings: list[float]) -> Path:
    forest = fit_forest(features_of(texts), np.array(ratings), 20, 1, work(directory))
    write_forest(directory / "classifier.skops", forest)
    description = {"features_version": FEATURES_VERSION, "features": FEATURE_NAMES}
    (directory / "classifier.json").write_text(json.dumps(description))
    return directory


@pytest.fixture(scope="module")
def classifier(library: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("classifier")
    return store_classifier(directory, library[::2], [rate_document(text).score for text in library[::2]])


@pytest.fixture(scope="module")
def scored(library: list[str], classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("scored")
    unseen = library[1::2]
    scores = predict(load_classifier(classifier), features_of(unseen))
    rows = [
        ScoredDocument(content_id(text), text, f"source {place % 3}", "{}", score)
        for place, (text, score) in enumerate(zip(unseen, scores, strict=True))
    ]
    write_rows(directory / "documents.parquet", ScoredDocument, rows)
    return directory


def run(scored: Path, classifier: Path, out: Path, share: float, seed: int = 1) -> Result:
    config = FilterStep(filter=FilterConfig(keep_share=share), about="code", seed=seed)
    return filter_documents(config, {"scored": scored, "classifier": classifier}, work(out))


def test_the_best_share_is_kept_and_the_rest_says_why(tmp_path: Path, scored: Path, classifier: Path) -> None:
    result = run(scored, classifier, tmp_path, share=0.2)
    everything = list(read_rows(scored / "documents.parquet", ScoredDocument))
    kept = list(read_rows(tmp_path / "documents.parquet", ScoredDocument))
    dropped = list(read_rows(tmp_path / "dropped.parquet", Dropped))
    best = sorted(everything, key=lambda row: (-row.score, row.id))[: round(0.2 * len(everything))]
    assert {row.id for row in kept} == {row.id for row in best}
    assert [row.id for row in kept] == [row.id for row in everything if row.id in {b.id for b in best}]
    assert {row.id for row in dropped} == {row.id for row in everything} - {row.id for row in kept}
    assert {(row.step, row.reason) for row in dropped} == {("filter", REASON)}
    assert result.counts is not None
    assert result.counts.balanced()
    assert result.counts.dropped == {REASON: len(dropped)}
    assert result.facts["cut"] == pytest.approx(min(row.score for row in kept), abs=1e-6)
    assert sum(column["kept"] for column in result.facts["scores"]) == len(kept)
    assert sum(side["dropped"] for side in result.facts["sources"].values()) == len(dropped)


def test_equal_scores_are_cut_by_id(tmp_path: Path) -> None:
    rows = [
        ScoredDocument(identity, "x", "s", "{}", score) for identity, score in zip("dbca", (2, 2, 2, 3), strict=True)
    ]
    write_rows(tmp_path / "documents.parquet", ScoredDocument, rows)
    assert find_cut(tmp_path / "documents.parquet", 0.5) == ((-2.0, "b"), 4)


def test_the_canaries_are_told_with_their_scores(tmp_path: Path, scored: Path, classifier: Path) -> None:
    facts = run(scored, classifier, tmp_path, share=0.2).facts
    assert [(row["name"], row["must"]) for row in facts["canary_scores"]] == [
        (name, "keep" if wanted else "drop") for name, (_, wanted) in canaries("code").items()
    ]
    for row in facts["canary_scores"]:
        assert (row["score"] >= facts["cut"]) == (row["must"] == "keep")


def test_a_classifier_that_prefers_junk_is_stopped(tmp_path: Path, library: list[str], scored: Path) -> None:
    upside_down = [5 - rate_document(text).score for text in library]
    with pytest.raises(UserError, match="a table of data scores"):
        run(scored, store_classifier(tmp_path / "bad", library, upside_down), tmp_path / "out", share=0.2)
    assert not (tmp_path / "out" / "documents.parquet").exists()


def test_a_classifier_that_knows_nothing_is_stopped(tmp_path: Path, library: list[str], scored: Path) -> None:
    shuffled = np.random.default_rng(0).permutation([rate_document(text).score for text in library]).tolist()
    with pytest.raises(UserError, match="a textbook lesson"):
        run(scored, store_classifier(tmp_path / "bad", library, shuffled), tmp_path / "out", share=0.2)


def test_the_builtin_rater_agrees_with_the_canaries() -> None:
    for text, wanted in canaries("code").values():
        assert (rate_document(text).score >= 4) == wanted
        assert (rate_document(text).score <= 1) == (not wanted)


def test_samples_show_both_sides_and_follow_the_seed(tmp_path: Path, scored: Path, classifier: Path) -> None:
    run(scored, classifier, tmp_path / "one", share=0.5, seed=1)
    run(scored, classifier, tmp_path / "again", share=0.5, seed=1)
    run(scored, classifier, tmp_path / "other", share=0.5, seed=2)
    first = (tmp_path / "one" / "samples.json").read_bytes()
    assert first == (tmp_path / "again" / "samples.json").read_bytes()
    assert first != (tmp_path / "other" / "samples.json").read_bytes()
    samples = json.loads(first)
    rows = {row.id: row for row in read_rows(scored / "documents.parquet", ScoredDocument)}
    kept = {row.id for row in read_rows(tmp_path / "one" / "documents.parquet", ScoredDocument)}
    for sample in samples:
        row = rows[sample["id"]]
        assert sample["text"] == row.text[:SAMPLE_CHARACTERS]
        assert sample["from"] <= row.score <= sample["to"]
        assert (sample["side"] == "kept") == (row.id in kept)
    groups = {(sample["from"], sample["side"]) for sample in samples}
    expected = {(min(4, int(row.score)), "kept" if row.id in kept else "dropped") for row in rows.values()}
    assert groups == expected
    assert all(sum((s["from"], s["side"]) == group for s in samples) <= SAMPLES for group in groups)


def test_an_empty_table_is_the_users_to_mend(tmp_path: Path, classifier: Path) -> None:
    write_rows(tmp_path / "documents.parquet", ScoredDocument, [])
    with pytest.raises(UserError, match="holds no documents to filter"):
        run(tmp_path, classifier, tmp_path / "out", share=0.2)
