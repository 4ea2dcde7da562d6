import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from hornbook import cli
from hornbook.run.workers import SPIN_COUNT

MINI = str(Path(__file__).parents[1] / "recipes" / "mini.yaml")


def hornbook(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "hornbook.cli", *arguments], capture_output=True, text=True, cwd=cwd, timeout=120
    )


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['hornbook', '--help']\n"
        "from hornbook.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'daft', 'sklearn', 'pyarrow', 'pydantic') if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.splitlines()[-1] == "[]"
    libraries = [sys.executable, "-c", "import typer, typer.rich_utils, rich.markdown"]
    ours, theirs = [], []
    for _ in range(5):
        theirs.append(cpu_seconds(lambda: subprocess.run(libraries, check=True)))
        ours.append(cpu_seconds(lambda: hornbook("--help")))
    assert min(ours) < 2 * min(theirs)  # 1.5 here: what the command line's own libraries take, and half as much


def cpu_seconds(run):
    """Of the processes that `run` starts and waits for: a busy machine changes little of it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run().returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "missing.yaml"], "missing.yaml: cannot be read (No such file or directory)"),
        (["run", MINI, "--set", "filter.keep=0.2"], "the recipe has no field `filter.keep`"),
        (["run", MINI, "--arm", "seed-9"], "has no arm `seed-9`"),
        (
            ["plan", MINI, "--set", "annotate.teacher=gpt"],
            'a mapping of model (openai:MODEL), temperature, top_p and max_tokens, not "gpt"',
        ),
        (["run", MINI, "--until", "nowhere"], "--until nowhere: no step of that name"),
        (["peek", "nothing"], "nothing: no such table"),
        (["results", "."], "no run here"),
        (["generate", "Z", "x"], "Z: neither a directory"),
        (
            ["run", MINI, "--set", "corpus.sources=[{kind: files, path: no/such, text_column: text, source: x}]"],
            "no/such",
        ),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_1(arguments, complaint, tmp_path):
    answer = hornbook(*arguments, cwd=tmp_path)
    assert answer.returncode == 1
    assert answer.stderr.startswith("hornbook: ")
    assert answer.stderr.count("\n") == 1
    assert complaint in answer.stderr
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    ("given", "spins"), [({}, SPIN_COUNT), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)]
)
def test_threads_spin_a_moment_unless_the_user_says_otherwise(given, spins, monkeypatch):
    seen = []
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cli, "app", lambda: seen.append(os.environ.get("GOMP_SPINCOUNT")))
    cli.main()
    os.environ.pop("GOMP_SPINCOUNT", None)
    assert seen == [spins]
