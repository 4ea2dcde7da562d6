import dataclasses
import math
import subprocess
import sys

import pytest
from run.sample_steps import Add

from hornbook.run.fingerprint import digest, encode, identity
from hornbook.run.step import Step

STEP = Step("a", "run.sample_steps:add", 1, Add(amount=1), content={"prompt": "p"})


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "b"},
        {"function": "run.sample_steps:full"},
        {"version": 2},
        {"config": Add(amount=2)},
        {"content": {"prompt": "q"}},
        {"inputs": {"x": STEP}},
    ],
)
def test_everything_that_matters_changes_the_identity(changes):
    assert identity(dataclasses.replace(STEP, **changes)) != identity(STEP)


def test_an_inputs_change_is_seen_through_the_chain():
    other = dataclasses.replace(STEP, config=Add(amount=3))
    outer = Step("o", "run.sample_steps:add", 1, Add(amount=1), {"x": STEP})
    assert identity(dataclasses.replace(outer, inputs={"x": other})) != identity(outer)


def test_what_changes_no_bytes_changes_no_identity():
    changed = dataclasses.replace(STEP, resumable=True, failure_limit=0.5)
    assert identity(changed) == identity(STEP)


def test_the_identity_is_the_same_in_another_process_with_another_hash_seed():
    code = "from run.test_fingerprint import STEP; from hornbook.run.fingerprint import identity; print(identity(STEP))"
    environment = {"PYTHONHASHSEED": "7", "PYTHONPATH": "tests"}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == identity(STEP)


@pytest.mark.parametrize("value", [{1, 2}, math.nan, math.inf, object(), len, b"bytes", {1: 2}])
def test_a_value_with_no_stable_encoding_is_refused_by_its_place(value):
    with pytest.raises(TypeError, match=r"config\.field"):
        encode({"field": value})


def test_types_that_look_alike_are_told_apart():
    values = [1, 1.0, "1", True, [1], None]
    assert len({digest(encode(value)) for value in values}) == len(values)
