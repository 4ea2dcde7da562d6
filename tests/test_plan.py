"""What a plan says a run will cost: the papers' own figures, sums made by hand, and what finished steps measured."""

import io
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from hornbook.errors import UserError
from hornbook.plan.forecast import forecast, plan_run
from hornbook.plan.gpus import GPUS, chosen_gpus
from hornbook.plan.view import amount, forecast_view, span
from hornbook.recipe_file import read_recipe

MINI = Path(__file__).parents[1] / "recipes" / "mini.yaml"
PHI_1_STEPS = {"steps": 24_000, "schedule_steps": 36_000, "batch_sequences": 1024, "warmup_steps": 750}
PHI_1 = {
    **PHI_1_STEPS,
    "learning_rate": 1e-3,
    "schedule": "linear",
    "dropout": 0.1,
    "mixture": {"filtered": 0.86, "textbooks": 0.14},
}
PHI_1_5 = {
    "steps": 35_763,
    "schedule_steps": 35_763,
    "batch_sequences": 2048,
    "warmup_steps": 0,
    "learning_rate": 2e-4,
    "schedule": "constant",
    "mixture": {"filtered": 0.2, "textbooks": 0.8},
}
MODEL = {"model": "openai:m", "temperature": 0.0, "top_p": None, "max_tokens": 1000}


def mini():
    """The fields of the mini recipe."""
    return read_recipe(MINI).resolve(None, []).model_dump(mode="json")


def recipe_with(tmp_path, models, **sections):
    """The mini recipe with these models and sections, as a file."""
    fields = mini()
    template = fields["models"]["A"]
    fields |= sections
    fields["models"] = {name: {**template, **changes} for name, changes in models.items()}
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(fields))  # JSON is YAML too
    return path


def planned(path, done=None, gpus=GPUS, processes=1, mfu=None, overrides=()):
    return forecast(read_recipe(path).resolve(None, list(overrides)), done or {}, gpus, processes, mfu)


def at_paper_size(tmp_path, models, preset="phi-1"):
    return recipe_with(
        tmp_path,
        models,
        model={"preset": preset},
        pack={"sequence_length": 2048, "max_tokens": 40 * 10**9},
        tokenizer={"kind": "trained", "vocab_size": 50_295, "sample_bytes": 10**6},
    )


def test_phi_1_takes_the_770_hours_of_the_paper(tmp_path):
    found = planned(at_paper_size(tmp_path, {"base": PHI_1}), gpus=chosen_gpus("A100"))
    (model,), (hours,), (paper,) = found.models, found.hours, found.papers
    assert model.parameters == 1_418_270_720
    assert model.tokens == 24_000 * 1024 * 2048
    assert hours.teraflops == pytest.approx(154)
    assert hours.hours["base"] == pytest.approx(770, rel=0.15)
    assert (paper.paper, paper.paper_hours) == ("phi-1-base", 770)
    assert paper.implied_teraflops == pytest.approx(154, rel=0.01)


def test_phi_1_5_says_that_its_hours_need_76_percent_of_an_a100(tmp_path):
    (paper,) = planned(at_paper_size(tmp_path, {"student": PHI_1_5})).papers
    assert paper.implied_share == pytest.approx(0.76, abs=0.01)
    assert paper.hours == pytest.approx(2260, rel=0.03)  # 150B tokens at phi-1's own rate
    assert "76% of an A100's peak" in paper.note
    assert "expect 2,2" in paper.note
    assert "6,144" in paper.note


def test_a_model_of_ones_own_is_beside_no_paper(tmp_path):
    assert planned(MINI).papers == []
    other_rate = {**PHI_1, "learning_rate": 2e-3}
    assert planned(at_paper_size(tmp_path, {"base": other_rate})).papers == []
    assert planned(at_paper_size(tmp_path, {"base": PHI_1}, preset="phi-1-small")).papers[0].paper_hours == 135


@pytest.mark.parametrize(
    ("recipe", "papers"),
    [
        ("phi-1", {"B": "phi-1-base", "C": "phi-1"}),
        ("phi-1-small", {"B": "phi-1-small-base"}),
        ("phi-1.5", {"student": "phi-1.5"}),
        ("phi-1.5-web", {"student": "phi-1.5-web"}),
        ("phi-1.5-web-only", {}),  # the report gives it no hours
    ],
)
def test_the_recipes_of_the_papers_are_known_as_theirs(recipe, papers):
    found = planned(MINI.with_name(f"{recipe}.yaml")).papers
    assert {each.model: each.paper for each in found} == papers
    for each in found:
        if recipe == "phi-1":
            assert each.hours == pytest.approx(each.paper_hours, rel=0.15)


def test_hours_by_hand(tmp_path):
    path = at_paper_size(tmp_path, {"base": PHI_1})
    (hours,) = planned(path, gpus=chosen_gpus("H100"), processes=8, mfu=0.5).hours
    # 6 × (24 × 12 × 2048² + 51,200 × 2048) for the matrices, 6 × 24 × 2048 × 2048 for attention, for each token
    flops = 24_000 * 1024 * 2048 * (6 * (24 * 12 * 2048**2 + 51_200 * 2048) + 6 * 24 * 2048 * 2048)
    assert hours.total_hours == pytest.approx(flops / (989e12 * 0.5) / 3600)
    assert hours.wall_hours == pytest.approx(hours.total_hours / 8)


def test_tokens_and_epochs_from_the_recipe_by_hand():
    found = planned(MINI)
    sets = {each.name: each for each in found.sets}
    assert (sets["raw"].tokens, sets["raw"].certainty) == (4_000_000, "at most")  # 60 MB hold 20M: cut at max_tokens
    assert "pack.max_tokens" in sets["raw"].basis
    assert sets["filtered"].tokens == math.ceil(60e6 * 0.98 * 0.17 / 2.9)
    assert sets["exercises"].certainty == "about"
    a, b, _ = found.models
    assert a.epochs["raw"] == pytest.approx(400 * 8 * 256 / 4_000_000)
    assert b.epochs["textbooks"] == pytest.approx(0.7 * 400 * 8 * 256 / sets["textbooks"].tokens)


def test_held_out_sequences_are_not_read(tmp_path):
    path = recipe_with(tmp_path, {"A": {"held_out_sequences": 1000}})
    (model,) = planned(path).models
    assert model.epochs["raw"] == pytest.approx(400 * 8 * 256 / (4_000_000 - 1000 * 256))


def test_finished_steps_take_the_place_of_guesses():
    done = {
        "tokenizer": {"facts": {"vocab_size": 2000, "bytes_per_token": {"filtered": 4.0}}},
        "corpus": {"facts": {"bytes": 10_000_000}},
        "pack.raw": {"facts": {"tokens": 123_456}},
        "verify": {"counts": {"kept": 1000}},
        "train.A": {},
    }
    found = planned(MINI, done)
    sets = {each.name: each for each in found.sets}
    assert (sets["raw"].tokens, sets["raw"].certainty) == (123_456, "measured")
    assert sets["filtered"].tokens == math.ceil(10e6 * 0.98 * 0.17 / 4.0)
    assert "1,000 texts that the step `verify` kept" in sets["exercises"].basis
    assert found.vocabulary.entries == 2000
    assert [model.done for model in found.models] == [True, False, False]
    assert set(found.hours[0].hours) == {"B", "C"}


def test_the_built_in_teacher_costs_nothing():
    assert planned(MINI).teacher == []


def test_a_teacher_with_a_price_by_hand(tmp_path):
    fields = mini()
    path = recipe_with(
        tmp_path,
        {"C": {"mixture": {"exercises": 1.0, "textbooks": 1.0}}},
        exercises={**fields["exercises"], "teacher": MODEL, "test_sets": 3, "count": 100},
        machine={"teacher": {"prices": {"m": {"input_usd": 2.0, "output_usd": 10.0}}}},
    )
    exercises, tests = planned(path).teacher  # textbooks are the built-in teacher's
    assert (exercises.step, exercises.requests) == ("exercises", 100)
    assert (tests.step, tests.requests) == ("independent_tests", 200)
    assert exercises.reply_tokens < exercises.reply_tokens_at_most == 100_000
    assert exercises.usd == pytest.approx(exercises.prompt_tokens * 2e-6 + exercises.reply_tokens * 10e-6)
    assert exercises.usd_at_most == pytest.approx(exercises.prompt_tokens * 2e-6 + 100_000 * 10e-6)


@pytest.mark.parametrize(
    ("endpoints", "usd", "told"),
    [
        ({}, None, "no price: give machine.teacher.prices.m"),
        ({"prices": {"m": {"hour_usd": 4.0}}}, None, "$4 an hour"),
        ({"base_urls": ["http://localhost:8000/v1"]}, 0.0, "this machine's own server, free"),
    ],
)
def test_a_price_nobody_gave_is_not_zero(tmp_path, endpoints, usd, told):
    fields = mini()
    path = recipe_with(
        tmp_path,
        {"B": {"mixture": {"textbooks": 1.0}}},
        textbooks={**fields["textbooks"], "teacher": MODEL},
        machine={"teacher": endpoints},
    )
    (textbooks,) = planned(path).teacher
    assert textbooks.usd == usd
    assert told in textbooks.basis


def test_what_was_bought_is_told_from_the_ledger(tmp_path):
    fields = mini()
    path = recipe_with(
        tmp_path, {"B": {"mixture": {"textbooks": 1.0}}}, textbooks={**fields["textbooks"], "teacher": MODEL}
    )
    ledger = {"requests_sent": 7, "prompt_tokens": 100, "completion_tokens": 50, "usd": 0.25}
    (textbooks,) = planned(path, {"textbooks": {"timing": {"ledger": ledger}, "counts": {"kept": 7}}}).teacher
    assert (textbooks.done, textbooks.requests, textbooks.usd) == (True, 7, 0.25)


def test_sharding_makes_room_and_a_small_gpu_needs_checkpointing(tmp_path):
    path = at_paper_size(tmp_path, {"base": PHI_1})
    alone = {fit.gpu: fit for fit in planned(path).memory}
    assert 0 < alone["A100-40GB"].micro_batch < alone["A100-80GB"].micro_batch < alone["H200"].micro_batch
    ddp, fsdp = planned(path, gpus=chosen_gpus("A100-80"), processes=8).memory
    assert (ddp.parallel, fsdp.parallel) == ("ddp", "fsdp")
    assert ddp.micro_batch < fsdp.micro_batch <= 1024 / 8
    for fit in (ddp, fsdp):
        assert fit.parts.total == fit.total_bytes <= fit.usable_bytes
    (cut,) = planned(path, gpus=chosen_gpus("A100-40"), overrides=["machine.activation_checkpointing=on"]).memory
    assert cut.checkpointing
    assert cut.micro_batch > alone["A100-40GB"].micro_batch


def test_disk_by_hand(tmp_path):
    found = planned(at_paper_size(tmp_path, {"base": PHI_1, "other": {**PHI_1, "select": "last"}}))
    uses = {use.what: use.bytes for use in found.disk}
    assert uses["packed tokens"] == 2 * sum(each.tokens for each in found.sets)
    assert uses["checkpoints"] == 2 * 12 * 1_418_270_720
    assert uses["models"] == 2 * 4 * 1_418_270_720


def test_an_unknown_gpu_is_an_error():
    with pytest.raises(UserError, match=r"--gpu B100: .*A100-40GB, A100-80GB, H100, H200"):
        chosen_gpus("B100")


def test_costs_are_told_without_the_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    hub = {"kind": "hub", "repo": "owner/name", "revision": "main", "files": ["*"], "text_column": "t", "source": "s"}
    corpus = {**mini()["corpus"], "sources": [hub]}
    path = recipe_with(tmp_path, {"A": {}}, corpus=corpus)
    recipe, run, unknown = plan_run(read_recipe(path), None, [], tmp_path / "work")
    assert run is None
    assert "owner/name" in unknown
    assert forecast(recipe, {}, GPUS, 1, None).models[0].name == "A"
    missing = {"kind": "files", "path": str(tmp_path / "no.jsonl"), "text_column": "t", "source": "s"}
    path = recipe_with(tmp_path, {"A": {}}, corpus={**corpus, "sources": [missing]})
    with pytest.raises(UserError, match=r"no\.jsonl"):
        plan_run(read_recipe(path), None, [], tmp_path / "work")


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0"), (812, "812"), (51_200, "51.2k"), (999_700, "1.00M"), (50_331_648_000, "50.3B")]
)
def test_amounts(count, shown):
    assert amount(count) == shown


def test_spans_of_time():
    assert [span(hours) for hours in (770, 2.5, 0.5, 0.001)] == ["770 h", "2.5 h", "30 min", "3.6 s"]
    assert span(96, days=True) == "4.0 days"


def test_a_gpu_without_a_sequence_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"--gpus 32: models\.A\.batch_sequences is 8"):
        planned(MINI, processes=32)


def with_a_model_as_teacher(tmp_path):
    """A recipe with all parts of a plan, whose corpus is quickly read."""
    (tmp_path / "some.py").write_text("print('a text')\n" * 50)
    fields = mini()
    source = {"kind": "files", "path": str(tmp_path / "*.py"), "text_column": "text", "source": "own"}
    path = at_paper_size(tmp_path, {"base": PHI_1, "finetuned": {**PHI_1, "start": "base", "batch_sequences": 256}})
    changes = {
        "corpus": {**fields["corpus"], "sources": [source]},
        "textbooks": {**fields["textbooks"], "teacher": MODEL, "count": 65_000_000},
        "machine": {"teacher": {"prices": {"m": {"input_usd": 2.0, "output_usd": 10.0}}}},
    }
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return path


def test_no_figure_is_cut_in_a_terminal_of_80_columns(tmp_path):
    console = Console(width=80, file=io.StringIO())
    found = planned(with_a_model_as_teacher(tmp_path), processes=8)
    for part in forecast_view(found):
        console.print(part)
    printed = console.file.getvalue()
    assert "…" not in printed
    rows = [line.split() for line in printed.splitlines()]
    fit = next(fit for fit in found.memory if (fit.gpu, fit.parallel) == ("A100-80GB", "fsdp"))
    row = next(row for row in rows if row[:2] == ["A100-80GB", "FSDP"])
    assert (row[2], row[-1], len(row)) == (f"{fit.micro_batch}", f"{fit.total_bytes / 1e9:.1f}", 10)
    assert any(row[:2] == ["textbooks", "65.0M"] for row in rows)


LIGHT = """
import sys
from hornbook.cli import app
try:
    app(["plan", sys.argv[1], "--work", sys.argv[2], *sys.argv[3:]])
except SystemExit as end:
    assert not end.code
assert not {"torch", "daft"} & set(sys.modules), "planning loads what only running needs"
"""


def test_the_command_loads_neither_torch_nor_daft(tmp_path):
    path = with_a_model_as_teacher(tmp_path)

    def command(*options):
        arguments = [sys.executable, "-c", LIGHT, str(path), str(tmp_path / "work"), "--gpus", "8", *options]
        answer = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    printed = command()
    for title in ("Teacher", "Tokens and epochs", "Models", "GPU time", "Beside the papers", "Memory", "Disk"):
        assert title in printed
    told = json.loads(command("--json", "--gpu", "h200"))
    assert {row["state"] for row in told["steps"]} == {"pending"}
    assert [fit["gpu"] for fit in told["memory"]] == ["H200", "H200"]
    assert told["models"][0]["parameters"] == 1_418_270_720
