"""Features against values counted by hand, and texts made to break regular expressions."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hornbook.curate.features import FEATURE_NAMES, READ_CHARACTERS, features_of, text_features

SAMPLE = '''# one comment
import os
import numpy as np
from .core import thing


def add(first, second):
    """Add two numbers."""
    # another comment
    return first + second


class Box:
    def get(self):
        if self.x == 3:
            self.y = "a # b"
        return self.x
'''


def by_name(text: str) -> dict[str, float]:
    return dict(zip(FEATURE_NAMES, text_features(text).tolist(), strict=True))


def test_names_are_distinct_and_fit_the_vector() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES) == len(text_features(SAMPLE))


def test_counts_made_by_hand() -> None:
    values = by_name(SAMPLE)
    lines, filled, functions = 18, 13, 2  # lines of the sample as split at line ends; those that are not blank
    assert values["log_lines"] == pytest.approx(math.log1p(17))
    assert values["blank_line_share"] == pytest.approx(1 - filled / lines)
    assert values["comment_line_share"] == pytest.approx(2 / filled)  # the third # stands in a string
    assert values["doc_line_share"] == pytest.approx(1 / filled)
    assert values["doc_words_per_function"] == pytest.approx(math.log1p(3 / functions))
    assert values["documented_function_share"] == pytest.approx(1 / functions)
    assert values["import_rate"] == pytest.approx(3 / lines)
    assert values["import_standard_share"] == pytest.approx(1 / 3)
    assert values["import_relative_share"] == pytest.approx(1 / 3)
    assert values["functions_per_line"] == pytest.approx(2 / lines)
    assert values["method_share"] == pytest.approx(1 / 2)
    assert values["no_argument_function_share"] == pytest.approx(1 / 2)
    assert values["classes_per_function"] == pytest.approx(1 / 2)
    assert values["self_store_rate"] == pytest.approx(1 / lines)
    assert values["self_use_rate"] == pytest.approx(3 / lines)
    assert values["branches_per_function"] == pytest.approx(1 / 2)
    assert values["returns_per_function"] == pytest.approx(2 / 2)
    words = 30  # names and keywords outside of comments and strings
    assert values["words_per_line"] == pytest.approx(words / filled)
    assert values["keyword_self"] == pytest.approx(4 / words)
    assert values["keyword_import"] == pytest.approx(3 / words)
    assert values["operator_+"] == pytest.approx(1 / words)
    assert values["digit_share"] == pytest.approx(1 / len(SAMPLE))


def test_names_do_not_matter_only_their_form() -> None:
    renamed = (
        SAMPLE.replace("Box", "Tin").replace("thing", "other").replace("first", "small").replace("second", "double")
    )
    same = [name for name in FEATURE_NAMES if name not in ("byte_entropy", "compressed_share")]
    assert [by_name(renamed)[name] for name in same] == [by_name(SAMPLE)[name] for name in same]


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="\"'\\#\n a1_=.:(@\tdefé\udc80\0", max_size=300))
def test_every_text_has_finite_features(text: str) -> None:
    assert np.isfinite(text_features(text)).all()


@pytest.mark.parametrize(
    "piece",
    ['\\"""', '"', "'''", '"\\', "\\", " ", "a", "a:", " a : b", "@", "import ", "from ", "#", "def f(", "\t", "1."],
)
def test_repetition_takes_no_more_than_linear_time(piece: str) -> None:
    text = piece * (READ_CHARACTERS // len(piece))
    started = time.process_time()
    text_features(text)
    text_features('"""' + text)
    assert time.process_time() - started < 4  # about 0.2 s; quadratic would be hours


def test_only_the_head_of_a_huge_text_is_read() -> None:
    head = (SAMPLE * (READ_CHARACTERS // len(SAMPLE) + 1))[:READ_CHARACTERS]
    longer = head + "\n'''" * 1000
    before, after = by_name(head), by_name(longer)
    assert [name for name in FEATURE_NAMES if before[name] != after[name]] == ["log_characters", "log_lines"]


def test_a_batch_is_its_texts_one_by_one() -> None:
    texts = [SAMPLE, "", "x = 1\n"]
    assert np.array_equal(features_of(texts), np.stack([text_features(text) for text in texts]))
    assert features_of([]).shape == (0, len(FEATURE_NAMES))


def test_prose_has_its_features_too() -> None:
    """Shape tells an essay from a list of links, whatever the code features make of apostrophes and headings."""
    essay = "# On rain\n\nIt doesn't rain from every cloud. Why not? A drop falls when it's heavy enough.\n" * 40
    links = "- [Rain](https://rain.example/1)\n- [Cloud](https://cloud.example/2)\n" * 40
    first, second = by_name(essay), by_name(links)
    assert second["operator_["] > first["operator_["] == 0
    assert second["digit_share"] > first["digit_share"] == 0
    assert first["blank_line_share"] > second["blank_line_share"]
    started = time.perf_counter()
    values = text_features((essay + links) * 40)
    assert np.isfinite(values).all()
    assert time.perf_counter() - started < 5
