"""The commands of single stages, as a user runs them on files of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from pydoc_data.topics import topics

import pyarrow.parquet as pq
import pytest
from teacher.faulty_server import serve

from hornbook.cli import main
from hornbook.records import content_id

TEXTS = ["def f(x):\n    return x + 1\n", "import os\n\n\nclass A:\n    pass\n", "print(1)\n", "print(1)\n"]


def hornbook(*arguments, cwd, rc=0, **environment):
    command = [sys.executable, "-m", "hornbook.cli", *map(str, arguments)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI")}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env={**kept, **environment}, stdin=subprocess.DEVNULL
    )
    assert done.returncode == rc, done.stdout + done.stderr
    if rc:
        assert done.stderr.rstrip().split("\n")[-1].startswith("hornbook: ")
        assert "Traceback" not in done.stderr
    return done


def rows_of(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def texts(tmp_path):
    lines = [json.dumps({"content": text}) for text in TEXTS] + ["not JSON", json.dumps({"other": 1})]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_annotate_rates_each_text_once_and_says_where_it_stands(texts):
    hornbook("annotate", "texts.jsonl", "--text-column", "content", "--out", "r.jsonl", cwd=texts)
    rows = rows_of(texts / "r.jsonl")
    assert [(row["line"], row["id"]) for row in rows] == [(n + 1, content_id(TEXTS[n])) for n in range(3)]
    assert {row["teacher"] for row in rows} == {"builtin (offline rules, not an LLM)"}
    assert all(0 <= row["score"] <= 5 for row in rows)
    assert not (texts / "r.jsonl.partial").exists()


def test_annotate_by_a_model_keeps_what_failed(texts):
    faults = [{"when": {"contains": "class A"}, "fault": "content_filter"}]
    with serve({"reply": {"mode": "rating"}, "faults": faults}) as server:
        command = ["annotate", "texts.jsonl", "--text-column", "content", "--out", "r.parquet", "--teacher", "openai:m"]
        command += ["--base-url", server.base_url, "--yes", "--json"]
        done = hornbook(*command, "--failure-limit", "0.5", cwd=texts)
        said = json.loads(done.stdout)
        dropped = {"bad JSON": 1, "exact duplicate": 1, "no text": 1}
        assert said["counts"] == {"read": 6, "kept": 2, "dropped": dropped, "failed": 1}
        assert {row["reason"] for row in rows_of(texts / "r.dropped.parquet")} == set(dropped)
        assert said["beside"] == ["r.failed.parquet", "r.dropped.parquet"]
        assert said["facts"]["failures"] == {"refused": 1}
        assert said["timing"]["ledger"]["requests_sent"] == 3
        assert [row["line"] for row in rows_of(texts / "r.parquet")] == [1, 3]
        (failed,) = rows_of(texts / "r.failed.parquet")
        assert (failed["id"], failed["reason"]) == (content_id(TEXTS[1]), "refused")
        # The same again, over the limit: nothing is asked, the table stays, the failed rows say why.
        before = (texts / "r.parquet").read_bytes()
        done = hornbook(*command, cwd=texts, rc=1)
        assert "1 of 3 ratings failed (refused 1), more than the limit of 5.0%" in done.stderr
        assert (texts / "r.parquet").read_bytes() == before
        assert len(server.log()) == 3


def test_exercises_are_written_and_verified(tmp_path):
    hornbook("exercises", "--count", 30, "--out", "e.jsonl", cwd=tmp_path)
    rows = rows_of(tmp_path / "e.jsonl")
    assert len(rows) == 30
    own = [{name: row[name] for name in ("name", "prompt", "solution", "tests")} for row in rows]
    own[3]["solution"] = "    return None\n"
    lines = [json.dumps(row) for row in own] + ['{"name": "f"}', "{"]
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    done = hornbook("verify", "own.jsonl", "--out", "v.jsonl", cwd=tmp_path, rc=1)
    assert "2 rows are no exercises, the rest was run: own.jsonl, row 31: `prompt` is missing" in done.stderr
    assert len(rows_of(tmp_path / "v.jsonl")) == 29
    (dropped,) = rows_of(tmp_path / "v.dropped.jsonl")
    assert dropped["id"] == content_id(own[3]["prompt"] + own[3]["solution"])
    assert dropped["reason"] == "failed"
    assert len(rows_of(tmp_path / "v.outcomes.jsonl")) == 30


def test_exercises_by_a_model_with_topics_of_its_own(tmp_path):
    with serve({"reply": {"mode": "exercise"}}) as server:
        model = ["--teacher", "openai:m", "--base-url", server.base_url, "--yes"]
        hornbook("topics", "--count", 790, "--out", "t.parquet", cwd=tmp_path)
        titles = {row["title"] for row in rows_of(tmp_path / "t.parquet")}
        hornbook("exercises", "--count", 20, "--out", "e.parquet", "--topics", "t.parquet", *model, cwd=tmp_path)
        rows = rows_of(tmp_path / "e.parquet")
        assert len(rows) == 20
        assert {row["topic"] for row in rows} <= titles
        hornbook("verify", "e.parquet", "--out", "v.parquet", cwd=tmp_path)
        assert len(rows_of(tmp_path / "v.parquet")) == 20


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.txt", "counting sheep\n\n  the ocean \n"),
        ("t.jsonl", '{"title": "counting sheep"}\n{"title": "the ocean", "path": "Earth > the ocean"}\n'),
    ],
)
def test_topics_of_a_user_need_a_title_and_no_more(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with serve({"reply": {"mode": "exercise"}}) as server:
        model = ["--teacher", "openai:m", "--base-url", server.base_url, "--yes"]
        hornbook("exercises", "--count", 12, "--out", "e.parquet", "--topics", name, *model, cwd=tmp_path)
    assert {row["topic"] for row in rows_of(tmp_path / "e.parquet")} == {"counting sheep", "the ocean"}


def test_one_output_has_one_writer(tmp_path):
    with serve({"reply": {"mode": "exercise"}, "latency": 0.3}) as server:
        command = [sys.executable, "-m", "hornbook.cli", "exercises", "--count", "40", "--out", "e.jsonl", "--yes"]
        command += ["--teacher", "openai:m", "--base-url", server.base_url, "--concurrency", "4"]
        first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not server.log():
            time.sleep(0.05)
        first.send_signal(signal.SIGSTOP)  # so that it is at work for as long as the second command takes to start
        done = hornbook(*command[3:], cwd=tmp_path, rc=1)
        first.send_signal(signal.SIGCONT)
        assert "--out e.jsonl: another command is writing it" in done.stderr
        assert first.wait() == 0
    assert len(rows_of(tmp_path / "e.jsonl")) == 40


def test_a_useless_teacher_is_stopped_early_and_its_words_are_kept(tmp_path):
    with serve({"reply": {"mode": "echo"}}) as server:
        command = ["exercises", "--count", 20, "--out", "e.jsonl", "--teacher", "openai:m"]
        done = hornbook(*command, "--base-url", server.base_url, "--yes", cwd=tmp_path, rc=1)
        assert "20 of 20 requests failed (" in done.stderr
        assert len(server.log()) == 20
    failed = rows_of(tmp_path / "e.failed.jsonl")
    assert len(failed) == 20
    assert all(row["raw"] for row in failed)


def test_peek_finds_what_was_dropped_beside_a_table(texts):
    hornbook("annotate", "texts.jsonl", "--text-column", "content", "--out", "r.jsonl", cwd=texts)
    assert "exact duplicate" in hornbook("peek", "r.jsonl", "--dropped", cwd=texts).stdout
    assert "no such table" in hornbook("peek", "texts.jsonl", "--dropped", cwd=texts, rc=1).stderr


def test_textbooks_from_extracts_by_a_model(tmp_path):
    (tmp_path / "corpus").mkdir()
    for number in range(5):
        (tmp_path / "corpus" / f"{number}.txt").write_text(f"Real text number {number}.\n" * 50)
    with serve({"reply": {"mode": "section"}}) as server:
        command = ["textbooks", "--about", "general", "--extracts", "corpus", "--count", 12, "--out", "s.jsonl"]
        hornbook(*command, "--teacher", "openai:m", "--base-url", server.base_url, "--yes", cwd=tmp_path)
        prompts = [entry["body"]["messages"][0]["content"] for entry in server.log()]
    assert all("Real text number" in prompt for prompt in prompts)
    rows = rows_of(tmp_path / "s.jsonl")
    assert len(rows) == 12
    for row in rows:
        meta = json.loads(row["meta"])
        assert float(meta["overlap"]) <= 0.05
        assert meta["path"].endswith(meta["topic"])
        assert not row["text"].startswith("Topic:")


def test_prose_is_rated_and_general_textbooks_written_without_a_model(tmp_path):
    """Offline: the built-in teacher rates prose as prose, and writes general sections from real texts, copying none."""
    lists = "".join(f"- [Page {number}](https://site.example/{number})\n" for number in range(40))
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "booleans.txt").write_text(topics["booleans"])  # Python's help: it explains
    (tmp_path / "web" / "menu.txt").write_text(lists)
    hornbook("annotate", "web", "--about", "prose", "--out", "r.jsonl", cwd=tmp_path)
    scores = {row["path"]: row["score"] for row in rows_of(tmp_path / "r.jsonl")}
    assert scores["booleans.txt"] > 2.5 > 1 > scores["menu.txt"]
    command = ["textbooks", "--about", "general", "--teacher", "builtin", "--count", 30, "--out", "s.jsonl"]
    done = hornbook(*command, "--extracts", "web", "--max-overlap", 0.01, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["facts"]["teacher"] == "builtin (offline rules, not an LLM)"
    rows = rows_of(tmp_path / "s.jsonl")
    assert len({row["text"] for row in rows}) == 30
    for row in rows:
        meta = json.loads(row["meta"])
        assert meta["style"].startswith("template: ")
        assert float(meta["overlap"]) <= 0.01


def test_batch_files_go_out_and_come_back(texts):
    command = ["annotate", "texts.jsonl", "--text-column", "content", "--out", "r.jsonl", "--teacher", "openai:m"]
    command += ["--price", "1,2", "--batch-file", "b.jsonl"]
    said = hornbook(*command, cwd=texts).stdout
    assert "b.jsonl: 3 requests written" in said
    assert not (texts / "r.jsonl").exists()
    results = []
    for request in map(json.loads, (texts / "b.jsonl").read_text().splitlines()):
        assert request["method"] == "POST"
        assert request["url"] == "/v1/chat/completions"
        prompt = request["body"]["messages"][0]["content"]
        echo = prompt.split("Document: ")[1].split("\n")[0]
        content = json.dumps({"document": echo, "rationale": "so", "score": 3})
        choice = {"message": {"content": content}, "finish_reason": "stop"}
        body = {"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 5}, "model": "m"}
        results.append(
            {"custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}
        )
    (texts / "results.jsonl").write_text("\n".join(json.dumps(row) for row in reversed(results)))
    assert "3 replies kept" in hornbook("read-batch", "results.jsonl", cwd=texts).stdout
    done = hornbook(*command, "--json", cwd=texts)
    assert [row["score"] for row in rows_of(texts / "r.jsonl")] == [3.0, 3.0, 3.0]
    ledger = json.loads(done.stdout)["timing"]["ledger"]
    assert ledger["usd"] == pytest.approx(3 * (10 * 1 + 5 * 2) / 1e6 / 2)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["annotate", "none", "--out", "r.jsonl"], "none"),
        (["annotate", "texts.jsonl", "--out", "r.csv"], "--out r.csv: the name must end in .jsonl or .parquet"),
        (["annotate", "texts.jsonl", "--out", "texts.jsonl"], "is the input itself"),
        (["annotate", "texts.jsonl", "--out", "r.jsonl"], "holds no usable text (bad JSON 1, no text 5)"),
        (
            ["exercises", "--count", "3", "--out", "e.jsonl", "--teacher", "gpt"],
            "a teacher is `builtin` or `openai:MODEL`",
        ),
        (
            ["exercises", "--count", "3", "--out", "e.jsonl", "--teacher", "openai:m"],
            "no price is known for the model `m`",
        ),
        (
            ["exercises", "--count", "3", "--out", "e.jsonl", "--teacher", "openai:m", "--price", "1,2"],
            "set the environment variable OPENAI_API_KEY",
        ),
        (
            ["exercises", "--count", "3", "--out", "e.jsonl", "--teacher", "openai:m", "--price", "x"],
            "--price x: write",
        ),
        (
            [
                "exercises",
                "--count",
                "3",
                "--out",
                "e.jsonl",
                "--teacher",
                "openai:m",
                "--base-url",
                "http://me:sk-123@host/v1",
            ],
            "keys come from the environment",
        ),
        (["annotate", "texts.jsonl", "--out", "r.jsonl", "--about", "verse"], "--about: "),
        (["textbooks", "--count", "3", "--out", "t.jsonl", "--about", "cooking"], "--about: "),
        (["exercises", "--count", "3", "--out", "e.jsonl", "--test-sets", "3"], "only a model can write others"),
        (["exercises", "--count", "3", "--out", "e.jsonl", "--topics", "none.parquet"], "none.parquet: no such file"),
        (["topics", "--count", "100", "--out", "t.parquet"], "the seed taxonomy alone holds 779 topics; ask for more"),
        (["verify", "none.jsonl", "--out", "v.jsonl"], "none.jsonl: no such file"),
        (["read-batch", "none.jsonl"], "work/journal.sqlite: no such journal; give the --work"),
        (["exercises", "--count", "3", "--out", "e.jsonl", "--max-usd", "3"], "--max-usd: is for a language model"),
        (
            [
                "exercises",
                "--count",
                "3",
                "--out",
                "e.jsonl",
                "--teacher",
                "openai:m",
                "--price",
                "0",
                "--hour-usd",
                "1",
            ],
            "give one of them",
        ),
    ],
)
def test_what_a_user_can_mend_is_one_line(texts, arguments, complaint, monkeypatch, capsys):
    """In this process: each costs a command's imports otherwise, and there are twenty."""
    monkeypatch.chdir(texts)
    monkeypatch.setattr(sys, "argv", ["hornbook", *arguments])
    for name in [name for name in os.environ if name.startswith("OPENAI")]:
        monkeypatch.delenv(name)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.err.rstrip().split("\n")[-1].startswith("hornbook: ")
    assert "Traceback" not in said.err
    assert "sk-123" not in said.out + said.err
    assert [path.name for path in texts.iterdir() if path.name.endswith((".partial", ".writing"))] == []


def test_a_recipe_says_why_it_would_ask_again(texts, tmp_path):
    recipe = Path(__file__).parents[1] / "recipes" / "mini.yaml"
    with serve({"reply": {"mode": "exercise"}}) as server:
        teacher = '{model: "openai:m", temperature: 0.5, top_p: null, max_tokens: 900}'
        options = ["--arm", "tiny", "--set", f"exercises.teacher={teacher}", "--set", "exercises.count=15"]
        options += ["--set", f'machine.teacher.base_urls=["{server.base_url}"]']
        # The exercises do not hang on the corpus, which would be fingerprinted six times.
        source = f'{{kind: files, path: "{texts}", text_column: content, source: own}}'
        options += ["--set", f"corpus.sources=[{source}]"]
        hornbook("run", recipe, *options, "--until", "exercises", "--yes", cwd=tmp_path)
        sent = len(server.log())
    assert sent == 15
    why = ["why-miss", recipe, *options, "--step", "exercises"]
    assert "exercises: is done: asks nothing" in hornbook(*why, cwd=tmp_path).stdout
    # More rows, from the journal: the first miss is told. A changed temperature: it is named.
    told = hornbook(*why, "--set", "exercises.count=16", cwd=tmp_path).stdout
    assert "is not in work/journal.sqlite" in told
    changed = teacher.replace("0.5", "0.7")
    told = hornbook(*why, "--set", f"exercises.teacher={changed}", cwd=tmp_path).stdout
    assert "it has one about the same that differs in temperature: 0.5 → 0.7" in told
    # With fewer rows everything is there, and with no server at all the run goes through.
    fewer = ["--set", "exercises.count=12"]
    assert "every reply is in the journal" in hornbook(*why, *fewer, cwd=tmp_path).stdout
    hornbook("run", recipe, *options, *fewer, "--until", "exercises", "--offline", cwd=tmp_path)
