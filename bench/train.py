"""How fast one model trains on a CPU: beside transformers, nanoGPT and litgpt, on random tokens.

    python bench/train.py [--nanogpt DIR] [--litgpt PYTHON] [--rounds 3] [--steps 6] [--precision auto]
                          [--micro-batches 4 8 32] [--threads N] [--profile]

A phi of 5.8M parameters (6 layers of 256, 4 heads, 2,048 entries), sequences of 256 tokens, 32 of them a step, AdamW,
gradients clipped to a norm of 1.0. The time is that of whole optimizer steps: forward, backward, clip, step. Each
contender runs in a process of its own, in turn, round by round, and is compiled first. Each peer gets the fastest of
several micro-batches, tried before the first round, and the fused AdamW whether or not its own script would choose it.

`--precision auto` is bfloat16 where the CPU multiplies it in hardware, else float32: without such hardware bfloat16 is
the slower one for everyone. `--profile` says what the time of our step goes to. Peers that are not here are named and
left out. nanoGPT is no package: DIR is where its `model.py` stands. litgpt asks for a NumPy below 2, which hornbook
cannot have: PYTHON is that of an environment of its own, with pydantic and the same PyTorch.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hornbook.model.shape import flops_per_token, parameter_count
from hornbook.recipe import MachineConfig, ModelConfig, TrainConfig
from hornbook.run.workers import SPIN_COUNT, cpu_quota
from hornbook.step_config import TrainStep

ROOT = Path(__file__).resolve().parents[1]
MODEL = ModelConfig(layers=6, hidden=256, heads=4, rotary_share=0.5, padded_vocab_size=None)
VOCAB, SEQUENCE, BATCH, CLIP = 2048, 256, 32, 1.0
RATE, BETAS, DECAY = 1e-3, (0.9, 0.98), 0.1
WARMUP = 2  # steps before the clock starts; the first one compiles
NAMES = {"hornbook": "hornbook", "transformers": "transformers", "nanogpt": "nanoGPT", "litgpt": "litgpt"}

KINDS = {  # of operators in a profile, by parts of their names; the first that fits. Compiled kernels do many things.
    "matrix products of attention": ("::bmm", "::baddbmm"),
    "the other matrix products": ("::addmm", "::mm", "mkldnn", "mkl_linear", "onednn"),
    "attention's softmax and mask, and what was compiled into it": ("softmax", "scaled_dot", "flash_attention"),
    "the loss's softmax": ("logsumexp", "scatter", "_HeadLoss"),
    "norms, GELU, rotary, residuals (compiled)": ("cpp_fused",),
    "optimizer and clipping": ("fused_adam", "_foreach", "linalg_vector_norm"),
    "embedding": ("embedding", "index_put", "index_add"),
    "copies and sums of gradients": ("::copy_", "::add_", "::fill_", "::zero_", "::cat"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nanogpt", type=Path, help="the directory of nanoGPT's model.py")
    parser.add_argument("--litgpt", help="the Python of an environment that holds litgpt")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6, help="timed steps of a contender in a round")
    parser.add_argument("--micro-batches", nargs="+", type=int, default=[4, 8, 32], help="tried for each peer")
    parser.add_argument("--precision", choices=("auto", "bfloat16", "float32"), default="auto")
    parser.add_argument("--threads", type=int, default=cpu_quota())
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)  # what a process of its own runs, as JSON
    options = parser.parse_args()
    if options.child:
        job = json.loads(options.child)
        print(json.dumps(JOBS[job.pop("run")](**job)))
        return
    common: dict[str, Any] = {"precision": options.precision, "threads": options.threads}
    machine = child("machine", **common)
    common["precision"] = precision = machine["precision"]
    limit = machine["gflops"]
    print(f"{options.threads} threads, {precision}, PyTorch {machine['torch']}; matrix limit {limit:.0f} GFLOP/s")
    contenders: dict[str, dict[str, Any]] = {"hornbook": {"run": "ours", **common}}
    for name in ("transformers", "nanogpt", "litgpt"):
        if missing := why_missing(name, options.nanogpt, options.litgpt):
            print(f"{NAMES[name]}: left out, {missing}")
            continue
        job = {"run": "peer", "name": name, "nanogpt": str(options.nanogpt or ""), **common}
        if name == "litgpt":
            job["python"] = options.litgpt
        contenders[name] = {**job, "micro_batch": best_micro_batch(job, options.micro_batches)}
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for number in range(options.rounds):
        for name, job in contenders.items():
            rounds[name].append(child(**job, steps=options.steps))
            rate = rounds[name][-1]["tokens_per_second"]
            print(f"round {number + 1}, {NAMES[name]}: {rate:,.0f} tokens/s", flush=True)
    report(rounds, limit)
    if options.profile:
        show_profile(child("profile", steps=options.steps, **common))


def report(rounds: Mapping[str, list[dict[str, Any]]], limit: float) -> None:
    """A line for each contender, and the ratios of ours to each.

    `median` is of the rounds, each of which gives its median step; `best` is the fastest step of all: the one that
    other programs disturbed least.
    """
    operations = flops_per_token(MODEL, VOCAB, SEQUENCE)
    median = {name: statistics.median(done["tokens_per_second"] for done in rounds[name]) for name in rounds}
    best = {name: max(done["best_tokens_per_second"] for done in rounds[name]) for name in rounds}
    print(f"\n{'':14}{'parameters':>12}{'median':>9}{'best':>9}  tokens/s; share of the matrix limit; setting")
    for name, found in rounds.items():
        share = best[name] * operations / 1e9 / limit
        row = f"{NAMES[name]:14}{found[0]['parameters']:>12,}{median[name]:>9,.0f}{best[name]:>9,.0f}"
        print(f"{row}  {share:4.0%}  {found[0]['setting']}")
    peers = [name for name in rounds if name != "hornbook"]
    for name in peers:
        by_median, by_best = median["hornbook"] / median[name], best["hornbook"] / best[name]
        print(f"hornbook / {NAMES[name]}: {by_median:.2f} by the medians, {by_best:.2f} by the best")
    if peers:
        by_median = median["hornbook"] / max(median[name] for name in peers)
        by_best = best["hornbook"] / max(best[name] for name in peers)
        print(f"hornbook / the best peer: {by_median:.2f} by the medians, {by_best:.2f} by the best")


def show_profile(found: Mapping[str, Any]) -> None:
    """The shares of our step's time by kind of operator."""
    total = sum(found["seconds"].values())
    print("\nwhere the time of our steps goes:")
    for kind, seconds in sorted(found["seconds"].items(), key=lambda item: -item[1]):
        print(f"  {seconds / total:5.1%}  {kind}")
    for name, seconds in found["largest_unsorted"]:
        print(f"         of the rest: {seconds / total:.1%} {name}")


def child(run: str, python: str = sys.executable, **job: Any) -> dict[str, Any]:
    """What a process of its own says. Its threads wait without spinning, as ours do: other programs may be running."""
    command = [python, __file__, "--child", json.dumps({"run": run, **job})]
    environment = {**os.environ, "GOMP_SPINCOUNT": SPIN_COUNT, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{run} {job} ended with status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def why_missing(name: str, nanogpt: Path | None, litgpt: str | None) -> str:
    """Why a peer cannot run here; empty where it can."""
    if name == "nanogpt":
        if nanogpt is None:
            return "give --nanogpt DIR"
        return "" if (nanogpt / "model.py").is_file() else f"{nanogpt} holds no model.py"
    if name == "litgpt":
        return "" if litgpt else "give --litgpt PYTHON"
    return "" if importlib.util.find_spec(name) else f"pip install {name}"


def best_micro_batch(job: Mapping[str, Any], sizes: list[int]) -> int:
    """The fastest of the micro-batches for a peer."""
    if len(sizes) == 1:
        return sizes[0]
    rates = {size: child(**job, steps=2, micro_batch=size)["best_tokens_per_second"] for size in sizes}
    said = ", ".join(f"{size}: {rate:,.0f}" for size, rate in rates.items())
    print(f"{NAMES[job['name']]}, tokens/s by micro-batch: {said}", flush=True)
    return max(rates, key=lambda size: rates[size])


def run_machine(precision: str, threads: int) -> dict[str, Any]:
    """The precision `auto` stands for here, and the fastest matrix product of that precision, in GFLOP/s.

    The best of square products and of the model's own shapes: the limit is the machine's, not one shape's.
    """
    import torch

    from hornbook.train.device import pick_precision

    torch.set_num_threads(threads)
    kind = pick_precision(MachineConfig(precision=precision), torch.device("cpu"))
    fastest = 0.0
    for rows, inner, columns in ((1024, 1024, 1024), (2048, 2048, 2048), (8192, 256, 1024), (8192, 1024, 256)):
        left, right = torch.randn(rows, inner).to(kind), torch.randn(columns, inner).to(kind)
        for _ in range(8):
            started = time.perf_counter()
            left @ right.t()
            fastest = max(fastest, 2 * rows * inner * columns / (time.perf_counter() - started) / 1e9)
    return {"precision": str(kind).removeprefix("torch."), "gflops": fastest, "torch": torch.__version__}


def our_step(steps: int) -> TrainStep:
    """The config of a training run of ours."""
    train = TrainConfig(
        label="bench",
        start="scratch",
        mixture={"raw": 1.0},
        steps=steps,
        schedule_steps=steps,
        batch_sequences=BATCH,
        learning_rate=RATE,
        schedule="constant",
        warmup_steps=0,
        weight_decay=DECAY,
        betas=BETAS,
        epsilon=1e-8,
        clip=CLIP,
        dropout=0.0,
        document_mask=False,
        checkpoint_every=steps,
        held_out_sequences=0,
        select="last",
    )
    return TrainStep(model=MODEL, train=train, sequence_length=SEQUENCE, seed=1)


def run_ours(precision: str, threads: int, steps: int) -> dict[str, Any]:
    from hornbook.train.speed import measure

    machine = MachineConfig(device="cpu", precision=precision, workers=threads)
    speed = measure(our_step(steps), VOCAB, machine, steps=steps)
    assert speed.compile == "on", speed.compile
    setting = f"as a run of a recipe: compiled by blocks, micro-batch {speed.micro_batch}"
    return {
        "tokens_per_second": speed.tokens_per_second,
        "best_tokens_per_second": speed.best_tokens_per_second,
        "parameters": parameter_count(MODEL, VOCAB),
        "setting": setting,
    }


def run_peer(name: str, nanogpt: str, micro_batch: int, precision: str, threads: int, steps: int) -> dict[str, Any]:
    """A peer's model, compiled whole, in the loop its own scripts have: autocast, accumulation, clip, AdamW."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    kind = getattr(torch, precision)
    model, loss_of = PEERS[name](nanogpt)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=BETAS, weight_decay=DECAY, fused=True)
    seconds = []
    for _ in range(WARMUP + steps):
        batch = torch.randint(VOCAB, (BATCH, SEQUENCE + 1))
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for piece in batch.split(micro_batch):
            with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
                loss = loss_of(piece[:, :-1].contiguous(), piece[:, 1:].contiguous())
            (loss * (len(piece) / BATCH)).backward()
            total += float(loss.detach()) * len(piece) / BATCH
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    assert 0.0 < total < 20.0, f"{name}: a loss of {total}"
    timed = seconds[WARMUP:]
    return {
        "tokens_per_second": BATCH * SEQUENCE / statistics.median(timed),
        "best_tokens_per_second": BATCH * SEQUENCE / min(timed),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "setting": f"compiled whole, micro-batch {micro_batch}, fused AdamW",
    }


def transformers_phi(_: str) -> tuple[Any, Callable[[Any, Any], Any]]:
    import torch
    from transformers import PhiConfig, PhiForCausalLM

    config = PhiConfig(
        vocab_size=VOCAB,
        hidden_size=MODEL.hidden,
        intermediate_size=4 * MODEL.hidden,
        num_hidden_layers=MODEL.layers,
        num_attention_heads=MODEL.heads,
        partial_rotary_factor=MODEL.rotary_share,
        max_position_embeddings=SEQUENCE,
        tie_word_embeddings=False,
        use_cache=False,
    )
    model = PhiForCausalLM(config).train()
    compiled = torch.compile(model)
    return model, lambda tokens, targets: compiled(input_ids=tokens, labels=tokens, shift_labels=targets).loss


def nanogpt_gpt(directory: str) -> tuple[Any, Callable[[Any, Any], Any]]:
    """A GPT-2 of the same matrices: learned positions in the place of rotary ones, its head tied to its embedding."""
    import torch

    sys.path.insert(0, directory)
    from model import GPT, GPTConfig

    shape = {"n_layer": MODEL.layers, "n_head": MODEL.heads, "n_embd": MODEL.hidden}
    model = GPT(GPTConfig(block_size=SEQUENCE, vocab_size=VOCAB, dropout=0.0, bias=True, **shape)).train()
    compiled = torch.compile(model)
    return model, lambda tokens, targets: compiled(tokens, targets)[1]


def litgpt_phi(_: str) -> tuple[Any, Callable[[Any, Any], Any]]:
    import torch
    from litgpt import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    shape = {"n_layer": MODEL.layers, "n_head": MODEL.heads, "n_embd": MODEL.hidden, "n_query_groups": MODEL.heads}
    sizes = {"head_size": MODEL.hidden // MODEL.heads, "intermediate_size": 4 * MODEL.hidden}
    vocabulary = {"vocab_size": VOCAB, "padded_vocab_size": VOCAB}
    model = GPT(Config.from_name("phi-1_5", block_size=SEQUENCE, **shape, **sizes, **vocabulary)).train()
    compiled = torch.compile(model)
    # chunk_size=0: at this vocabulary its chunks of 128 only cost time
    return model, lambda tokens, targets: chunked_cross_entropy(compiled(tokens), targets, chunk_size=0)


def run_profile(precision: str, threads: int, steps: int) -> dict[str, Any]:
    """The seconds of our step by kind of operator, from PyTorch's profiler; compilation before it, data and set-up with
    it."""
    import torch
    from torch._inductor import config as inductor

    inductor.cpp.enable_kernel_profile = True  # compiled kernels appear by name
    from hornbook.train.speed import measure

    machine = MachineConfig(device="cpu", precision=precision, workers=threads)
    measure(our_step(1), VOCAB, machine, steps=1)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        measure(our_step(steps), VOCAB, machine, steps=steps)
    seconds: dict[str, float] = dict.fromkeys((*KINDS, "the rest"), 0.0)
    unsorted: dict[str, float] = {}
    for event in profiler.key_averages():
        spent = event.self_cpu_time_total / 1e6
        kind = next((kind for kind, parts in KINDS.items() if any(part in event.key for part in parts)), "the rest")
        seconds[kind] += spent
        if kind == "the rest":
            unsorted[event.key] = spent
    largest = sorted(unsorted.items(), key=lambda item: -item[1])[:5]
    return {"seconds": seconds, "steps": steps, "largest_unsorted": largest}


PEERS = {"transformers": transformers_phi, "nanogpt": nanogpt_gpt, "litgpt": litgpt_phi}
JOBS = {"machine": run_machine, "ours": run_ours, "peer": run_peer, "profile": run_profile}

if __name__ == "__main__":
    main()
