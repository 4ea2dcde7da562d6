"""Whether a busy machine changes verdicts: the same 2,000 samples graded on an idle machine and beside busy processes.

    python bench/load.py [--busy 8] [--samples 2000]

The samples are HumanEval's references, whole and cut short, and among them programs that load tells from others where
limits are drawn badly: some that compute for a second, some that sleep for a second, and a few that never end. Prints
the outcomes of both runs and every sample on which they differ; ends with status 1 if any does.
"""

import argparse
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

from hornbook import testsets
from hornbook.evaluate.code import grade_programs, time_references
from hornbook.records import Problem
from hornbook.run.workers import cpu_quota
from hornbook.sandbox.probe import choose_backend
from hornbook.sandbox.programs import generous_limits

COMPUTE = "import time\nwhile time.process_time() < 1: pass\n"
SLEEP = "import time\ntime.sleep(1)\n"
ENDLESS = "while True: pass\n"


def samples(count: int) -> Iterator[tuple[Problem, str]]:
    """Programs, each told from the next by its number alone."""
    problems = testsets.load("humaneval")
    for i in range(count):
        problem = problems[i % len(problems)]
        whole = problem.prompt + problem.reference
        kind = (i // len(problems)) % 3
        source = whole if kind else problem.prompt + "\n".join(problem.reference.rstrip().splitlines()[:-1]) + "\n"
        if i % 500 == 3:
            source = ENDLESS
        elif i % 100 == 7:
            source = COMPUTE + whole
        elif i % 100 == 57:
            source = SLEEP + whole
        yield problem, source


def grade(count: int) -> tuple[list[str], float]:
    """The outcome and detail of every sample, and the seconds it took."""
    backend, limits, workers = choose_backend(), generous_limits(3.0, 512), cpu_quota()
    started = time.perf_counter()
    allowed = time_references(testsets.load("humaneval"), limits, workers, backend)
    verdicts = grade_programs(samples(count), allowed, limits, workers, backend)
    found = [f"{verdict.outcome} {verdict.detail}".strip() for verdict in verdicts]
    return found, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--busy", type=int, default=8, help="processes that do nothing but compute")
    parser.add_argument("--samples", type=int, default=2000)
    options = parser.parse_args()
    idle, seconds_idle = grade(options.samples)
    busy = [subprocess.Popen([sys.executable, "-c", ENDLESS]) for _ in range(options.busy)]
    try:
        loaded, seconds_loaded = grade(options.samples)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    for name, found, seconds in (("idle", idle, seconds_idle), (f"{options.busy} busy", loaded, seconds_loaded)):
        kinds = Counter(outcome.split()[0] for outcome in found)
        print(f"{name}: {len(found)} samples in {seconds:.0f} s: {dict(kinds)}")
    different = [i for i, (one, other) in enumerate(zip(idle, loaded, strict=True)) if one != other]
    for i in different:
        print(f"sample {i}: idle {idle[i]!r}, busy {loaded[i]!r}")
    print(f"{len(different)} of {options.samples} outcomes differ")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
