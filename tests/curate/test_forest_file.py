"""A stored forest: the same bytes, the same predictions, and nothing but a forest."""

import json
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import FunctionTransformer

from hornbook.curate.forest_file import read_forest, write_forest
from hornbook.errors import UserError

RNG = np.random.default_rng(0)
FEATURES, RATINGS = RNG.random((200, 6)), RNG.random(200) * 5


def forest(jobs: int | None = None) -> RandomForestRegressor:
    return RandomForestRegressor(12, min_samples_leaf=3, random_state=1, n_jobs=jobs).fit(FEATURES, RATINGS)


def test_what_is_read_predicts_what_was_written(tmp_path: Path) -> None:
    written = forest()
    write_forest(tmp_path / "forest.skops", written)
    assert np.array_equal(read_forest(tmp_path / "forest.skops").predict(FEATURES), written.predict(FEATURES))


def test_the_same_forest_gives_the_same_bytes(tmp_path: Path) -> None:
    write_forest(tmp_path / "first.skops", forest())
    clutter = [forest() for _ in range(3)]  # other memory addresses, other rubbish in the padding of the trees
    time.sleep(2.1)  # a zip archive tells times apart in steps of two seconds
    write_forest(tmp_path / "second.skops", forest(jobs=2))
    write_forest(tmp_path / "third.skops", read_forest(tmp_path / "first.skops"))
    assert len(clutter) == 3
    first = (tmp_path / "first.skops").read_bytes()
    assert first == (tmp_path / "second.skops").read_bytes()
    assert first == (tmp_path / "third.skops").read_bytes()


def test_a_file_with_an_unknown_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "forest.skops"
    skops.io.dump(FunctionTransformer(time.sleep), path)
    with pytest.raises(UserError, match="refused"):
        read_forest(path)


def test_a_forest_whose_type_was_swapped_is_refused(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.skops", tmp_path / "bad.skops"
    write_forest(good, forest())
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "schema.json":
                schema = json.loads(content)
                schema["__module__"], schema["__class__"] = "subprocess", "Popen"
                content = json.dumps(schema).encode()
            target.writestr(name, content)
    with pytest.raises(UserError, match="subprocess"):
        read_forest(bad)


@pytest.mark.parametrize("other", [KNeighborsRegressor(), RandomForestClassifier(2).fit(FEATURES, RATINGS > 2)])
def test_another_estimator_is_no_classifier_of_ours(tmp_path: Path, other: object) -> None:
    skops.io.dump(other, tmp_path / "other.skops")
    with pytest.raises(UserError, match=r"not a random forest|refused"):
        read_forest(tmp_path / "other.skops")


def test_a_file_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such classifier"):
        read_forest(tmp_path / "missing.skops")
    (tmp_path / "broken.skops").write_bytes(b"not a zip")
    with pytest.raises(UserError, match="not a readable classifier"):
        read_forest(tmp_path / "broken.skops")
    write_forest(tmp_path / "cut.skops", forest())
    whole = (tmp_path / "cut.skops").read_bytes()
    (tmp_path / "cut.skops").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not a readable classifier"):
        read_forest(tmp_path / "cut.skops")


def test_trees_of_another_version_are_refused(tmp_path: Path) -> None:
    write_forest(tmp_path / "now.skops", forest())
    with zipfile.ZipFile(tmp_path / "now.skops") as source, zipfile.ZipFile(tmp_path / "old.skops", "w") as target:
        import sklearn

        for name in source.namelist():
            target.writestr(name, source.read(name).replace(sklearn.__version__.encode(), b"0.99.0"))
    with pytest.raises(UserError, match=r"0\.99\.0.*train the classifier again"):
        read_forest(tmp_path / "old.skops")
