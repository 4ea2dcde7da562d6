"""Which isolation works on this machine, tried for real."""

from collections.abc import Sequence
from dataclasses import dataclass

from hornbook.errors import UserError
from hornbook.sandbox.execute import ServerLostError, run_programs
from hornbook.sandbox.isolation import BACKENDS, UNSAFE, Backend, find_tool
from hornbook.sandbox.programs import Program, generous_limits

LIMITS = generous_limits(cpu_seconds=1.0, memory_mb=256)
SHUT_IN = f"""
import os, socket

def no_files_of_the_host(): return not os.path.exists({__file__!r})
def no_home_or_proc(): return not any(map(os.path.exists, ("/home", "/proc/self", "/etc/passwd")))
def read_only(): return bool(os.statvfs("/").f_flag & os.ST_RDONLY)
def no_privileges(): return os.getuid() != 0 and os.getpid() != 1
def no_sockets():
    try:
        socket.socket()
    except PermissionError:
        return True
"""
TRIALS = ("no_files_of_the_host", "no_home_or_proc", "read_only", "no_privileges", "no_sockets")
# Each trial is made where programs run, and, as the tests' own context, where tests run.
PROGRAMS = (
    Program("runs", "def double(x):\n    return 2 * x\n", ("assert double(21) == 42",)),
    *(Program(f"{name} for programs", SHUT_IN, (f"assert {name}()",), "", name) for name in TRIALS),
    *(Program(f"{name} for tests", "", (f"assert {name}()",), SHUT_IN) for name in TRIALS),
)


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of trying one back end."""

    backend: Backend
    works: bool
    detail: str  # why not; empty where it works


def available() -> list[Probe]:
    """Every back end, tried now, the preferred first. Takes about 0.3 s for each."""
    return [_probe(backend) for backend in BACKENDS]


def choose_backend(backends: Sequence[Backend] = BACKENDS, unsafe: bool = False) -> Backend:
    """The first back end that works here; none at all where a person asked for `unsafe` execution.

    Raises UserError that says why none works and what to install.
    """
    if unsafe:
        return UNSAFE
    failures = []
    for backend in backends:
        probe = _probe(backend)
        if probe.works:
            return backend
        failures.append(f"{backend.name}: {probe.detail}")
    raise UserError(
        f"sandbox: code cannot be run safely here ({'; '.join(failures)}): install bubblewrap "
        "(`apt install bubblewrap` or `dnf install bubblewrap`) and allow user namespaces "
        "(`sysctl user.max_user_namespaces=10000`; on Ubuntu also "
        "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`; in Docker `--security-opt seccomp=unconfined`)"
    )


def _probe(backend: Backend) -> Probe:
    if not find_tool(backend.tool).startswith("/"):
        return Probe(backend, False, f"`{backend.tool}` is not installed")
    try:
        for verdict in run_programs(PROGRAMS, LIMITS, 1, backend):
            if verdict.outcome != "passed":
                return Probe(backend, False, f"the trial `{verdict.id}` {verdict.outcome}: {verdict.detail}")
    except ServerLostError as lost:
        return Probe(backend, False, str(lost))
    return Probe(backend, True, "")
