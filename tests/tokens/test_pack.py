"""Packing: every document once, whole, in an order of its own; and mixtures drawn from packed sets."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model.foreign import json_tokenizer

from hornbook.errors import UserError
from hornbook.model.vocabulary import load_tokenizer
from hornbook.recipe import MachineConfig, PackConfig
from hornbook.records import Document, Dropped, Exercise, content_id
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.step_config import PackStep
from hornbook.tables import read_rows, write_rows
from hornbook.tokens.mix import Mixture
from hornbook.tokens.pack import Packed, open_packed, pack_set
from hornbook.tokens.tokenizer import train_bpe

TEXTS = [f"def f{number}(x):\n    return x * {number}\n" * (1 + number % 5) for number in range(300)]


@pytest.fixture(scope="module")
def tokenizer_directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tokenizer")
    train_bpe(iter(TEXTS), 300).save(str(directory / "tokenizer.json"))
    return directory


def packed(tmp_path, tokenizer_directory, max_tokens, seed=1, texts=TEXTS):
    documents = tmp_path / "documents"
    rows = [Document(content_id(text), text, "a", "{}") for text in texts]
    write_rows(documents / "documents.parquet", Document, rows)
    out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
    out.mkdir()
    config = PackStep(pack=PackConfig(sequence_length=16, max_tokens=max_tokens), seed=seed)
    inputs = {"documents": documents, "tokenizer": tokenizer_directory}
    result = pack_set(config, inputs, Workspace(out, MachineConfig(), Silent(), out, "test"))
    return out, result


def documents_of(directory, tokenizer_directory):
    """The texts between end-of-text tokens."""
    tokens = open_packed(directory).tokens.tolist()
    tokenizer, texts, current = load_tokenizer(tokenizer_directory), [], []
    for token in tokens:
        if token == 0:
            texts.append(tokenizer.decode(current))
            current = []
        else:
            current.append(token)
    return texts, tokenizer.decode(current)


def test_every_document_is_there_once_and_shuffled(tmp_path, tokenizer_directory):
    out, result = packed(tmp_path, tokenizer_directory, 10**6)
    texts, rest = documents_of(out, tokenizer_directory)
    assert sorted(texts) == sorted(TEXTS)
    assert texts != TEXTS
    assert rest == ""
    assert (result.counts.read, result.counts.kept, result.counts.dropped) == (300, 300, {})
    assert sorted(path.name for path in out.iterdir()) == ["dropped.parquet", "index.json", "tokens.bin"]


@pytest.mark.parametrize("max_tokens", [1, 17, 500, 3000])
def test_a_budget_is_met_exactly_with_a_prefix_of_the_order(tmp_path, tokenizer_directory, max_tokens):
    whole, _ = packed(tmp_path, tokenizer_directory, 10**6)
    out, result = packed(tmp_path, tokenizer_directory, max_tokens)
    tokens = open_packed(out).tokens
    assert np.array_equal(tokens, open_packed(whole).tokens[:max_tokens])
    assert result.counts.balanced()
    dropped = list(read_rows(out / "dropped.parquet", Dropped))
    assert len(dropped) == result.counts.dropped["beyond max_tokens"]
    texts, rest = documents_of(out, tokenizer_directory)
    packed_texts = set(texts) | {text for text in TEXTS if rest and text.startswith(rest)}
    assert {content_id(text) for text in texts}.isdisjoint({row.id for row in dropped})
    assert len(texts) + (rest != "") == result.counts.kept <= len(packed_texts) + 1


def test_a_wrong_guess_of_bytes_per_token_costs_no_token(tmp_path, tokenizer_directory, monkeypatch):
    right, _ = packed(tmp_path, tokenizer_directory, 3000)
    monkeypatch.setattr("hornbook.tokens.pack.BYTES_PER_TOKEN", 0.1)
    other, _ = packed(tmp_path, tokenizer_directory, 3000)
    assert (right / "tokens.bin").read_bytes() == (other / "tokens.bin").read_bytes()


def test_the_order_is_the_seed_and_not_the_table(tmp_path, tokenizer_directory):
    one, _ = packed(tmp_path, tokenizer_directory, 2000)
    again, _ = packed(tmp_path, tokenizer_directory, 2000, texts=TEXTS[::-1])
    other, _ = packed(tmp_path, tokenizer_directory, 2000, seed=2)
    assert (one / "tokens.bin").read_bytes() == (again / "tokens.bin").read_bytes()
    assert (one / "tokens.bin").read_bytes() != (other / "tokens.bin").read_bytes()


def test_exercises_are_prompt_and_solution_without_tests(tmp_path, tokenizer_directory):
    rows = [Exercise("1", "t", "f", "def f(x):\n", "    return x\n", ("assert f(1) == 1",), "r")]
    write_rows(tmp_path / "set" / "exercises.parquet", Exercise, rows)
    config = PackStep(pack=PackConfig(sequence_length=4, max_tokens=100), seed=1)
    inputs = {"documents": tmp_path / "set", "tokenizer": tokenizer_directory}
    pack_set(config, inputs, Workspace(tmp_path, MachineConfig(), Silent(), tmp_path, "test"))
    assert documents_of(tmp_path, tokenizer_directory) == (["def f(x):\n    return x\n"], "")


def test_damage_and_emptiness_are_said(tmp_path, tokenizer_directory):
    out, _ = packed(tmp_path, tokenizer_directory, 2000)
    (out / "tokens.bin").write_bytes((out / "tokens.bin").read_bytes()[:-4])
    with pytest.raises(UserError, match="its index says 2000"):
        open_packed(out)
    (out / "index.json").unlink()
    with pytest.raises(UserError, match="not a packed set"):
        open_packed(out)
    with pytest.raises(UserError, match="no text to pack"):
        packed(tmp_path, tokenizer_directory, 2000, texts=[])


def numbered(sequences, length=4):
    """A set whose tokens are their own positions."""
    return Packed(np.arange(sequences * length + 1, dtype=np.uint32), length, 10**6, "x", 0)


def test_an_epoch_shows_every_sequence_once():
    mixture = Mixture({"raw": numbered(12)}, {"raw": 1.0}, 4, seed=3)
    rows = np.concatenate([mixture.batch(step) for step in range(6)])
    assert rows.shape == (24, 5)
    assert np.array_equal(rows, rows[:, :1] + np.arange(5))  # each row is a sequence and the token after it
    for epoch in (rows[:12], rows[12:]):
        assert sorted(epoch[:, 0].tolist()) == list(range(0, 48, 4))
    assert rows[:12].tolist() != rows[12:].tolist()
    assert mixture.epochs(6) == {"raw": 2.0}


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.floats(0.001, 1.0), min_size=1, max_size=4),
    batch=st.integers(1, 40),
    steps=st.integers(1, 60),
)
def test_shares_hold_at_every_step(weights, batch, steps):
    names = ["raw", "filtered", "textbooks", "exercises"][: len(weights)]
    shares = dict(zip(names, weights, strict=True))
    mixture = Mixture({name: numbered(7) for name in names}, shares, batch, seed=0)
    before = dict.fromkeys(names, 0.0)
    for step in range(1, steps + 1):
        drawn = {name: epochs * 7 for name, epochs in mixture.epochs(step).items()}
        assert sum(drawn.values()) == pytest.approx(step * batch)
        for name in names:
            assert drawn[name] >= before[name] - 1e-9  # never takes one back
            assert abs(drawn[name] - step * batch * shares[name] / sum(weights)) <= 2
        before = drawn
    assert mixture.batch(steps - 1).shape == (batch, 5)


def test_a_batch_does_not_depend_on_those_before_it():
    def fresh():
        return Mixture({"raw": numbered(9), "filtered": numbered(5)}, {"raw": 0.7, "filtered": 0.3}, 4, seed=3)

    one = fresh()
    in_order = [one.batch(step) for step in range(10)]
    for step in (9, 0, 5, 4):
        assert np.array_equal(fresh().batch(step), in_order[step])
        assert np.array_equal(one.batch(step), in_order[step])


def test_a_set_too_small_is_said():
    with pytest.raises(UserError, match="`raw` holds 4 tokens"):
        Mixture({"raw": Packed(np.zeros(4, np.uint16), 4, 10, "x", 0)}, {"raw": 1.0}, 2, seed=0)


def test_documents_end_by_the_tokenizers_own_id(tmp_path):
    """CodeGen's end-of-text is not the first entry; a `<|endoftext|>` inside a text is text."""
    count = json_tokenizer(tmp_path / "tokenizer")
    texts = ["a <|endoftext|> b", "def f(x):", ""]
    out, _ = packed(tmp_path, tmp_path / "tokenizer", 10**6, texts=texts)
    opened, tokenizer = open_packed(out), load_tokenizer(tmp_path / "tokenizer")
    assert (opened.end_of_text, opened.vocab_size) == (count - 1, count)
    pieces = " ".join(map(str, opened.tokens.tolist())).split(str(count - 1))
    found = [tokenizer.decode([int(token) for token in piece.split()]) for piece in pieces]
    assert sorted(found) == sorted([*texts, ""])  # what follows the last separator


def test_the_index_is_json(tmp_path, tokenizer_directory):
    out, _ = packed(tmp_path, tokenizer_directory, 2000)
    index = json.loads((out / "index.json").read_text())
    assert (index["dtype"], index["tokens"], index["sequence_length"]) == ("<u2", 2000, 16)
