"""What is refused because it may hold a secret is not repeated in saying so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hornbook.recipe import EndpointsConfig

KEY = "sk-secret-marker-3f9a1c77"


def hornbook(*arguments, cwd):
    environment = {**os.environ, "OPENAI_API_KEY": KEY, "OPENAI_LOG": "debug"}
    command = [sys.executable, "-m", "hornbook.cli", *map(str, arguments)]
    with open(cwd / "stdout", "wb") as out, open(cwd / "stderr", "wb") as err:
        return subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err)


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


def test_a_key_in_the_place_of_its_variable_is_not_repeated(tmp_path):
    recipe = Path(__file__).parents[2] / "recipes" / "mini.yaml"
    process = hornbook("plan", recipe, "--set", f'machine.teacher.key_variable="{KEY}"', cwd=tmp_path)
    assert process.wait() == 1
    said = (tmp_path / "stderr").read_text()
    assert "machine.teacher.key_variable" in said
    assert KEY not in said
