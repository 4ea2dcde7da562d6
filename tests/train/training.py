"""A tiny training run for tests: its config, its packed sets, and the run itself."""

import json

from hornbook.recipe import MachineConfig, ModelConfig, TrainConfig
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.step_config import TrainStep
from hornbook.tokens.tokenizer import file_sha256
from hornbook.train.loop import train_model

MODEL = ModelConfig(layers=2, hidden=32, heads=2, rotary_share=0.5, padded_vocab_size=None)
LENGTH = 16
JIT_WARNING = "ignore:.*script_method:DeprecationWarning"  # PyTorch's own, at the import of its compiler


def train_config(**changes):
    fields = {
        "label": "test",
        "start": "scratch",
        "mixture": {"raw": 0.75, "exercises": 0.25},
        "steps": 12,
        "batch_sequences": 8,
        "learning_rate": 1e-2,
        "schedule": "linear",
        "warmup_steps": 2,
        "weight_decay": 0.1,
        "betas": (0.9, 0.95),
        "clip": 1.0,
        "dropout": 0.1,
        "checkpoint_every": 4,
        "epsilon": 1e-8,
        "document_mask": False,
        "held_out_sequences": 0,
        "select": "last",
    }
    fields |= changes
    return TrainConfig(**({"schedule_steps": fields["steps"]} | fields))


def write_packed(directory, tokens, tokenizer):
    directory.mkdir()
    (directory / "tokens.bin").write_bytes(tokens.tobytes())
    index = {
        "dtype": "<u2",
        "tokens": len(tokens),
        "sequence_length": LENGTH,
        "vocab_size": 257,
        "tokenizer_sha256": file_sha256(tokenizer / "tokenizer.json"),
        "end_of_text": 0,
    }
    (directory / "index.json").write_text(json.dumps(index))


def train(directory, inputs, machine=None, **changes):
    directory.mkdir(exist_ok=True)
    config = TrainStep(model=MODEL, train=train_config(**changes), sequence_length=LENGTH, seed=5)
    machine = machine or MachineConfig(workers=1, compile="off", precision="float32")
    return train_model(config, inputs, Workspace(directory, machine, Silent(), directory, "test"))


def contents(directory):
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()}


def lines(directory):
    return [json.loads(line) for line in (directory / "losses.jsonl").read_text().splitlines()]
