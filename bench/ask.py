"""How fast the client of a language model asks: beside a bare asyncio loop on the same SDK and the same server.

    python bench/ask.py [--requests 10000] [--concurrency 256] [--rounds 3] [--memory] [--curator PYTHON]

In turn, round by round, against one loopback server (tests/teacher/faulty_server.py, without faults): a bare loop of
`concurrency` coroutines on the SDK as it comes; the same loop on the SDK's aiohttp transport; and ours, which renders,
looks up, paces, keeps every reply in the journal, parses, and answers in order. With `--curator`, also bespoke Curator,
run by the Python of an environment it is installed in. `--memory`: the client's peak memory at 1,000, 10,000 and
100,000 requests, each in a process of its own.
"""

import argparse
import asyncio
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import openai

from hornbook.recipe import EndpointsConfig, LanguageModel, MachineConfig
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.teacher.llm import LanguageModelTeacher
from hornbook.teacher.request import RateRequest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from teacher.faulty_server import serve  # noqa: E402

SCRIPT = {"reply": {"mode": "rating"}, "latency": 0.02}
MODEL = LanguageModel(model="openai:bench", temperature=0.0, top_p=None, max_tokens=300)


def requests(count: int) -> Iterator[RateRequest]:
    """Requests to rate small documents, each its own."""
    for number in range(count):
        yield RateRequest(f"def f_{number}(x):\n    return x + {number}\n" * 4, "bench")


def bare_rate(url: str, count: int, concurrency: int, client: openai.AsyncOpenAI) -> float:
    """Requests per second of coroutines that take turns on one client."""
    prompts = (request.render() for request in requests(count))

    async def worker() -> None:
        for prompt in prompts:
            reply = await client.chat.completions.create(
                model="bench", messages=[{"role": "user", "content": prompt}], temperature=0.0, max_tokens=300
            )
            assert reply.choices[0].message.content

    async def all_workers() -> None:
        await asyncio.gather(*(worker() for _ in range(concurrency)))
        await client.close()

    started = time.perf_counter()
    asyncio.run(all_workers())
    return count / (time.perf_counter() - started)


def our_rate(url: str, count: int, concurrency: int) -> float:
    """Requests per second of ours, journal and parsing with it, from start to close."""
    with TemporaryDirectory(prefix="hornbook-bench-") as scratch:
        folder = Path(scratch)
        endpoints = EndpointsConfig(base_urls=(url,), concurrency=concurrency, preview="go on")
        work = Workspace(folder, MachineConfig(teacher=endpoints), Silent(), folder, "bench")
        started = time.perf_counter()
        with LanguageModelTeacher(MODEL, work, "bench") as teacher:
            answered = sum(answer.value is not None for answer in teacher.answers(requests(count)))
        seconds = time.perf_counter() - started
    assert answered == count, f"{answered} of {count} answered"
    return count / seconds


def curator_rate(python: str, url: str, count: int, concurrency: int) -> float:
    """Requests per second of bespoke Curator, its cache on, as it reports them for its own run."""
    command = [python, str(ROOT / "bench" / "ask_curator.py"), url, str(count), str(concurrency)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return count / float(done.stdout.strip().splitlines()[-1])


def peak_memory_mb(count: int, concurrency: int) -> float:
    """The peak memory of a client process that asks `count` requests."""
    with serve({**SCRIPT, "latency": 0}) as server:
        command = [sys.executable, __file__, "--only-ours", server.base_url, "--requests", str(count)]
        done = subprocess.run([*command, "--concurrency", str(concurrency)], capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--curator", metavar="PYTHON")
    parser.add_argument("--only-ours", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    count, concurrency = options.requests, options.concurrency
    if options.only_ours:
        our_rate(options.only_ours, count, concurrency)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    rates: dict[str, list[float]] = {"bare loop": [], "bare loop, aiohttp": [], "ours": []}
    if options.curator:
        rates["Curator"] = []
    print(f"{count} requests, {concurrency} at once, {options.rounds} rounds, openai {openai.__version__}")
    for number in range(options.rounds):
        with serve(SCRIPT) as server:
            url = server.base_url
            plain = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
            rates["bare loop"].append(bare_rate(url, count, concurrency, plain))
            server.clear()
            quick = openai.AsyncOpenAI(
                base_url=url, api_key="none", max_retries=0, http_client=openai.DefaultAioHttpClient()
            )
            rates["bare loop, aiohttp"].append(bare_rate(url, count, concurrency, quick))
            server.clear()
            rates["ours"].append(our_rate(url, count, concurrency))
            server.clear()
            if options.curator:
                rates["Curator"].append(curator_rate(options.curator, url, count // 10, concurrency))
        print(f"round {number + 1}: " + ", ".join(f"{name} {found[-1]:,.0f}/s" for name, found in rates.items()))
    for name, found in rates.items():
        if name != "ours":
            ratios = [ours / theirs for ours, theirs in zip(rates["ours"], found, strict=True)]
            print(f"ours is {statistics.median(ratios):.2f} times {name} ({min(ratios):.2f} to {max(ratios):.2f})")
    if options.memory:
        for many in (1_000, 10_000, 100_000):
            print(f"peak memory at {many:,} requests: {peak_memory_mb(many, concurrency):,.0f} MB")


if __name__ == "__main__":
    main()
