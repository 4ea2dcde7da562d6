"""What one GPU makes of the two models of the phi-1 paper: training speed and MFU, memory beside the plan's, float16,
decoding.

    python bench/gpu.py [--steps 10] [--sequences 64] [--dropout 0.0] [--json FILE] [--only PART ...] [--cpu]

Parts, each in a process of its own: `peak`, the fastest bfloat16 matrix product; `train-1.3B` and `train-350M`, whole
optimizer steps of `--sequences` sequences of 2,048 tokens in bfloat16; `float16`, 200 steps of the 1.3B model with loss
scaling, and how many of them overflowed; `decode`, the time of a token of the 1.3B model at batch 1. `--cpu` runs the
same parts at toy size on a CPU, not compiled, to see that they work: in float32, where nothing is scaled.

MFU = tokens/s × (6 × weights of matrices, head included and embedding not, + 6 × layers × hidden × sequence length) /
peak: causal attention, forward and backward, nothing for recomputation. `PaLM` is by that paper's formula, which counts
attention as if it were not causal. The nominal peak is the data sheet's, dense; the measured one is that of `peak`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from hornbook.model.shape import flops_per_token, palm_flops_per_token, parameter_count
from hornbook.plan.gpus import GPUS
from hornbook.recipe import MachineConfig, ModelConfig, TrainConfig
from hornbook.run.workers import SPIN_COUNT
from hornbook.step_config import TrainStep
from hornbook.train.memory import Layout, peak_memory

PRESETS = {"1.3B": "phi-1", "350M": "phi-1-small"}
TOKENIZER_ENTRIES = 50_295  # of CodeGen's
PARTS = ("peak", "train-1.3B", "train-350M", "float16", "decode")
FLOAT16_STEPS, FLOAT16_SEQUENCES = 200, 8
PROMPT_TOKENS, NEW_TOKENS, SKIPPED_TOKENS = 128, 384, 128  # the first steps of decoding record the GPU's graphs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10, help="timed optimizer steps, after two to warm up")
    parser.add_argument("--sequences", type=int, default=64, help="of one optimizer step")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--json", type=Path, help="where to write the findings; they are printed too")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--cpu", action="store_true", help="toy size on a CPU")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)  # what a process of its own runs
    options = parser.parse_args()
    if options.part:
        print(json.dumps(run_part(options)))
        return
    found: dict[str, Any] = {}
    for part in options.only:
        print(f"{part} …", file=sys.stderr, flush=True)
        command = [sys.executable, __file__, *sys.argv[1:], "--part", part]
        # Threads that wait without spinning, as those of the command line do
        environment = {**os.environ, "GOMP_SPINCOUNT": SPIN_COUNT}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        # A part that does not run (too little memory, say) says why by itself, and the others go on.
        found[part] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"status": done.returncode}
    text = json.dumps(found, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    show(found)
    sys.exit(any("status" in result for result in found.values()))


def run_part(options: argparse.Namespace) -> dict[str, Any]:
    if options.part == "peak":
        return matrix_peak(options.cpu)
    if options.part == "float16":
        precision = "float32" if options.cpu else "float16"
        steps, sequences = (5, 2) if options.cpu else (FLOAT16_STEPS, FLOAT16_SEQUENCES)
        return train("1.3B", precision, steps, sequences, options)
    if options.part == "decode":
        return decode_tokens(options.cpu)
    precision = "float32" if options.cpu else "bfloat16"
    sequences = 4 if options.cpu else options.sequences
    return train(options.part.removeprefix("train-"), precision, options.steps, sequences, options)


def shape(size: str, cpu: bool) -> tuple[ModelConfig, int, int]:
    """The model, the entries of its tokenizer and the length of its sequences; for a CPU, small ones."""
    if cpu:
        layers = {"1.3B": 3, "350M": 2}[size]
        return ModelConfig(layers=layers, hidden=64, heads=2, rotary_share=0.5, padded_vocab_size=512), 500, 64
    return ModelConfig.model_validate({"preset": PRESETS[size]}), TOKENIZER_ENTRIES, 2048


def matrix_peak(cpu: bool) -> dict[str, Any]:
    """TFLOP/s of the fastest square product: the clock of a GPU under load decides, and the data sheet does not say."""
    import torch

    device, precision = ("cpu", torch.float32) if cpu else ("cuda", torch.bfloat16)
    best = 0.0
    for size in (256, 512) if cpu else (4096, 8192, 16384):
        left = torch.randn(size, size, device=device).to(precision)
        for _ in range(3):
            started, times = time.perf_counter(), 10
            for _ in range(times):
                left @ left
            if not cpu:
                torch.cuda.synchronize()
            best = max(best, times * 2 * size**3 / (time.perf_counter() - started) / 1e12)
    name = "CPU" if cpu else torch.cuda.get_device_name()
    return {"device": name, "torch": torch.__version__, "nominal_teraflops": nominal(name), "teraflops": best}


def nominal(device: str) -> float | None:
    """TFLOP/s of a GPU's data sheet, bfloat16 and dense; None where we do not know it."""
    return next((gpu.peak_teraflops for gpu in GPUS if gpu.name.split("-")[0] in device), None)


def train(size: str, precision: str, steps: int, sequences: int, options: argparse.Namespace) -> dict[str, Any]:
    """Optimizer steps on random tokens as the trainer does them, and what the plan says of their memory."""
    from hornbook.train.speed import measure

    model, entries, length = shape(size, options.cpu)
    config = TrainStep(
        model=model,
        train=TrainConfig(
            label="bench",
            start="scratch",
            mixture={"raw": 1.0},
            steps=steps,
            schedule_steps=steps,
            batch_sequences=sequences,
            learning_rate=2e-4,
            schedule="constant",
            warmup_steps=0,
            weight_decay=0.1,
            betas=(0.9, 0.98),
            epsilon=1e-7,
            clip=1.0,
            dropout=options.dropout,
            document_mask=False,
            checkpoint_every=steps,
            held_out_sequences=0,
            select="last",
        ),
        sequence_length=length,
        seed=1,
    )
    device, compilation = ("cpu", "off") if options.cpu else ("cuda", "on")
    machine = MachineConfig(device=device, precision=precision, compile=compilation)
    speed = measure(config, entries, machine, steps=steps)
    layout = Layout(precision, 1, speed.activation_checkpointing, sequences > speed.micro_batch)
    palm = palm_flops_per_token(model, entries, length)
    return {
        "parameters": parameter_count(model, entries),
        "precision": speed.precision,
        "dropout": options.dropout,
        "sequences": sequences,
        "micro_batch": speed.micro_batch,
        "activation_checkpointing": speed.activation_checkpointing,
        "compile": speed.compile,
        "tokens_per_second": speed.tokens_per_second,
        "best_tokens_per_second": speed.best_tokens_per_second,
        "flops_per_token": flops_per_token(model, entries, length),
        "teraflops": speed.teraflops,
        "palm_teraflops": speed.tokens_per_second * palm / 1e12,
        "peak_bytes": speed.peak_device_bytes,
        "planned_bytes": peak_memory(config, entries, layout, speed.micro_batch).total,
        "steps": steps,
        "overflowed_steps": speed.skipped,
        "first_loss": speed.losses[0],
        "last_loss": speed.losses[-1],
    }


def decode_tokens(cpu: bool) -> dict[str, Any]:
    """Milliseconds of a greedy token of the larger model at batch 1, as its reader waits for it: the choice with it."""
    import torch

    from hornbook.model.decode import Weights
    from hornbook.model.generate import Sampling, decode
    from hornbook.model.transformer import Phi

    model, entries, length = shape("1.3B", cpu)
    device, precision = ("cpu", torch.float32) if cpu else ("cuda", torch.bfloat16)
    phi = Phi(model, entries, length)
    phi.initialize(1)
    weights = Weights(phi.to(device), precision)
    del phi
    prompt, new, skipped = (8, 24, 8) if cpu else (PROMPT_TOKENS, NEW_TOKENS, SKIPPED_TOKENS)
    moments = []
    for _ in decode(weights, [[1 + i % (entries - 1) for i in range(prompt)]], Sampling(new), [True]):
        moments.append(time.perf_counter())  # `decode` has brought the token to the CPU: the GPU is done with it
    milliseconds = [1000 * (after - before) for before, after in pairwise(moments)]
    return {
        "precision": str(precision).removeprefix("torch."),
        "prompt_tokens": prompt,
        "new_tokens": new,
        "milliseconds_per_token": statistics.median(milliseconds[skipped:]),
        "slowest_milliseconds": max(milliseconds[skipped:]),
    }


def show(found: Mapping[str, Mapping[str, Any]]) -> None:
    """A short table of what was found."""
    peak = found.get("peak", {})
    measured, data_sheet = peak.get("teraflops"), peak.get("nominal_teraflops")
    if measured:
        print(
            f"\n{peak['device']}, PyTorch {peak['torch']}: measured peak {measured:.3g} TFLOP/s, nominal {data_sheet}"
        )
    heads = f"{'':12}{'tokens/s':>10}{'TFLOP/s':>9}{'MFU':>7}{'PaLM':>7}{'of measured':>13}"
    print(f"{heads}{'peak GB':>9}{'plan GB':>9}{'off':>7}")
    for part in ("train-1.3B", "train-350M", "float16"):
        row = found.get(part, {})
        if "tokens_per_second" not in row:
            continue
        mfu, palm, of_measured = (
            f"{value / limit:.1%}" if limit else "-"
            for value, limit in (
                (row["teraflops"], data_sheet),
                (row["palm_teraflops"], data_sheet),
                (row["teraflops"], measured),
            )
        )
        off = f"{row['planned_bytes'] / row['peak_bytes'] - 1:+.1%}" if row["peak_bytes"] else "-"
        print(
            f"{part:12}{row['tokens_per_second']:>10,.0f}{row['teraflops']:>9.3g}{mfu:>7}{palm:>7}{of_measured:>13}"
            f"{row['peak_bytes'] / 1e9:>9.1f}{row['planned_bytes'] / 1e9:>9.1f}{off:>7}"
        )
    if "steps" in found.get("float16", {}):
        row = found["float16"]
        losses = f"loss {row['first_loss']:.3f} to {row['last_loss']:.3f}"
        print(f"{row['precision']}: {row['overflowed_steps']} of {row['steps']} steps overflowed; {losses}")
    if "milliseconds_per_token" in found.get("decode", {}):
        row = found["decode"]
        print(f"decode, batch 1, {row['precision']}: {row['milliseconds_per_token']:.2f} ms a token")


if __name__ == "__main__":
    main()
