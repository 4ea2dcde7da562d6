"""Several processes against one: the same data, the same losses, and checkpoints that any number of them take up."""

import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from training import LENGTH, MODEL, lines, train, train_config

from hornbook.errors import UserError
from hornbook.model.transformer import load_model
from hornbook.recipe import MachineConfig
from hornbook.step_config import TrainStep
from hornbook.train.parallel import World


def machine(processes, parallel="ddp", **fields):
    return MachineConfig(
        workers=1, compile="off", precision="float32", processes=processes, parallel=parallel, micro_batch=2, **fields
    )


LONG = {"steps": 60, "learning_rate": 1e-3}  # enough to be killed in


@pytest.fixture(scope="module")
def alone(tmp_path_factory, inputs):
    """The run of one process that the others are compared with."""
    out = tmp_path_factory.mktemp("alone")
    train(out, inputs, machine(1), held_out_sequences=3)
    return out


def same_run(one, other):
    for first, second in zip(lines(one), lines(other), strict=True):
        assert first["step"] == second["step"]
        assert first["loss"] == pytest.approx(second["loss"], rel=2e-5)
        assert first["gradient_norm"] == pytest.approx(second["gradient_norm"], rel=2e-3)
        assert first.get("held_out", {}) == pytest.approx(second.get("held_out", {}), rel=2e-5)
    ours, theirs = load_model(one).state_dict(), load_model(other).state_dict()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_do_what_one_does(tmp_path, inputs, alone, parallel):
    """With dropout too, where both cut the batch at the same places; and with a look at held-out sequences between."""
    result = train(tmp_path / "two", inputs, machine(2, parallel), held_out_sequences=3)
    assert (result.timing["processes"], result.timing["parallel"]) == (2, parallel)
    same_run(alone, tmp_path / "two")
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        "config.json",
        "losses.jsonl",
        "model.safetensors",
        "tokenizer.json",
    ]


@pytest.fixture(scope="module")
def long_alone(tmp_path_factory, inputs):
    out = tmp_path_factory.mktemp("long")
    train(out, inputs, machine(1), **LONG)
    return out


@pytest.fixture(scope="module")
def killed(tmp_path_factory, inputs):
    """What a run on two processes left when it was killed."""
    out = tmp_path_factory.mktemp("killed") / "out"
    killed_after_checkpoint(out, inputs, machine(2, "fsdp"))
    return out


@pytest.mark.parametrize(("resumed", "parallel"), [(1, "ddp"), (4, "fsdp")])
def test_saved_with_two_resumed_with_others(tmp_path, inputs, long_alone, killed, resumed, parallel):
    out = tmp_path / "out"
    shutil.copytree(killed, out)
    result = train(out, inputs, machine(resumed, parallel), **LONG)
    assert result.timing["processes"] == resumed
    assert 0 < result.timing["steps_here"] <= 56
    same_run(long_alone, out)


def killed_after_checkpoint(directory, inputs, machine):
    """Train on two processes, and kill the one that started them when it has seen a checkpoint; they all end."""
    directory.mkdir()
    config = TrainStep(model=MODEL, train=train_config(**LONG), sequence_length=LENGTH, seed=5).model_dump_json()
    paths = {name: str(path) for name, path in inputs.items()}
    program = f"""
from pathlib import Path
from hornbook.recipe import MachineConfig
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.step_config import TrainStep
from hornbook.train import loop

config = TrainStep.model_validate_json({config!r})
inputs = {{name: Path(path) for name, path in {paths!r}.items()}}
machine = MachineConfig.model_validate_json({machine.model_dump_json()!r})
folder = Path({str(directory)!r})
loop.train_model(config, inputs, Workspace(folder, machine, Silent(), folder, "test"))
"""
    process = subprocess.Popen([sys.executable, "-c", program])
    while not (directory / "checkpoint.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    children = descendants(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(children) >= 3  # torchrun and two processes
    deadline = time.monotonic() + 30
    while any(alive(pid) for pid in children):
        assert time.monotonic() < deadline, "the training processes outlived the run"
        time.sleep(0.1)
    assert not (directory / "model.safetensors").exists()


def descendants(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_what_a_process_says_the_user_can_mend_reaches_the_user(tmp_path, inputs):
    with pytest.raises(UserError, match="2 processes, but batch_sequences is 1"):
        train(tmp_path / "out", inputs, machine(2), batch_sequences=1)


def test_several_nodes_need_a_place_to_meet():
    with pytest.raises(ValidationError, match="several nodes meet at `rendezvous`"):
        machine(1, nodes=2)


def test_another_node_joins(tmp_path, inputs, alone):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = "from hornbook.cli import main; main()"
    joining = subprocess.Popen([sys.executable, "-c", command, "join", "--work", str(tmp_path)])
    try:
        out = tmp_path / "out.partial"
        result = train(out, inputs, machine(1, nodes=2, rendezvous=f"127.0.0.1:{port}"), held_out_sequences=3)
        assert result.timing["processes"] == 2
        same_run(alone, out)
        assert joining.poll() is None  # it waits for the next run
    finally:
        joining.send_signal(signal.SIGINT)
        assert joining.wait(30) == 130


@pytest.mark.parametrize("size", [1, 2, 3, 8, 13])
def test_shares_cover_every_item_once(size):
    items = [item for rank in range(size) for item in World(rank, size).share(13)]
    assert items == list(range(13))
    assert np.ptp([len(World(rank, size).share(13)) for rank in range(size)]) <= 1
