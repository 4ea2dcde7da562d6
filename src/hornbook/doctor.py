"""Tries what a machine can do, for real: nothing here is looked up that could be tried."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hornbook import testsets
from hornbook.errors import UserError
from hornbook.run.workers import cpu_quota

REFERENCE_CPU_SECONDS = 20.0  # MBPP/123 needs 2 s on a quiet machine

Finding = dict[str, Any]  # what, state (works, missing, broken), detail


def examine() -> Iterator[Finding]:
    """Every finding, as soon as it is made. `broken` is what a run cannot do without."""
    checks: list[tuple[str, Callable[[], tuple[str, str]]]] = [
        ("machine", _machine),
        ("tables and dedup", _daft),
        ("sandbox", _sandbox),
        ("reference solutions", _references),
        ("training", _training),
        ("test sets", _testsets),
    ]
    for what, check in checks:
        try:
            state, detail = check()
        except ImportError as error:
            state, detail = "missing", f"{error.name} is not installed; install hornbook[all]"
        except UserError as error:
            state, detail = "broken", str(error)
        yield {"what": what, "state": state, "detail": detail}


def _machine() -> tuple[str, str]:
    memory = ""
    for line in Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []:
        if line.startswith("MemAvailable"):
            memory = f", {int(line.split()[1]) / 2**20:.1f} GiB of memory free"
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return "works" if free > 2 else "broken", f"{cpu_quota()} CPUs{memory}, {free:.0f} GiB of disk free here"


def _daft() -> tuple[str, str]:
    import tempfile

    from hornbook.records import Document, content_id
    from hornbook.tables import frame, write_rows

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "documents.parquet"
        texts = ["a b c d e f", "a b c d e f", "quite another text than that"]
        write_rows(path, Document, [Document(content_id(text), text, "doctor", "{}") for text in texts])
        frame_ = frame(path)
        signatures = frame_.select(frame_["text"].minhash(num_hashes=16, ngram_size=2, seed=1)).to_pydict()["text"]
    if not signatures[0] == signatures[1] != signatures[2]:
        return "broken", "Daft's MinHash does not tell equal texts from others"
    return "works", "Daft reads a table and its MinHash finds a planted duplicate"


def _sandbox() -> tuple[str, str]:
    """Every planted cheat, under every back end that works here."""
    from hornbook.sandbox.cheats import CHEATS, HONEST
    from hornbook.sandbox.execute import run_programs
    from hornbook.sandbox.probe import available, choose_backend
    from hornbook.sandbox.programs import generous_limits

    choose_backend()  # raises what to install
    probes = available()
    for probe in probes:
        if not probe.works:
            continue
        verdicts = {v.id: v for v in run_programs((HONEST, *CHEATS), generous_limits(1.0, 256), 1, probe.backend)}
        fooled = [v.id for v in verdicts.values() if (v.outcome == "passed") != (v.id == HONEST.id)]
        if fooled:
            return "broken", f"{probe.backend.name}: wrong verdicts on {', '.join(fooled)}"
    works = ", ".join(probe.backend.name for probe in probes if probe.works)
    absent = "".join(f"; {p.backend.name} does not work: {p.detail}" for p in probes if not p.works)
    return "works", f"{works}: an honest program passes, each of {len(CHEATS)} cheats fails{absent}"


def _references() -> tuple[str, str]:
    """The reference solution of every problem of every code test set that is here, as a candidate."""
    from hornbook.evaluate.code import program_of
    from hornbook.sandbox.execute import run_programs
    from hornbook.sandbox.probe import choose_backend
    from hornbook.sandbox.programs import generous_limits

    backend, limits = choose_backend(), generous_limits(REFERENCE_CPU_SECONDS, 512)
    told, wrong = [], []
    for name in testsets.NAMES:
        if testsets.find(name) is None:
            continue
        programs = [program_of(problem, problem.prompt + problem.reference) for problem in testsets.load(name)]
        verdicts = list(run_programs(programs, limits, cpu_quota(), backend))
        told.append(f"{name} {sum(v.outcome == 'passed' for v in verdicts)} of {len(verdicts)}")
        wrong += [f"{v.id} {v.outcome} ({v.detail})" for v in verdicts if v.outcome != "passed"]
    if wrong:
        return "broken", f"reference solutions that do not pass here: {'; '.join(wrong)}"
    return "works", f"passed, isolated: {', '.join(told)}"


def _training() -> tuple[str, str]:
    import torch

    size = 1024
    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.ones(size, size, dtype=dtype)
        matrix @ matrix
        started = time.perf_counter()
        for _ in range(10):
            matrix @ matrix
        rates[dtype] = 10 * 2 * size**3 / (time.perf_counter() - started) / 1e9
    device = "cuda" if torch.cuda.is_available() else "cpu"
    detail = ", ".join(f"{str(dtype).removeprefix('torch.')} {rate:,.0f} GFLOP/s" for dtype, rate in rates.items())
    return "works", f"PyTorch {torch.__version__} on {device}; this CPU multiplies matrices at {detail}"


def _testsets() -> tuple[str, str]:
    found = {name: testsets.checksum_here(name) for name in testsets.NAMES}
    absent = [name for name, checksum in found.items() if checksum is None]
    here = ", ".join(name for name, checksum in found.items() if checksum is not None)
    if absent:
        return "missing", f"here: {here}; fetched from the Hugging Face hub when needed: {', '.join(absent)}"
    return "works", f"here, checksums right: {here}"
