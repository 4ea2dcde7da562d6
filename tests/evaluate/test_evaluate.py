"""A small untrained model through every task: the files, the balance, and what is unavailable."""

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from hornbook import setfiles, testsets
from hornbook.evaluate.evaluate import evaluate_model
from hornbook.model.transformer import Phi
from hornbook.recipe import EvaluateConfig, MachineConfig, ModelConfig, Task
from hornbook.records import Completion, Document, Outcome, content_id
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.step_config import EvaluateStep
from hornbook.tables import read_rows, write_rows

TEXT = "def area(width, height):\n    return width * height\n\n\nprint(area(3, 4))\n"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    model, corpus = tmp_path_factory.mktemp("model"), tmp_path_factory.mktemp("corpus")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken("<|endoftext|>", special=True)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [TEXT] * 5, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=special)
    )
    tokenizer.save(str(model / "tokenizer.json"))
    phi = Phi(
        ModelConfig(layers=1, hidden=16, heads=2, rotary_share=0.5, padded_vocab_size=None),
        tokenizer.get_vocab_size(),
        1024,
    )
    phi.initialize(seed=1)
    phi.save(model, 0)
    texts = [TEXT + f"x = {i}\n" for i in range(20)]
    write_rows(corpus / "held_out.parquet", Document, [Document(content_id(t), t, "s", "{}") for t in texts])
    return {"model": model, "corpus": corpus}


def evaluate(directory: Path, inputs: dict[str, Path], tasks: tuple[Task, ...]) -> dict[str, dict[str, object]]:
    directory.mkdir()
    evaluate_ = EvaluateConfig(tasks=tasks, max_new_tokens=4, held_out_bytes=500, cpu_seconds=1.0, memory_mb=256)
    config = EvaluateStep(evaluate=evaluate_, seed=3)
    evaluate_model(config, inputs, Workspace(directory, MachineConfig(device="cpu"), Silent(), directory, "test"))
    scores: dict[str, dict[str, object]] = json.loads((directory / "scores.json").read_text())
    assert list(scores) == list(tasks)
    return scores


def test_an_untrained_model_scores_nothing_and_predicts_badly(inputs: dict[str, Path], tmp_path: Path) -> None:
    if testsets.find("humaneval") is None:
        pytest.skip("humaneval is not on this machine")
    scores = evaluate(tmp_path / "out", inputs, ("humaneval", "bits_held_out"))
    assert (scores["humaneval"]["value"], scores["humaneval"]["n"], scores["humaneval"]["failed"]) == (0.0, 164, 0)
    outcomes = list(read_rows(tmp_path / "out" / "outcomes-humaneval.parquet", Outcome))
    completions = list(read_rows(tmp_path / "out" / "completions-humaneval.parquet", Completion))
    ids = [problem.task_id for problem in testsets.load("humaneval")]
    assert [row.task_id for row in outcomes] == [row.task_id for row in completions] == ids
    # Near-uniform over 300 tokens of a byte or more each: at most log2(300) = 8.2 bits per byte, and far above 2.
    value = scores["bits_held_out"]["value"]
    assert isinstance(value, float)
    assert 2 < value < 8.5
    again = evaluate(tmp_path / "again", inputs, ("bits_held_out",))
    assert again["bits_held_out"] == scores["bits_held_out"]


def test_a_set_that_is_nowhere_is_unavailable_not_zero(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setfiles, "PACKAGED", tmp_path / "packaged")
    monkeypatch.setattr(setfiles, "CHECKOUT", tmp_path / "checkout" / "deep")
    monkeypatch.chdir(tmp_path)
    scores = evaluate(tmp_path / "out", inputs, ("drill", "bits_held_out"))
    assert scores["drill"]["value"] is None
    assert "drill" in str(scores["drill"]["reason"])
    assert scores["bits_held_out"]["value"] is not None
