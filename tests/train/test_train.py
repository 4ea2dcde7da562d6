"""Training: schedules, the loss against PyTorch's, learning what can be learned, and the same bytes after any death."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from training import JIT_WARNING, LENGTH, MODEL, contents, lines, train, train_config

from hornbook.errors import UserError
from hornbook.model.transformer import Phi, load_model
from hornbook.recipe import MachineConfig
from hornbook.step_config import TrainStep
from hornbook.tokens.tokenizer import train_bpe
from hornbook.train.checkpoint import POINTER, Position, load_checkpoint, read_position, save_checkpoint
from hornbook.train.device import compile_loss
from hornbook.train.loss import head_loss
from hornbook.train.optim import learning_rate, make_optimizer, start_moments
from hornbook.train.parallel import World
from hornbook.train.trainer import NextTokenLoss


def test_schedules_warm_up_and_come_down():
    rates = {
        schedule: [learning_rate(train_config(schedule=schedule, steps=10), step) for step in range(10)]
        for schedule in ("linear", "constant", "cosine")
    }
    assert rates["constant"] == pytest.approx([0.005] + [0.01] * 9)
    assert rates["linear"] == pytest.approx([0.005, 0.01] + [0.01 * (8 - step) / 8 for step in range(8)])
    assert rates["cosine"][2:] == pytest.approx([0.005 * (1 + np.cos(np.pi * step / 8)) for step in range(8)])
    assert learning_rate(train_config(warmup_steps=0, steps=4), 3) == pytest.approx(0.0025)


def test_decay_acts_on_linear_weights_only():
    model = Phi(MODEL, 50, LENGTH)
    decayed, others = make_optimizer(model, train_config()).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed_names = {names[id(parameter)] for parameter in decayed["params"]}
    assert decayed_names == {n for n in names.values() if n.endswith("weight") and "norm" not in n and "embed" not in n}
    assert others["weight_decay"] == 0.0
    assert len(decayed["params"]) + len(others["params"]) == len(names)


@pytest.mark.parametrize("rows", [1, 512, 1300])  # less than a chunk, one, several and a rest
def test_the_loss_and_its_gradients_are_pytorchs(rows):
    generator = torch.Generator().manual_seed(rows)
    head = torch.nn.Linear(16, 70)
    features = torch.randn(rows, 16, generator=generator, requires_grad=True)
    targets = torch.randint(0, 70, (rows,), generator=generator)
    ours = head_loss(features, head, targets)
    theirs = torch.nn.functional.cross_entropy(head(features), targets)
    torch.testing.assert_close(ours, theirs)
    wanted = (features, head.weight, head.bias)
    for one, two in zip(torch.autograd.grad(ours * 3, wanted), torch.autograd.grad(theirs * 3, wanted), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_it_learns_what_can_be_learned_and_writes_what_it_says(tmp_path, inputs):
    out = tmp_path / "out"
    result = train(out, inputs, steps=60, dropout=0.0)
    logged = lines(out)
    assert [line["step"] for line in logged] == list(range(60))
    assert logged[-1]["tokens"] == 60 * 8 * LENGTH == result.facts["tokens"]
    assert abs(logged[0]["loss"] - np.log(257)) < 0.2
    assert logged[-1]["loss"] < 0.2
    assert result.facts["epochs"] == {"raw": 3.6, "exercises": 1.2}
    assert sorted(contents(out)) == ["config.json", "losses.jsonl", "model.safetensors", "tokenizer.json"]
    logits = load_model(out)(torch.tensor([[40, 41, 42, 43, 44, 45]]))
    assert int(logits[0, -1].argmax()) == 46


def test_the_same_seed_gives_the_same_bytes(tmp_path, inputs):
    train(tmp_path / "one", inputs)
    train(tmp_path / "two", inputs)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_micro_batches_change_rounding_only(tmp_path, inputs):
    machine = MachineConfig(workers=1, compile="off", precision="float32", micro_batch=3)
    train(tmp_path / "one", inputs, dropout=0.0)
    result = train(tmp_path / "two", inputs, machine, dropout=0.0)
    assert result.timing["micro_batch"] == 3
    one, two = load_model(tmp_path / "one").state_dict(), load_model(tmp_path / "two").state_dict()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, two[name], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("death", [1, 4, 6, 8, 11])
def test_killed_and_resumed_ends_in_the_same_bytes(tmp_path, inputs, death):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(whole, inputs)
    killed_at_step(broken, inputs, death)
    assert "model.safetensors" not in contents(broken)
    result = train(broken, inputs)
    assert result.timing["steps_here"] == 12 - death // 4 * 4
    assert contents(broken) == contents(whole)


def killed_at_step(directory, inputs, death):
    """Train in another process that kills itself, without warning, when it has logged step `death`."""
    config = TrainStep(model=MODEL, train=train_config(), sequence_length=LENGTH, seed=5).model_dump_json()
    paths = {name: str(path) for name, path in inputs.items()}
    program = f"""
import os, signal
from pathlib import Path
from hornbook.recipe import MachineConfig
from hornbook.step_config import TrainStep
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.train import loop

write = loop._Run._write
def write_and_die(self, losses, step, line):
    write(self, losses, step, line)
    if step == {death}:
        os.kill(os.getpid(), signal.SIGKILL)
loop._Run._write = write_and_die
config = TrainStep.model_validate_json({config!r})
inputs = {{name: Path(path) for name, path in {paths!r}.items()}}
machine = MachineConfig(workers=1, compile="off", precision="float32")
folder = Path({str(directory)!r})
loop.train_model(config, inputs, Workspace(folder, machine, Silent(), folder, "test"))
"""
    directory.mkdir()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_finished_training_is_not_done_again(tmp_path, inputs):
    """Death between the model and the step's own end: the weights are put in place last, and the rest is reckoned."""
    changes = {"held_out_sequences": 3, "select": "best"}
    result = train(tmp_path / "out", inputs, **changes)
    before = contents(tmp_path / "out")
    again = train(tmp_path / "out", inputs, **changes)
    assert again.facts == result.facts
    assert again.timing == {"steps_here": 0}
    assert contents(tmp_path / "out") == before


def test_losses_shorter_than_their_checkpoint_are_said(tmp_path, inputs):
    killed_at_step(tmp_path / "out", inputs, 5)
    (tmp_path / "out" / "losses.jsonl").write_text("")
    with pytest.raises(UserError, match=r"losses\.jsonl: shorter than its checkpoint says; delete"):
        train(tmp_path / "out", inputs)


def test_a_checkpoint_cut_short_while_written_is_not_taken(tmp_path, inputs):
    """Death between the tensor file and the pointer: the checkpoint before it counts."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(whole, inputs)
    killed_at_step(broken, inputs, 6)
    for name in ("checkpoint-00000008", "checkpoint-00000008.writing"):
        (broken / name).mkdir()
        (broken / name / "shard-00001-model-00001-of-00001.safetensors").write_bytes(b"half")
    (broken / f"{POINTER}.writing").write_text("{")
    train(broken, inputs)
    assert contents(broken) == contents(whole)


def test_a_damaged_checkpoint_is_said(tmp_path, inputs):
    killed_at_step(tmp_path / "out", inputs, 5)
    (path,) = (tmp_path / "out" / "checkpoint-00000004").glob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="its checksum does not match; delete"):
        train(tmp_path / "out", inputs)


def test_a_checkpoint_holds_model_and_moments_exactly(tmp_path):
    def fresh():
        model = Phi(MODEL, 50, LENGTH)
        model.initialize(1)
        optimizer = make_optimizer(model, train_config())
        start_moments(optimizer)
        return model, optimizer

    def step(model, optimizer, seed):
        tokens = torch.randint(0, 50, (2, LENGTH), generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        model(tokens).logsumexp(-1).mean().backward()
        optimizer.step()

    model, optimizer = fresh()
    for seed in range(3):
        step(model, optimizer, seed)
    position = Position(3, 77, loss_scale=8.0, good_steps=2)
    save_checkpoint(tmp_path, model, optimizer, position, World())
    step(model, optimizer, 9)
    other, other_optimizer = fresh()
    assert read_position(tmp_path, verify=True) == position
    load_checkpoint(tmp_path, other, other_optimizer, position, World())
    step(other, other_optimizer, 9)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_going_on_from_a_model_starts_at_its_weights(tmp_path, inputs):
    train(tmp_path / "base", inputs, steps=60, dropout=0.0)
    result = train(tmp_path / "next", {**inputs, "start": tmp_path / "base"}, start="base", steps=2, dropout=0.0)
    assert lines(tmp_path / "next")[0]["loss"] < 0.3
    assert result.facts["tokens"] == 2 * 8 * LENGTH


def test_misfits_are_said(tmp_path, inputs):
    train(tmp_path / "base", inputs, steps=1, warmup_steps=0)
    fields = json.loads((tmp_path / "base" / "config.json").read_text())
    shutil.copytree(tmp_path / "base", tmp_path / "short")
    (tmp_path / "short" / "config.json").write_text(json.dumps(fields | {"max_position_embeddings": LENGTH - 1}))
    with pytest.raises(UserError, match="another shape, vocabulary or context"):
        train(tmp_path / "out", {**inputs, "start": tmp_path / "short"}, start="base")
    other = tmp_path / "other"
    other.mkdir()
    train_bpe(iter(["something else"]), 258).save(str(other / "tokenizer.json"))
    with pytest.raises(UserError, match="packed with another tokenizer"):
        train(tmp_path / "out", {**inputs, "tokenizer": other})


@pytest.mark.parametrize("place", ["weights", "gradient"])
def test_what_is_not_finite_stops_before_the_step(tmp_path, inputs, place, monkeypatch):
    if place == "weights":
        changes = {"learning_rate": 1e38, "clip": 1e38, "warmup_steps": 0}
    else:
        changes = {}
        original = head_loss
        monkeypatch.setattr("hornbook.train.trainer.head_loss", lambda *given: original(*given) * float("inf"))
    with pytest.raises(UserError, match=r"step \d+: the loss is .*lower `learning_rate`"):
        train(tmp_path / "out", inputs, **changes)
    logged = (tmp_path / "out" / "losses.jsonl").read_text()
    assert "NaN" not in logged
    assert "Infinity" not in logged
    assert "model.safetensors" not in contents(tmp_path / "out")


@pytest.mark.filterwarnings(JIT_WARNING)
@pytest.mark.parametrize("separator", [None, 3])
def test_a_compiled_loss_gives_the_same_gradients(separator):
    sequences = torch.randint(0, 50, (2, LENGTH + 1), generator=torch.Generator().manual_seed(0))
    gradients = []
    for choice in ("off", "on"):
        loss = fresh_loss(separator)
        assert compile_loss(loss, loss, choice, (2, LENGTH)) == choice
        loss(sequences, 1.0).backward()
        gradients.append({name: parameter.grad for name, parameter in loss.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-3, atol=1e-6)


def fresh_loss(separator=None):
    phi = Phi(MODEL, 50, LENGTH)
    phi.initialize(1)
    return NextTokenLoss(phi, torch.float32, separator)


@pytest.mark.filterwarnings(JIT_WARNING)
def test_without_a_compiler_auto_goes_on_and_on_stops(monkeypatch):
    monkeypatch.setenv("CXX", os.devnull)
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (os.devnull,))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    loss = fresh_loss()
    block = loss.phi.model.layers[0]
    before = block.compute
    assert compile_loss(loss, loss, "auto", (3, 8)).startswith("off: ")
    assert block.compute is before
    with pytest.raises(UserError, match=r"machine\.compile"):
        compile_loss(loss, loss, "on", (3, 8))
