"""How fast a model writes, beside transformers' `generate` on the same weights: ratios of one run.

    python bench/generate.py [--batch 128] [--rounds 5] [--threads 2] [--precision float32|bfloat16]

A phi of 5.8M parameters (hidden 256, 6 layers, 4 heads, vocabulary 2,048, context 512), random weights; 128 ragged
prompts of 16 to 96 tokens, 64 new tokens each, greedy. transformers reads our export, and is timed at batch 32 and at
128: the better counts. Rounds are interleaved, so that what else the machine does falls on all alike; medians of the
rounds and their ratios are printed. In float32 both must write the same tokens; in bfloat16, which is for CPUs that
multiply it (AMX, AVX512-BF16), rounding parts them soon.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hornbook.run.workers import SPIN_COUNT

os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # as the command line does

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from hornbook.model.decode import Weights
from hornbook.model.generate import Sampling, decode
from hornbook.model.transformer import Phi
from hornbook.recipe import ModelConfig

SHAPE = ModelConfig(layers=6, hidden=256, heads=4, rotary_share=0.5, padded_vocab_size=None)
VOCABULARY, CONTEXT, NEW = 2048, 512, 64
SHORTEST, LONGEST = 16, 96  # tokens of a prompt
Tokens = list[list[int]]


def ours(weights: Weights, prompts: Tokens) -> Tokens:
    """Greedy continuations of all prompts in one batch."""
    written: Tokens = [[] for _ in prompts]
    for step in decode(weights, prompts, Sampling(NEW), [True] * len(prompts)):
        for row, token in step:
            written[row].append(token)
    return written


def theirs(model: torch.nn.Module, prompts: Tokens, batch: int) -> Tokens:
    """The same by transformers, so many prompts at a time, padded at their left."""
    written: Tokens = []
    for first in range(0, len(prompts), batch):
        rows = prompts[first : first + batch]
        longest = max(map(len, rows))
        ids, mask = torch.zeros(2, len(rows), longest, dtype=torch.long)
        for row, prompt in enumerate(rows):
            ids[row, longest - len(prompt) :], mask[row, longest - len(prompt) :] = torch.tensor(prompt), 1
        out = model.generate(  # type: ignore[operator]
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            min_new_tokens=NEW,
            max_new_tokens=NEW,
            eos_token_id=None,
            pad_token_id=0,
        )
        written += out[:, longest:].tolist()
    return written


def timed(write: Callable[[], Tokens]) -> tuple[float, Tokens]:
    """New tokens a second, and the tokens."""
    started = time.perf_counter()
    written = write()
    return sum(map(len, written)) / (time.perf_counter() - started), written


def agreement(one: Tokens, other: Tokens) -> float:
    """The share of prompts that were continued alike; rounding may part two that were nearly as likely."""
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)


def report(rates: dict[str, Sequence[float]]) -> None:
    """Medians, and the ratio of each round to the better of transformers' two."""
    for name, values in rates.items():
        print(f"{name:24s} {statistics.median(values):8.0f} tokens/s")
    best = max(("transformers, batch 32", "transformers, batch 128"), key=lambda name: statistics.median(rates[name]))
    ratios = sorted(own / other for own, other in zip(rates["ours"], rates[best], strict=True))
    print(f"ours / {best}: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); goal 4")


def main() -> int:
    """Run the rounds; status 1 where the tokens differ by more than rounding explains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    precision: torch.dtype = getattr(torch, given.precision)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    phi = Phi(SHAPE, VOCABULARY, CONTEXT)
    phi.initialize(0)
    with torch.no_grad():
        for parameter in phi.parameters():
            parameter.mul_(3.0)  # logits far enough apart that rounding seldom decides
    with tempfile.TemporaryDirectory() as directory:
        phi.eval().save(Path(directory), 0)
        model = AutoModelForCausalLM.from_pretrained(directory, dtype=precision).eval()  # type: ignore[no-untyped-call]
    draw = random.Random(0)
    prompts = [
        [draw.randrange(1, VOCABULARY) for _ in range(draw.randint(SHORTEST, LONGEST))] for _ in range(given.batch)
    ]
    weights = Weights(phi, precision)
    contenders: dict[str, Callable[[], Tokens]] = {
        "ours": lambda: ours(weights, prompts),
        "transformers, batch 32": lambda: theirs(model, prompts, 32),
        "transformers, batch 128": lambda: theirs(model, prompts, 128),
    }
    outputs = {name: write() for name, write in contenders.items()}  # warms up, too
    rates: dict[str, Sequence[float]] = {name: [] for name in contenders}
    for number in range(given.rounds):
        for name, write in contenders.items():
            rate, _ = timed(write)
            rates[name] = [*rates[name], rate]
        line = ", ".join(f"{name} {values[-1]:.0f}" for name, values in rates.items())
        print(f"round {number + 1}: {line} (load {os.getloadavg()[0]:.1f})", flush=True)
    report(rates)
    alike = agreement(outputs["ours"], outputs["transformers, batch 128"])
    print(f"prompts continued alike: {alike:.0%}")
    return 0 if alike >= 0.95 or precision != torch.float32 else 1


if __name__ == "__main__":
    sys.exit(main())
