"""Tries what a machine can do, for real: nothing here is looked up that could be tried."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hornbook import testsets
from hornbook.errors import UserError
from hornbook.run.workers import cpu_quota

Finding = dict[str, Any]  # what, state (works, missing, broken), detail


def examine() -> Iterator[Finding]:
    """Every finding, as soon as it is made. `broken` is what a run cannot do without."""
    checks: list[tuple[str, Callable[[], tuple[str, str]]]] = [
        ("machine", _machine),
        ("tables and dedup", _daft),
        ("sandbox", _sandbox),
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
    from hornbook.sandbox.execute import run_programs
    from hornbook.sandbox.probe import choose_backend
    from hornbook.sandbox.programs import Program, generous_limits

    programs = [
        Program("right", "def f():\n    return 4\n", ("assert f() == 4",)),
        Program("wrong", "def f():\n    return 5\n", ("assert f() == 4",)),
        Program("leaving", "import os\nos._exit(0)\n", ("assert False",)),
        Program("reading", "text = open('/etc/passwd').read()\n", ("assert text",)),
        Program("calling", "import socket\nsocket.create_connection(('127.0.0.1', 1), 1)\n", ("pass",)),
    ]
    backend = choose_backend()
    verdicts = {v.id: v.outcome for v in run_programs(programs, generous_limits(2.0, 256), 1, backend)}
    escaped = [name for name, outcome in verdicts.items() if name != "right" and outcome == "passed"]
    if escaped or verdicts["right"] != "passed":
        return "broken", f"the sandbox gave {verdicts}"
    return "works", f"{backend.name}: a right program passes; a wrong, a leaving, a reading and a calling one do not"


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
