"""How fast multiple choice is scored, beside lm-evaluation-harness's own `hf` model on the same export: a ratio.

    python bench/eval.py [--model DIR] [--limit 400] [--batch-sizes 1,16,64] [--tasks arc_easy,…] [--threads 2]

The nine harness tasks of phi-1.5's tables, in float32, zero-shot but for MMLU (2 shots). Both sides get the same rows
and make their own requests; each runs in a process of its own, and a task's time is from its rows to its scores,
imports left out. The peer is timed at each batch size, and the best counts; once, in a fixed order. Every item's choice
is compared, at every batch size: they must be identical.

lm-evaluation-harness stops where a choice has more tokens than the model's context, as some have for a context of 256.

Without --model: a phi of 5.8M parameters with random weights, context 2,048, and a tokenizer trained on the questions.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hornbook.run.workers import SPIN_COUNT

os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # as the command line does
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ["HF_HUB_OFFLINE"] = "1"

NAMES = ("winogrande", "arc_easy", "arc_challenge", "boolq", "social_iqa", "piqa", "hellaswag", "openbookqa", "mmlu")


def ours(model: Path, names: list[str], limit: int | None) -> dict[str, Any]:
    """Seconds and choices of each task by hornbook."""
    import datasets  # noqa: F401  (before the clock runs)
    import lm_eval.api.task  # noqa: F401

    from hornbook.evaluate.asking import answer_items
    from hornbook.evaluate.harness import HarnessTask
    from hornbook.evaluate.models import open_language_model
    from hornbook.evaluate.task import Tools
    from hornbook.recipe import PretrainedConfig
    from hornbook.run.progress import Silent
    from hornbook.sandbox.programs import generous_limits

    asked = open_language_model(PretrainedConfig(model=str(model), revision=None), "bench", "float32", "cpu")
    tools = Tools(None, generous_limits(1.0, 64), 1, None, Silent())
    found: dict[str, Any] = {}
    for name in names:
        started = time.perf_counter()
        task = HarnessTask(name)
        items = task.items(limit)
        answers = answer_items(asked, items, Silent().bar("", None, ""))
        list(task.score(items, [answer["output"] for answer in answers], tools))
        seconds = time.perf_counter() - started
        values = [[value for value, *_ in answer["output"]] for answer in answers]
        found[name] = {"seconds": seconds, "values": values}
    return found


def theirs(model: Path, names: list[str], limit: int | None, batch_size: int) -> dict[str, Any]:
    """The same by lm-evaluation-harness."""
    from lm_eval import evaluator
    from lm_eval.models.huggingface import HFLM

    from hornbook.evaluate.harness import harness_task, parts_of

    lm = HFLM(pretrained=str(model), dtype="float32", device="cpu", batch_size=batch_size)
    found: dict[str, Any] = {}
    for name in names:
        started = time.perf_counter()
        parts = list(parts_of(name, limit))
        tasks = {f"{name}_{part.subject}": harness_task(name, part, compiled=False) for part in parts}
        result = evaluator.evaluate(lm, {"tasks": tasks, "groups": {}}, bootstrap_iters=0, log_samples=True)
        seconds = time.perf_counter() - started
        rows = [row for task in tasks for row in sorted(result["samples"][task], key=lambda row: row["doc_id"])]
        values = [[float(value) for value, _ in row["filtered_resps"]] for row in rows]
        found[name] = {"seconds": seconds, "values": values}
    return found


def make_model(folder: Path) -> Path:
    """A phi with random weights and a tokenizer of its own, as transformers reads it."""
    import torch

    from hornbook import rowsets
    from hornbook.model.pretrained import export_directory
    from hornbook.model.transformer import Phi
    from hornbook.recipe import ModelConfig
    from hornbook.tokens.tokenizer import train_bpe

    made = folder / "made"
    made.mkdir()
    texts = [row["question"] for row in rowsets.load("mmlu")] + [row["passage"] for row in rowsets.load("boolq")]
    tokenizer = train_bpe(iter(texts), 2048)
    tokenizer.save(str(made / "tokenizer.json"))
    phi = Phi(ModelConfig(layers=6, hidden=256, heads=4, rotary_share=0.5, padded_vocab_size=None), 2048, 2048)
    phi.initialize(1)
    phi.save(made, tokenizer.token_to_id("<|endoftext|>"))
    export_directory(made, folder / "export", torch.float32, 5 * 10**9)
    return folder / "export"


def main() -> None:
    """Both sides, and what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="an exported directory")
    parser.add_argument("--limit", type=int, help="items of each task; left out: all")
    parser.add_argument("--batch-sizes", default="1,16,64")
    parser.add_argument("--tasks", default=",".join(NAMES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.tasks.split(",")
    if given.side:
        import torch

        torch.set_num_threads(given.threads)
        if given.side == "ours":
            found = ours(given.model, names, given.limit)
        else:
            found = theirs(given.model, names, given.limit, int(given.side))
        given.out.write_text(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as scratch:
        model = given.model or make_model(Path(scratch))
        sides: dict[str, dict[str, Any]] = {}
        for side in ("ours", *given.batch_sizes.split(",")):
            out = Path(scratch) / f"{side}.json"
            command = [sys.executable, __file__, "--model", str(model), "--tasks", given.tasks, "--side", side]
            command += ["--threads", str(given.threads), "--out", str(out)]
            command += ["--limit", str(given.limit)] if given.limit else []
            done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
            if done.returncode:
                sys.exit(f"{side} stopped:\n{done.stderr[-2000:]}")
            sides[side] = json.loads(out.read_text())
            print(f"{side}: {sum(task['seconds'] for task in sides[side].values()):.1f} s in all", flush=True)
    report(names, sides)


def report(names: list[str], sides: dict[str, dict[str, Any]]) -> None:
    """A line a task: times, their ratio, and how many choices differ."""
    own = sides["ours"]
    total_own = total_best = differing = 0.0
    print(
        f"{'task':<15}{'items':>7}{'ours s':>9}{'best lm_eval s':>16}{'ratio':>8}{'other choice':>14}{'widest gap':>12}"
    )
    for name in names:
        peers = {side: found[name] for side, found in sides.items() if side != "ours"}
        batch, best = min(peers.items(), key=lambda pair: pair[1]["seconds"])
        pairs = [pair for peer in peers.values() for pair in zip(own[name]["values"], peer["values"], strict=True)]
        other = sum(max(range(len(a)), key=a.__getitem__) != max(range(len(b)), key=b.__getitem__) for a, b in pairs)
        gap = max(abs(x - y) for a, b in pairs for x, y in zip(a, b, strict=True))
        seconds = own[name]["seconds"], best["seconds"]
        total_own, total_best, differing = total_own + seconds[0], total_best + seconds[1], differing + other
        told = f"{seconds[1]:.1f} (batch {batch})"
        ratio = seconds[1] / seconds[0]
        print(f"{name:<15}{len(best['values']):>7}{seconds[0]:>9.1f}{told:>16}{ratio:>8.2f}{other:>14}{gap:>12.1e}")
    print(f"all: {total_best / total_own:.2f} times as fast as the best batch size of each task (goal: 1.5)")
    if differing:
        sys.exit(f"{differing:.0f} items with another choice: they must be identical")


if __name__ == "__main__":
    main()
