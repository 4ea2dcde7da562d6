"""`hornbook eval`, `results` and `grade` as a user types them, on a tiny model."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from tiny_tokenizer import tiny_tokenizer

from hornbook import rowsets
from hornbook.model.transformer import Phi
from hornbook.recipe import ModelConfig
from hornbook.records import Document, content_id
from hornbook.setfiles import UnavailableError
from hornbook.tables import write_rows

TEXT = "def area(width, height):\n    return width * height\n\n\nThe cat sat on the mat. Question: Answer:\n"
HELD_OUT = "work/corpus-0123456789ab/held_out.parquet"


def command(*words, cwd):
    line = [sys.executable, "-m", "hornbook.cli", *words]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a work directory: one trained model, and the text its corpus held out."""
    folder = tmp_path_factory.mktemp("eval")
    model, corpus = folder / "work" / "train.T-0123456789ab", folder / "work" / "corpus-0123456789ab"
    for step in (model, corpus):
        step.mkdir(parents=True)
        (step / "manifest.json").write_text("{}")
    tokenizer = tiny_tokenizer([TEXT] * 5)
    tokenizer.save(str(model / "tokenizer.json"))
    shape = ModelConfig(layers=1, hidden=16, heads=2, rotary_share=0.5, padded_vocab_size=None)
    phi = Phi(shape, tokenizer.get_vocab_size(), 1024)
    phi.initialize(seed=1)
    phi.save(model, 0)
    texts = [TEXT * 3, TEXT + "# another\n"]
    rows = [Document(content_id(text), text, f"source {place}", "{}") for place, text in enumerate(texts)]
    write_rows(corpus / "held_out.parquet", Document, rows)
    return folder


def test_a_model_is_measured_and_its_answers_are_scored_again(work):
    pytest.importorskip("lm_eval")
    done = command("eval", "T", "--tasks", "drill,arc_easy,squad,bits", "--limit", "3", "--out", "T.json", cwd=work)
    assert done.returncode == 0, done.stderr
    result = json.loads((work / "T.json").read_text())
    assert list(result["tasks"]) == ["drill", "arc_easy", "squad", "bits"]
    assert (result["model"]["name"], result["model"]["engine"], result["limit"]) == ("T", "hornbook", 3)
    assert result["tasks"]["bits"]["n"] == 2
    assert set(result["tasks"]["bits"]["sources"]) == {"source 0", "source 1"}
    for name in ("arc_easy", "squad"):
        try:
            rowsets.load(name)
            assert result["tasks"][name]["n"] == 3
        except UnavailableError:
            assert result["tasks"][name]["value"] is None
    assert "only 3 items of each task" in " ".join(done.stdout.split())
    again = command("eval", "--rescore", "T.json", "--out", "again.json", cwd=work)  # finds the held-out text, too
    assert again.returncode == 0, again.stderr
    assert (work / "again.json").read_bytes() == (work / "T.json").read_bytes()
    both = command("results", "T.json", "again.json", cwd=work)
    assert both.returncode == 0, both.stderr
    assert "again.json: every item and score" in " ".join(both.stdout.split())
    assert "drill/" in command("results", "T.json", "--outputs", "drill", cwd=work).stdout
    if result["tasks"]["arc_easy"]["value"] is not None:
        shown = command("results", "T.json", "--outputs", "arc_easy", cwd=work).stdout
        row = rowsets.load("arc_easy")[0]
        assert row["question"] in " ".join(shown.split())
        assert all(text in shown for text in row["choices"]["text"])
        (right,) = (one for one in shown.split("── ")[1].splitlines() if "✓" in one)
        assert right.endswith(row["choices"]["text"][row["choices"]["label"].index(row["answerKey"])])
    answer = command("results", "T.json", "T.json", "--outputs", "squid", cwd=work)
    assert "T.json, T.json: no answers of squid; there are some of drill" in answer.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["eval", "T", "--tasks", "arc_esay", "--out", "x.json"],
            "arc_esay: no such task (did you mean arc_easy?); the",
        ),
        (["eval", "T", "--tasks", "drill", "--out", "x.csv"], "must end in .json"),
        (["eval", "nobody", "--tasks", "drill", "--out", "x.json"], "nobody: neither a directory"),
        (["eval", "--out", "x.json"], "give a model, or answers"),
        (["eval", "T", "--tasks", "emergence", "--teacher", "builtin", "--out", "x.json"], "it cannot grade"),
        (["eval", "--rescore", "none.json", "--out", "x.json"], "none.json: cannot be read"),
        (
            ["eval", "--rescore", "none.json", "--out", "x.json", "--limit", "3", "--device", "cpu"],
            "--limit, --device: wi",
        ),
        (["grade", "none.jsonl", "--testset", "squad", "--out", "x.jsonl"], "none.jsonl: no such file"),
        (["results", "T.json.partial"], "T.json.partial: is neither the record of a run (run.json) nor a whole file"),
        (["grade", "work", "--testset", "glue", "--out", "x.jsonl"], "--testset glue: no such test set"),
    ],
)
def test_what_a_user_can_mend_is_one_line(work, words, told):
    (work / "T.json.partial").write_text('{"format": 1}\n')
    done = command(*words, cwd=work)
    assert done.returncode == 1
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(work.glob("x.*"))


def test_ctrl_c_says_that_the_same_command_goes_on(work):
    """And it does: to the bytes of one that was left alone."""
    words = ["eval", "T", "--tasks", "drill", "--out"]
    line = [sys.executable, "-m", "hornbook.cli", *words, "half.json"]
    partial = work / "half.json.partial"
    with subprocess.Popen(line, cwd=work, stderr=subprocess.PIPE, text=True) as running:
        while running.poll() is None and not (partial.exists() and partial.read_bytes().count(b"\n") > 1):
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        told = running.communicate(timeout=60)[1]
    assert (running.returncode, "interrupted; the same command goes on from here" in told) == (130, True)
    goes_on = command(*words, "half.json", cwd=work)
    assert "half.json: 64 answers are there already" in goes_on.stderr
    assert command(*words, "whole.json", cwd=work).returncode == 0
    assert (work / "half.json").read_bytes() == (work / "whole.json").read_bytes()
    assert not partial.exists()


def test_perplexities_and_answers_made_elsewhere_are_graded(work):
    about = {"toxicity_score": 2.0, "target_groups": ["women"]}
    rows = [
        {"text": f"{label} {i}", "label": label, "perplexity": value + i, **about}
        for label, value in (("hate", 100.0), ("neutral", 10.0))
        for i in range(20)
    ]
    (work / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "{\n")
    done = command("grade", "p.jsonl", "--testset", "toxigen", "--json", cwd=work)
    assert done.returncode == 1  # for the row that is none
    assert "1 row is of no use" in done.stderr
    assert json.loads(done.stdout)["groups"]["women"]["score"] == 1.0
    assert "women" in command("grade", "p.jsonl", "--testset", "toxigen", cwd=work).stdout
    try:
        questions = rowsets.load("squad")
    except UnavailableError:
        pytest.skip("squad is not on this machine")
    (work / "a.json").write_text(json.dumps({row["id"]: row["answers"][0] for row in questions}))
    done = command("grade", "a.json", "--testset", "squad", "--out", "a.jsonl", "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scores"]["exact match"]["value"] == 1.0
    assert len((work / "a.jsonl").read_text().splitlines()) == len(questions)


NASTY = "\x1b]0;x\x07[/x]"


def test_what_a_file_holds_reaches_the_terminal_as_text(work):
    score = {"metric": NASTY, "value": None, "low": None, "high": None, "n": 0, "failed": 0, "reason": NASTY}
    item = {"id": NASTY, "prompt_hash": "0", "outcome": NASTY, "score": None, "output": NASTY}
    model = dict.fromkeys(("name", "engine", "precision", "device"), NASTY)
    tasks = {NASTY: {**score, "version": 1, "family": NASTY, "items": [item]}}
    (work / "nasty.json").write_text(json.dumps({"format": 1, "model": model, "limit": None, "tasks": tasks}, indent=1))
    about = {"label": "hate", "toxicity_score": 2.0, "target_groups": [NASTY], "perplexity": 3.0}
    rows = [{"text": f"{label} {i}", **about, "label": label} for label in ("hate", "neutral") for i in range(3)]
    (work / "nasty.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for words in (
        ("results", "nasty.json"),
        ("results", "nasty.json", "nasty.json"),
        ("results", "nasty.json", "--outputs", NASTY),
        ("grade", "nasty.jsonl", "--testset", "toxigen"),
    ):
        done = command(*words, cwd=work)
        assert done.returncode == 0, (words, done.stderr)
        assert "\x1b" not in done.stdout + done.stderr
        assert "[/x]" in "".join(done.stdout.split())


def test_a_gpu_that_is_not_there_is_said(work):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = command("eval", "T", "--tasks", "drill", "--device", "cuda", "--out", "x.json", cwd=work)
    assert (done.returncode, "PyTorch sees no GPU" in done.stderr) == (1, True)


def test_held_out_text_of_two_corpora_is_not_guessed(work, tmp_path):
    shutil.copytree(work / "work", tmp_path / "work")
    shutil.copytree(work / "work" / "corpus-0123456789ab", tmp_path / "work" / "corpus-ba9876543210")
    done = command("eval", "T", "--tasks", "bits", "--out", "x.json", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--text" in json.loads(done.stdout)["tasks"]["bits"]["reason"]
