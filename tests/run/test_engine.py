import json
import multiprocessing
import shutil
import signal
from pathlib import Path

import pytest
from run.sample_steps import Add, Slow

from hornbook.errors import UserError
from hornbook.recipe import MachineConfig
from hornbook.run.engine import intents, locked, run_steps, state_of
from hornbook.run.fingerprint import directory_name
from hornbook.run.manifest import read_manifest
from hornbook.run.progress import Silent
from hornbook.run.step import Step

STEPS = "run.sample_steps"


def chain(first=1, second=10, third=100):
    a = Step("a", f"{STEPS}:add", 1, Add(amount=first))
    b = Step("b", f"{STEPS}:add", 1, Add(amount=second), {"a": a})
    side = Step("side", f"{STEPS}:add", 1, Add(amount=5))
    return [Step("c", f"{STEPS}:add", 1, Add(amount=third), {"b": b, "side": side})]


def run(work, targets):
    """Run the targets; gives the names of the steps that really ran."""
    ran = []

    def tell(step, state, manifest):
        if manifest is None:
            ran.append(step.name)

    run_steps(work, "test", targets, MachineConfig(), Silent(), tell)
    return ran


def checksums(work, targets):
    return {step.name: read_manifest(work / directory_name(step))["files"] for step in targets}


def test_a_chain_computes_and_a_second_run_does_nothing(tmp_path):
    (target,) = chain()
    assert sorted(run(tmp_path, [target])) == ["a", "b", "c", "side"]
    assert (tmp_path / directory_name(target) / "number").read_text() == "116"
    assert run(tmp_path, [target]) == []


def test_a_changed_field_rebuilds_exactly_what_is_downstream_and_the_plan_says_so(tmp_path):
    run(tmp_path, chain())
    changed = chain(second=20)
    planned = {intent.step.name: intent for intent in intents(tmp_path, changed)}
    expected = [name for name, intent in planned.items() if intent.state != "done"]
    assert expected == ["b", "c"]
    assert planned["b"].why == "amount 10 → 20"
    assert planned["c"].why == "rebuilt before it: b"
    assert run(tmp_path, changed) == expected
    assert (tmp_path / directory_name(changed[0]) / "number").read_text() == "126"
    assert run(tmp_path, chain()) == []  # the first variant is still there


def test_variants_share_what_comes_before_their_difference(tmp_path):
    run(tmp_path, chain())
    assert run(tmp_path, chain(third=7)) == ["c"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "number").write_text("12"), "changed since the step finished"),
        (lambda d: (d / "number").write_text("1"), "1 bytes where the manifest records 2"),
        (lambda d: (d / "deep" / "table").unlink(), "missing from a finished step"),
        (lambda d: (d / "extra").write_text("?"), "added to a finished step"),
        (lambda d: (d / "manifest.json").unlink(), "has no manifest.json"),
        (lambda d: (d / "manifest.json").write_text("{"), "damaged"),
    ],
)
def test_a_finished_step_that_was_tampered_with_stops_the_run_before_anything_runs(tmp_path, damage, message):
    (target,) = chain()
    run(tmp_path, [target])
    b = target.inputs["b"]
    damage(tmp_path / directory_name(b))
    shutil.rmtree(tmp_path / directory_name(target))
    with pytest.raises(UserError, match=message) as caught:
        run(tmp_path, [target])
    assert directory_name(b) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert state_of(tmp_path, target) == "pending"


def test_counts_that_do_not_balance_are_a_defect(tmp_path):
    with pytest.raises(RuntimeError, match="do not balance"):
        run(tmp_path, [Step("x", f"{STEPS}:unbalanced", 1, Add(amount=1))])


def test_more_failures_than_the_limit_stop_the_run(tmp_path):
    within = Step("x", f"{STEPS}:failing", 1, Add(amount=5), failure_limit=0.05)
    beyond = Step("x", f"{STEPS}:failing", 1, Add(amount=6), failure_limit=0.05)
    run(tmp_path, [within])
    with pytest.raises(UserError, match=r"6 of 100 rows failed, more than the limit of 5\.0%"):
        run(tmp_path, [beyond])
    assert state_of(tmp_path, beyond) == "failed"


def test_an_error_is_kept_for_status_and_names_the_step(tmp_path):
    step = Step("load", f"{STEPS}:mendable", 1, Add(amount=1))
    with pytest.raises(UserError, match=r"^load: data\.jsonl, line 3: not JSON$"):
        run(tmp_path, [step])
    partial = tmp_path / f"{directory_name(step)}.partial"
    assert json.loads((partial / "failed.json").read_text())["error"] == "data.jsonl, line 3: not JSON"


def test_a_full_disk_is_one_line_with_the_mend(tmp_path):
    with pytest.raises(UserError, match=r"^x: .*the disk is full; free some space and run the same command again$"):
        run(tmp_path, [Step("x", f"{STEPS}:full", 1, Add(amount=1))])


@pytest.mark.parametrize("resumable", [True, False])
def test_a_run_killed_in_a_step_ends_in_the_same_bytes(tmp_path, resumable):
    def step(kill_at):
        return Step("slow", f"{STEPS}:slow", 1, Slow(steps=9, kill_at=str(kill_at)), resumable=resumable)

    target = step(tmp_path / "killed")
    process = multiprocessing.get_context("spawn").Process(target=run, args=(tmp_path / "work", [target]))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert state_of(tmp_path / "work", target) == "interrupted"
    why = intents(tmp_path / "work", [target])[0].why
    assert why == "was interrupted" + ("; goes on from its last checkpoint" if resumable else "; starts again")
    run(tmp_path / "work", [target])
    lines = (tmp_path / "work" / directory_name(target) / "lines").read_text()
    assert lines == "".join(f"{number}\n" for number in range(9))


def test_only_one_run_at_a_time_works_in_a_directory(tmp_path):
    with locked(tmp_path), pytest.raises(UserError, match="another run is at work here"):
        run(tmp_path, chain())


def test_a_work_directory_that_cannot_be_made_is_named():
    with pytest.raises(UserError, match="cannot be used as the work directory"):
        run(Path("/dev/null/work"), chain())


def test_files_of_another_step_under_a_finished_name_are_refused(tmp_path):
    (target,) = chain()
    run(tmp_path, [target])
    a, side = tmp_path / directory_name(target.inputs["b"]), tmp_path / directory_name(target.inputs["side"])
    shutil.rmtree(a)
    shutil.copytree(side, a)
    with pytest.raises(UserError, match="holds the files of another step, side"):
        run(tmp_path, [target])
