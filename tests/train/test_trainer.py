"""One step of training against naive arithmetic, and what stands beside the loss: masks, scales, held-out sequences."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from training import LENGTH, MODEL, contents, lines, train, train_config

from hornbook.errors import UserError
from hornbook.model.transformer import Phi, load_model
from hornbook.recipe import MachineConfig
from hornbook.step_config import TrainStep
from hornbook.tokens.mix import Mixture
from hornbook.tokens.pack import Packed
from hornbook.train.device import pick_precision
from hornbook.train.launch import loss_of
from hornbook.train.optim import GROW_AFTER, LossScale, learning_rate, scale_gradient
from hornbook.train.parallel import World
from hornbook.train.setup import ready
from hornbook.train.trackers import trackers
from hornbook.train.trainer import Done, NextTokenLoss, Trainer

VOCABULARY = 50


def phi(dropout=0.0, seed=1):
    model = Phi(MODEL, VOCABULARY, LENGTH, dropout)
    model.initialize(seed)
    with torch.no_grad():  # biases and norms that do nothing would hide their errors
        for number, parameter in enumerate(model.parameters()):
            generator = torch.Generator().manual_seed(number)
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def tokens(rows=3, seed=0):
    return torch.randint(1, VOCABULARY, (rows, LENGTH + 1), generator=torch.Generator().manual_seed(seed))


def naive_loss(weights, sequences, separator=None):
    """The mean next-token loss in float64, position by position, from the description of the architecture: nothing of
    ours but the names of the weights."""
    total, count = 0.0, 0
    heads, size = MODEL.heads, MODEL.hidden // MODEL.heads
    turned = int(size * MODEL.rotary_share)
    for sequence in sequences.tolist():
        x = [weights["model.embed_tokens.weight"][token] for token in sequence[:-1]]
        document = np.cumsum([token == separator for token in sequence[:-1]])
        for layer in range(MODEL.layers):
            at = f"model.layers.{layer}."

            def matrix(name, value, at=at):
                return weights[f"{at}{name}.weight"] @ value + weights[f"{at}{name}.bias"]

            normed = [norm(value, weights, f"{at}input_layernorm") for value in x]
            query, key, value = (
                [matrix(f"self_attn.{name}_proj", one).view(heads, size) for one in normed] for name in "qkv"
            )
            query, key = ([turn(one, place, turned) for place, one in enumerate(many)] for many in (query, key))
            new = []
            for place in range(len(x)):
                seen = [other for other in range(place + 1) if document[other] == document[place]]
                mixed = []
                for head in range(heads):
                    scores = torch.stack([query[place][head] @ key[other][head] for other in seen]) / math.sqrt(size)
                    shares = scores.exp() / scores.exp().sum()
                    mixed.append(sum(share * value[other][head] for share, other in zip(shares, seen, strict=True)))
                inner = matrix("mlp.fc1", normed[place])
                gelu = 0.5 * inner * (1 + torch.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)))
                new.append(x[place] + matrix("self_attn.dense", torch.cat(mixed)) + matrix("mlp.fc2", gelu))
            x = new
        for place, one in enumerate(x):
            logits = weights["lm_head.weight"] @ norm(one, weights, "model.final_layernorm") + weights["lm_head.bias"]
            total = total - (logits[sequence[place + 1]] - logits.exp().sum().log())
            count += 1
    return total / count


def norm(value, weights, name):
    centred = value - value.mean()
    scaled = centred / torch.sqrt((centred**2).mean() + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def turn(heads, place, turned):
    half = turned // 2
    rows = []
    for head in heads:
        row = list(head)
        for i in range(half):
            angle = place * 10000.0 ** (-2 * i / turned)
            low, high = head[i], head[i + half]
            row[i] = low * math.cos(angle) - high * math.sin(angle)
            row[i + half] = high * math.cos(angle) + low * math.sin(angle)
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("separator", [None, 7])
def test_gradients_are_those_of_naive_arithmetic_in_float64(separator):
    model, sequences = phi(), tokens(2)
    if separator is not None:
        sequences[:, [4, 9, 10]] = separator
    loss = NextTokenLoss(model, torch.float32, separator)
    ours = loss(sequences, 1.0)
    ours.backward()
    weights = {name: one.detach().double().requires_grad_() for name, one in model.named_parameters()}
    theirs = naive_loss(weights, sequences, separator)
    theirs.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad.double(), weights[name].grad, rtol=1e-4, atol=1e-7, msg=name)


def test_a_masked_document_is_computed_as_if_alone():
    model = phi()
    one, two = tokens(1, 1)[0, :6], tokens(1, 2)[0, :7]
    separator = torch.tensor([3])
    joined = torch.cat((one, separator, two))[None]
    together = model.features(joined, torch.float32, separator=3)[0, 6:]
    alone = model.features(torch.cat((separator, two))[None], torch.float32)[0]
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    unmasked = model.features(joined, torch.float32)[0, 6:]
    assert not torch.allclose(unmasked, alone, atol=1e-3)


def test_recomputed_activations_give_the_same_gradients():
    gradients = []
    for recompute in (False, True):
        model = phi(dropout=0.1).train()
        for block in model.model.layers:
            block.recompute = recompute
        torch.manual_seed(3)
        NextTokenLoss(model, torch.float32, None)(tokens(), 1.0).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for one, two in zip(*gradients, strict=True):
        assert torch.equal(one, two)


def test_a_scale_multiplies_the_gradient_and_comes_out_again():
    gradients = []
    for scale in (1.0, 1024.0):
        model = phi()
        NextTokenLoss(model, torch.float32, None)(tokens(), scale).backward()
        parameters = list(model.parameters())
        norm = float(torch.nn.utils.get_total_norm([one.grad for one in parameters]))
        assert scale_gradient(parameters, norm, scale, clip=0.01) == pytest.approx(norm / scale)
        assert float(torch.nn.utils.get_total_norm([one.grad for one in parameters])) == pytest.approx(0.01, rel=1e-3)
        gradients.append([one.grad for one in parameters])
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-9)


def test_a_loss_scale_halves_on_overflow_and_doubles_after_long_peace():
    scale = LossScale(1024.0)
    assert scale.after(False) == LossScale(512.0)
    for _ in range(GROW_AFTER):
        scale = scale.after(True)
    assert scale == LossScale(2048.0)


def trainer(precision=torch.float32, mixture=None, **changes):
    rng = np.random.default_rng(0)
    packed = Packed(rng.integers(1, VOCABULARY, 40 * LENGTH + 1).astype(np.uint16), LENGTH, VOCABULARY, "", 0)
    config = TrainStep(model=MODEL, train=train_config(dropout=0.0, **changes), sequence_length=LENGTH, seed=5)
    held_out = config.train.held_out_sequences
    mixture = Mixture({"raw": packed}, {"raw": 1.0}, config.train.batch_sequences, 5, held_out)
    machine = MachineConfig(compile="off")
    return ready(config, phi(), mixture, None, machine, World(), torch.device("cpu"), precision, None).trainer


def test_a_float16_step_that_overflows_changes_nothing_and_halves_the_scale():
    ours = trainer()
    half = replace(ours, loss=NextTokenLoss(ours.phi, torch.float16, None))
    overflowing = replace(half, module=lambda piece, scale: ours.module(piece, float("inf")))
    before = [parameter.clone() for parameter in ours.phi.parameters()]
    done = overflowing.step(0, 0.1, LossScale(4.0))
    assert (done.skipped, done.scale) == (True, LossScale(2.0))
    assert all(torch.equal(one, two) for one, two in zip(before, ours.phi.parameters(), strict=True))
    with pytest.raises(UserError, match="step 0: the loss is"):
        overflowing.step(0, 0.1, LossScale(1.0))
    assert not half.step(0, 0.1, LossScale(4.0)).skipped
    assert not all(torch.equal(one, two) for one, two in zip(before, ours.phi.parameters(), strict=True))


def test_the_held_out_loss_is_the_mean_over_sequences_never_trained_on():
    ours = trainer(held_out_sequences=5, batch_sequences=8)
    held_out = ours.mixture.held_out_sequences("raw")
    assert held_out.shape == (5, LENGTH + 1)
    assert np.array_equal(held_out[-1], ours.mixture.sets["raw"].tokens[39 * LENGTH :])
    trained = np.concatenate([ours.mixture.batch(step) for step in range(30)])
    assert not {row.tobytes() for row in trained} & {row.tobytes() for row in held_out}
    logits = ours.phi(torch.from_numpy(held_out)[:, :-1])
    wanted = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(held_out)[:, 1:].flatten())
    assert ours.held_out() == {"raw": pytest.approx(wanted.item(), rel=1e-5)}


def test_the_best_checkpoint_becomes_the_model(tmp_path, inputs):
    """A learning rate that ruins what was learnt: the best is not the last, and is found again after a death."""
    changes = {"steps": 24, "schedule": "constant", "held_out_sequences": 4, "dropout": 0.0, "select": "best"}
    ruin = {"learning_rate": 1.5, "clip": None, **changes}
    out, last = tmp_path / "best", tmp_path / "last"
    result = train(out, inputs, **ruin)
    losses = {line["step"] + 1: line["held_out"] for line in lines(out) if "held_out" in line}
    assert list(losses) == [4, 8, 12, 16, 20, 24]
    means = {step: 0.75 * each["raw"] + 0.25 * each["exercises"] for step, each in losses.items()}
    best = min(means, key=means.__getitem__)
    assert result.facts["selected_step"] == best != 24
    assert result.facts["held_out_loss"] == losses[24]
    train(last, inputs, **(ruin | {"steps": best}))
    weights = load_model(out).state_dict()
    for name, tensor in load_model(last).state_dict().items():
        assert torch.equal(tensor, weights[name])
    assert sorted(contents(out)) == ["config.json", "losses.jsonl", "model.safetensors", "tokenizer.json"]


def test_schedules_are_made_for_more_steps_than_are_taken():
    """phi-1 stopped its base model at 24,000 of 36,000 steps, at about a third of the highest rate."""
    config = train_config(steps=24_000, schedule_steps=36_000, warmup_steps=750, learning_rate=1e-3)
    assert learning_rate(config, 23_999) == pytest.approx(1e-3 * 12_001 / 35_250)


def test_tensorboard_has_every_step(tmp_path, inputs):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    machine = MachineConfig(workers=1, compile="off", precision="float32", trackers=("tensorboard",))
    train(tmp_path / "out", inputs, machine, held_out_sequences=2)
    events = EventAccumulator(str(tmp_path / "out" / "trackers" / "tensorboard" / "out")).Reload()
    logged = lines(tmp_path / "out")
    assert [event.value for event in events.Scalars("loss")] == pytest.approx([line["loss"] for line in logged])
    assert [event.step for event in events.Scalars("held_out/raw")] == [3, 7, 11]


def test_a_tracker_that_is_not_installed_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with (
        pytest.raises(UserError, match=r"machine\.trackers: wandb is not installed; `pip install wandb`"),
        trackers(["wandb"], "run", tmp_path, {}, 0),
    ):
        pass


def test_float16_is_for_gpus():
    with pytest.raises(UserError, match="float16 trains on a GPU"):
        pick_precision(MachineConfig(precision="float16"), torch.device("cpu"))


def test_a_step_that_overflowed_is_null_in_the_losses_and_not_nan(tmp_path, inputs, monkeypatch):
    def overflowed(self, step, rate, scale):
        return Done(float("inf"), float("nan"), scale, True)

    def refuse(constant):
        raise AssertionError(constant)

    monkeypatch.setattr(Trainer, "step", overflowed)
    result = train(tmp_path / "out", inputs, steps=2)
    logged = (tmp_path / "out" / "losses.jsonl").read_bytes().splitlines()
    assert [json.loads(line, parse_constant=refuse)["loss"] for line in logged] == [None, None]
    assert all(math.isnan(loss_of(line)) for line in logged)
    assert result.facts["final_loss"] is None
