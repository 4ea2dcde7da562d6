"""The key reaches the endpoint and nothing else: no file, no line, no argument of a process."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from teacher.asking import ratings, teacher
from teacher.faulty_server import serve

from hornbook.recipe import EndpointsConfig

KEY = "sk-secret-marker-3f9a1c77"
FAULTS = [
    {"when": {"share": 0.15, "seed": 1, "times": 1}, "fault": "key_echo", "status": 500},
    {"when": {"share": 0.15, "seed": 2, "times": 1}, "fault": "drop_mid_body"},
    {"when": {"share": 0.15, "seed": 3, "times": 1}, "fault": "429"},
    {"when": {"share": 0.15, "seed": 4}, "fault": "400_context_length"},
    {"when": {"share": 0.15, "seed": 5, "times": 1}, "fault": "malformed_json"},
]


def hornbook(*arguments, cwd):
    environment = {**os.environ, "OPENAI_API_KEY": KEY, "OPENAI_LOG": "debug"}
    command = [sys.executable, "-m", "hornbook.cli", *map(str, arguments)]
    with open(cwd / "stdout", "wb") as out, open(cwd / "stderr", "wb") as err:
        return subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err)


def arguments_of_all_processes():
    told = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            told.append(path.read_bytes())
        except OSError:
            continue
    return b"\n".join(told)


def holds_key(folder):
    return [path.name for path in folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


@pytest.mark.parametrize("end", ["", "401"])
def test_no_key_anywhere_after_faults(tmp_path, end):
    (tmp_path / "texts").mkdir()
    for number in range(120):
        (tmp_path / "texts" / f"{number}.py").write_text(f"def f(x):\n    return x + {number}\n")
    faults = [{"when": {"after": 80}, "fault": "key_echo", "status": 401}] if end else []
    script = {"reply": {"mode": "rating", "wrap": [f"Your key is {KEY}. ", ""]}, "faults": [*FAULTS, *faults]}
    with serve({**script, "latency": 0.05}) as server:
        command = ["annotate", "texts", "--out", "r.jsonl", "--teacher", "openai:m", "--base-url", server.base_url]
        process = hornbook(*command, "--yes", "--failure-limit", "0.5", "--price", "1,2", cwd=tmp_path)
        listed = b""
        while process.poll() is None:
            listed += arguments_of_all_processes()
            time.sleep(0.1)
        sent = {entry["headers"]["authorization"] for entry in server.log()}
        faults_met = set(server.counts()["faults"])
    said = (tmp_path / "stderr").read_text()
    assert process.returncode == (1 if end else 0), said
    if end:
        assert "the key in OPENAI_API_KEY is not accepted" in said
    else:
        assert (tmp_path / "r.failed.jsonl").exists()
        assert {"key_echo", "429", "malformed_json"} <= faults_met
    assert sent == {f"Bearer {KEY}"}  # the oracle: it was there to be leaked
    assert b"hornbook.cli" in listed
    assert KEY.encode() not in listed
    assert holds_key(tmp_path) == []
    journal = b"".join(path.read_bytes() for path in (tmp_path / "work").glob("journal.sqlite*"))
    assert b"Your key is [key]" in journal


def test_the_look_for_keys_finds_one(tmp_path):
    (tmp_path / "file").write_text(f"x{KEY}y")
    assert holds_key(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "url", [f"http://user:{KEY}@host/v1", f"http://host/v1?key={KEY}", f"http://{KEY}@host/v1", f"http://host/v1#{KEY}"]
)
def test_an_url_with_a_secret_is_refused_without_repeating_it(url):
    with pytest.raises(ValueError, match="keys come from the environment") as refused:
        EndpointsConfig(base_urls=(url,))
    message = str(refused.value.errors(include_input=False, include_url=False))
    assert KEY not in message


@pytest.mark.parametrize("url", [f"http://user:{KEY}@host/v1", f"http://host/v1?key={KEY}"])
def test_nor_does_the_command_line(tmp_path, url):
    recipe = Path(__file__).parents[2] / "recipes" / "mini.yaml"
    for command in (
        ["exercises", "--count", 3, "--out", "e.jsonl", "--teacher", "openai:m", "--base-url", url],
        ["plan", recipe, "--set", f'machine.teacher.base_urls=["{url}"]'],
    ):
        process = hornbook(*command, cwd=tmp_path)
        assert process.wait() == 1
        said = (tmp_path / "stderr").read_text()
        assert "keys come from the environment" in said
        assert KEY not in said


def test_without_a_key_none_is_sent(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serve({"reply": {"mode": "rating"}}) as server:
        with teacher(tmp_path, server.base_url) as asked:
            assert len(list(asked.answers(ratings(2)))) == 2
        assert {entry["headers"]["authorization"] for entry in server.log()} == {"Bearer none"}
