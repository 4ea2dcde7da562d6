"""A uniform model, a slow second implementation, and windows that miss nothing."""

import math
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from hornbook.evaluate.bits import (
    Passage,
    held_out_passages,
    log_likelihoods,
    reference_passages,
    score_passages,
)
from hornbook.model.transformer import Phi
from hornbook.recipe import ModelConfig
from hornbook.records import Document, Problem, content_id
from hornbook.tables import write_rows

TEXT = "def area(width, height):\n    return width * height\n\n\nprint(area(3, 4))  # größer\n"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [AddedToken("<|endoftext|>", special=True)]
    made.train_from_iterator(
        [TEXT] * 10, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=special)
    )
    return made


def small_phi(vocab_size: int, context: int) -> Phi:
    model = Phi(
        ModelConfig(layers=2, hidden=32, heads=2, rotary_share=0.5, padded_vocab_size=None), vocab_size, context
    )
    model.initialize(seed=5)
    return model.eval()


def test_a_uniform_model_needs_log2_of_the_vocabulary_per_token(tokenizer: Tokenizer) -> None:
    model = small_phi(tokenizer.get_vocab_size(), 16)
    torch.nn.init.zeros_(model.lm_head.weight)
    passages = [Passage("", TEXT), Passage("x = ", "1\n"), Passage("", TEXT[:30] * 5)]
    values = log_likelihoods(model, tokenizer, passages, lambda tokens: None)
    for passage, value in zip(passages, values, strict=True):
        count = len(tokenizer.encode(passage.target).ids)
        assert value == pytest.approx(-count * math.log(tokenizer.get_vocab_size()), rel=1e-5)


def test_each_token_at_a_time_gives_the_same(tokenizer: Tokenizer) -> None:
    model = small_phi(tokenizer.get_vocab_size(), 256)
    passages = [
        Passage("def area(width, height):", "\n    return width * height\n"),
        Passage("", TEXT),
        Passage("a", "b"),
    ]
    found = log_likelihoods(model, tokenizer, passages, lambda tokens: None)
    for passage, value in zip(passages, found, strict=True):
        ids = [0, *tokenizer.encode(passage.context).ids]
        total = 0.0
        for token in tokenizer.encode(passage.target).ids:
            with torch.no_grad():
                total += float(model(torch.tensor([ids]))[0, -1].log_softmax(0)[token])
            ids.append(token)
        assert value == pytest.approx(total, rel=1e-4)


def test_bits_per_byte_counts_bytes_not_characters() -> None:
    score = score_passages([Passage("", "ö"), Passage("", "ab")], [-2 * math.log(2), -6 * math.log(2)], seed=1)
    assert score["value"] == pytest.approx(8 / 4)
    assert (score["n"], score["bytes"], score["failed"]) == (2, 4, 0)
    assert score["low"] == pytest.approx(1.0)
    assert score["high"] == pytest.approx(3.0)


def test_a_reference_begins_where_the_trimmed_prompt_ends() -> None:
    problem = Problem("m/1", '"""\nTwice.\n"""\n', "f", "def f(x):\r\n  return 2*x", (), "mbpp")
    assert list(reference_passages([problem])) == [Passage('"""\nTwice.\n"""', "\ndef f(x):\n  return 2*x")]


def test_the_held_out_sample_fits_and_depends_on_no_order(tmp_path: Path) -> None:
    texts = [f"text {i} " * (i % 7 + 1) for i in range(200)]
    documents = [Document(content_id(text), text, "s", "{}") for text in texts]
    write_rows(tmp_path / "a.parquet", Document, documents)
    write_rows(tmp_path / "b.parquet", Document, documents[::-1])
    chosen = held_out_passages(tmp_path / "a.parquet", 1000)
    assert chosen == held_out_passages(tmp_path / "b.parquet", 1000)
    by_id = [document.text for document in sorted(documents, key=lambda d: d.id)]
    assert [passage.target for passage in chosen] == by_id[: len(chosen)]
    size = sum(len(passage.target) for passage in chosen)
    assert size <= 1000 < size + len(by_id[len(chosen)])
    assert len(held_out_passages(tmp_path / "a.parquet", 1)) == 1
