"""A back end is believed only after it contained something."""

import os
import tempfile
from pathlib import Path

import pytest

from hornbook.errors import UserError
from hornbook.sandbox.isolation import Backend, python_command, view_of_interpreter
from hornbook.sandbox.probe import available, choose_backend


def test_this_machine_can_shut_code_in() -> None:
    """Where it cannot, nothing of this project that runs code works, and this says why."""
    assert choose_backend().name in {probe.backend.name for probe in available() if probe.works}


def test_without_isolation_code_is_not_run_and_the_mend_is_named() -> None:
    """The server started bare, in no namespace at all, and a tool that is not there."""
    bare = Backend("bare", "sh", lambda source, scratch_mb: python_command(view_of_interpreter(()), source))
    absent = Backend("absent", "no-such-tool", lambda source, scratch_mb: [])
    with pytest.raises(UserError) as refused:
        choose_backend((absent, bare))
    message = str(refused.value)
    assert "absent: `no-such-tool` is not installed" in message
    assert "bare: the sandbox server runs only as process 1 of its own namespace" in message
    assert "install bubblewrap" in message
    assert "\n" not in message


def test_a_back_end_that_shows_the_host_is_refused() -> None:
    """Namespaces alone, with the host's whole file system inside."""

    def open_wide(source: str, scratch_mb: int) -> list[str]:
        python = python_command(view_of_interpreter(()), source)
        return ["unshare", "--user", "--map-root-user", "--pid", "--net", "--mount", "--fork", "--kill-child", *python]

    def own_scratch(source: str, scratch_mb: int) -> list[str]:
        command = open_wide(source, scratch_mb)
        start = command.index("--kill-child") + 1
        return [*command[:start], "sh", "-c", 'mount -t tmpfs tmpfs /tmp && exec "$@"', "sh", *command[start:]]

    planted = Path(tempfile.gettempdir()) / f"planted-{os.getpid()}"  # what a server would sweep away
    planted.touch()
    with pytest.raises(UserError, match="/tmp inside the sandbox is not its own"):
        choose_backend((Backend("open", "unshare", open_wide),))
    assert planted.exists()
    planted.unlink()
    with pytest.raises(UserError, match=r"open: the trial `no_\w+ for programs` failed"):
        choose_backend((Backend("open", "unshare", own_scratch),))
