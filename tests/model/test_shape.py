"""Sizes and costs that follow from a shape: the papers' models, and counts made by hand."""

import pytest

from hornbook.errors import UserError
from hornbook.model.shape import (
    block_parameters,
    embedding_rows,
    flops_per_token,
    palm_flops_per_token,
    parameter_count,
)
from hornbook.recipe import ModelConfig


def shaped(**fields):
    return ModelConfig.model_validate(fields)


@pytest.mark.parametrize(
    ("preset", "count"), [("phi-1", 1_418_270_720), ("phi-1.5", 1_418_270_720), ("phi-1-small", 356_794_368)]
)
def test_the_papers_models_have_their_sizes(preset, count):
    assert parameter_count(shaped(preset=preset), 50_295) == count  # CodeGen's entries, padded to 51,200 rows


def test_rows_are_those_of_the_tokenizer_unless_padded():
    assert embedding_rows(shaped(preset="phi-mini"), 2048) == 2048
    assert embedding_rows(shaped(preset="phi-1"), 50_295) == 51_200
    with pytest.raises(UserError, match=r"padded_vocab_size: 100 rows are fewer than the tokenizer's 2,048"):
        embedding_rows(shaped(preset="phi-mini", padded_vocab_size=100), 2048)


def test_costs_counted_by_hand():
    model = shaped(layers=2, hidden=8, heads=2, rotary_share=0.5, padded_vocab_size=None)
    # A block: 3 + 1 matrices of 8 × 8, two of 8 × 32; biases 4 × 8, 32 and 8; a LayerNorm of 2 × 8.
    assert block_parameters(model) == 4 * 64 + 2 * 256 + (32 + 32 + 8) + 16
    matrices = 2 * (4 * 64 + 2 * 256) + 10 * 8
    # Scores and mixing: 2 × 2 T H operations forward, three times that with the backward pass, half of it causal.
    assert flops_per_token(model, 10, 16) == 6 * matrices + 2 * (3 * 2 * 2 * 16 * 8) / 2
    assert palm_flops_per_token(model, 10, 16) == 6 * matrices + 2 * (3 * 2 * 2 * 16 * 8)


def test_phi_1_costs_about_6_a_parameter():
    model = shaped(preset="phi-1")
    assert flops_per_token(model, 50_295, 2048) == pytest.approx(6 * 1_418_270_720, rel=0.01)
