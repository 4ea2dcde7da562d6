"""The rehearsal of phi-1.5-web, which has every part a recipe has: two corpora, textbooks of two kinds, exercises."""

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[1] / "recipes" / "phi-1.5-web.yaml"
REHEARSAL = [str(RECIPE), "--arm", "rehearsal"]


def hornbook(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "hornbook.cli", *arguments], capture_output=True, text=True, timeout=600
    )


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    work = tmp_path_factory.mktemp("rehearsal") / "work"
    answer = hornbook("run", *REHEARSAL, "--work", str(work))
    assert answer.returncode == 0, answer.stderr
    return work


@pytest.fixture(scope="module")
def text(work):
    found = []

    class Text(HTMLParser):
        def handle_data(self, data):
            found.append(data)

    Text().feed((work / "runs" / "phi-1.5-web.rehearsal" / "report.html").read_text(encoding="utf-8"))
    return " ".join(" ".join(found).split())


def manifest(work, step):
    (path,) = work.glob(f"{step}-*/manifest.json")
    return json.loads(path.read_text())


def test_the_report_shows_every_part_and_nothing_is_left_out(text):
    for title in (
        "Filtered code",
        "Filtered web text",
        "Synthetic textbooks of general knowledge",
        "Textbook sections of general knowledge",
        "Synthetic exercises",
        "texts to draw extracts from",
    ):
        assert title in text
    assert "left out, because" not in text


def test_the_model_read_every_set_by_its_share(work, text):
    facts = manifest(work, "train.student")["facts"]
    assert set(facts["epochs"]) == {"filtered", "web", "textbooks", "general_textbooks", "exercises"}
    for epochs in facts["epochs"].values():
        assert f"{epochs:.2f}" in text
    for loss in facts["held_out_loss"].values():
        assert f"{loss:.3f}" in text


def test_the_web_was_filtered_by_ratings_of_prose(work):
    assert manifest(work, "annotate.web")["config"]["annotate"]["about"] == "prose"
    counts = manifest(work, "filter.web")["counts"]
    assert 0 < counts["kept"] < counts["read"]


def test_a_second_run_has_nothing_to_do(work):
    answer = hornbook("run", *REHEARSAL, "--work", str(work))
    assert answer.returncode == 0, answer.stderr
    assert "\n0 steps run," in answer.stdout
