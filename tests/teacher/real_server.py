"""A server that nobody here wrote: `transformers serve` over a tiny model, on the CPU and without a network."""

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

START_SECONDS = 180.0  # it takes 5 on two idle cores, nearly all of them imports
END_OF_TEXT = "<|endoftext|>"
CHAT_TEMPLATE = "{% for message in messages %}{{ message.content }}\n{% endfor %}"


def tiny_tokenizer() -> Tokenizer:
    """A byte-level BPE: end-of-text, the 256 bytes, and the merges of one function."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(special_tokens=[END_OF_TEXT], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["def add(a, b):\n    return a + b\n"], trainer)
    return tokenizer


def make_tiny_model(directory: Path) -> None:
    """A random PhiForCausalLM of two layers and a tokenizer with a chat template, as transformers saves them.

    It answers nonsense, always the same: `transformers serve` samples only where generation_config.json says so.
    """
    _need_transformers()
    import torch
    from transformers import PhiConfig, PhiForCausalLM, PreTrainedTokenizerFast

    special = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT}
    fast = PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer(), chat_template=CHAT_TEMPLATE, **special)
    fast.save_pretrained(directory)
    config = PhiConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        PhiForCausalLM(config).save_pretrained(directory)


def add_chat_template(directory: Path) -> None:
    """What a model of ours lacks to be served for chat, `tokenizer_config.json`: a line end follows each message."""
    fields = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "chat_template": CHAT_TEMPLATE,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


@contextlib.contextmanager
def serve_model(directory: Path) -> Iterator[tuple[str, str]]:
    """Serve the model in `directory`, and no other. Gives (base_url, model name); killed at the end.

    Skips the test where transformers is not installed; raises RuntimeError with what the server wrote where it does not
    come up.
    """
    _need_transformers()
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "output"
        environment = os.environ | {
            "HF_HOME": scratch,
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",  # the command line asks PyPI for a newer version otherwise
            "OMP_NUM_THREADS": "1",  # the model is too small for more
        }
        command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(directory)]
        command += ["--host", "127.0.0.1", "--port", "0", "--device", "cpu"]
        with (
            open(output, "wb") as file,
            subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            ) as process,
        ):
            try:
                yield f"{_wait_for_address(process, output)}/v1", str(directory)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _need_transformers() -> None:
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed here")


def _wait_for_address(process: subprocess.Popen[bytes], output: Path) -> str:
    """The address uvicorn says it listens on, which it does once the model is loaded."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        found = re.search(r"running on (http://127\.0\.0\.1:\d+)", output.read_text(errors="replace"))
        if found:
            return found[1]
        time.sleep(0.05)
    ended = "is not ready" if process.returncode is None else f"ended with {process.returncode}"
    raise RuntimeError(f"transformers serve {ended}; it wrote:\n{output.read_text(errors='replace')[-4000:]}")
