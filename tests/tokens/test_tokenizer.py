"""The tokenizer: exact round trips, the pieces of Python, end-of-text that only we write."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model.foreign import json_tokenizer, merges_tokenizer
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

import hornbook.model.source
from hornbook.errors import UserError
from hornbook.model.vocabulary import load_tokenizer, token_bytes
from hornbook.recipe import HubTokenizer, MachineConfig, PretrainedTokenizer, TrainedTokenizer
from hornbook.records import Document, Exercise, content_id
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.step_config import TokenizerStep
from hornbook.tables import write_rows
from hornbook.tokens.tokenizer import train_bpe, train_tokenizer

CODE = '''def count_vowels(text):
    """Count the vowels of a text.

    >>> count_vowels("hornbook")
    3
    """
    total = 0
    for letter in text:
        if letter in "aeiou":
            total += 1
    return total
'''


def pieces_of(text):
    tokenizer = train_bpe(iter([CODE]), 280)
    return [text[start:end] for _, (start, end) in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe(iter([CODE] * 3), 400)


@given(text=st.text())
def test_every_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


@given(text=st.text(alphabet=" \t\r\n_a1é(:☃"))
def test_every_mixture_of_white_space_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_python_is_cut_where_it_should_be():
    assert pieces_of("    if x_total == 12:\n\n        return -1") == [
        "   ", " if", " x", "_total", " ==", " 1", "2", ":", "\n\n        ", "return", " -", "1",
    ]  # fmt: skip
    assert pieces_of("self.__init__(a, b)") == ["self", ".", "__init", "__", "(", "a", ",", " b", ")"]
    assert pieces_of("x = 1  \r\n\ty") == ["x", " =", " 1", "  \r\n\t", "y"]


def test_a_trimmed_prompt_and_its_completion_fall_apart_at_the_boundary(tokenizer):
    """Tokens of prompt + completion are those of the prompt and those of the completion: what training saw."""
    prompt = CODE[: CODE.index("\n    total = 0")]
    whole = tokenizer.encode(CODE).ids
    assert whole == tokenizer.encode(prompt).ids + tokenizer.encode(CODE[len(prompt) :]).ids
    untrimmed = CODE[: CODE.index("    total = 0")]
    assert whole != tokenizer.encode(untrimmed).ids + tokenizer.encode(CODE[len(untrimmed) :]).ids


def step(tmp_path, seed=1, sample_bytes=10_000):
    filtered, exercises = tmp_path / "filtered", tmp_path / "exercises"
    if not filtered.exists():
        texts = [f"# file {number}\n{CODE}" for number in range(200)]
        rows = [Document(content_id(text), text, "a", "{}") for text in texts]
        write_rows(filtered / "documents.parquet", Document, rows)
        prompt, solution = 'def f(x):\n    """Add <|endoftext|> one."""\n', "    return x + 1\n"
        row = Exercise(content_id(prompt), "t", "f", prompt, solution, ("assert ZZZZZZZZZZZZ(1) == 2",) * 9, "r")
        write_rows(exercises / "exercises.parquet", Exercise, [row] * 50)
    out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
    out.mkdir()
    config = TokenizerStep(
        tokenizer=TrainedTokenizer(kind="trained", vocab_size=512, sample_bytes=sample_bytes), seed=seed
    )
    inputs = {"filtered": filtered, "exercises": exercises}
    result = train_tokenizer(config, inputs, Workspace(out, MachineConfig(), Silent(), out, "test"))
    return out, result


def test_the_step_is_deterministic_and_samples_what_it_says(tmp_path):
    one, result = step(tmp_path)
    two, _ = step(tmp_path)
    assert (one / "tokenizer.json").read_bytes() == (two / "tokenizer.json").read_bytes()
    assert result.counts.balanced()
    assert 5_000 < result.facts["sampled_bytes"]["filtered"] < 20_000
    assert result.facts["vocab_size"] <= 512


def test_tests_of_exercises_are_never_read(tmp_path):
    out, _ = step(tmp_path)
    tokenizer = load_tokenizer(out)
    assert "ZZ" not in tokenizer.get_vocab()
    assert len(tokenizer.encode("\n    return x + 1\n").ids) <= 6  # the exercises were read


def test_end_of_text_in_a_text_is_text(tmp_path):
    out, _ = step(tmp_path)
    tokenizer = load_tokenizer(out)
    text = "a <|endoftext|> b"
    ids = tokenizer.encode(text).ids
    assert 0 not in ids
    assert tokenizer.decode(ids) == text


def test_bad_files_are_one_line(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="not a tokenizer"):
        load_tokenizer(tmp_path)


def test_no_text_is_said(tmp_path):
    write_rows(tmp_path / "empty" / "documents.parquet", Document, [])
    config = TokenizerStep(tokenizer=TrainedTokenizer(kind="trained", vocab_size=512, sample_bytes=100), seed=1)
    with pytest.raises(UserError, match="hold no text"):
        train_tokenizer(
            config, {"raw": tmp_path / "empty"}, Workspace(tmp_path, MachineConfig(), Silent(), tmp_path, "test")
        )


def foreign_step(tmp_path, config, inputs):
    out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
    out.mkdir()
    work = Workspace(out, MachineConfig(), Silent(), out, "test")
    return out, train_tokenizer(TokenizerStep(tokenizer=config, seed=1), inputs, work)


SPACED = CODE + "  \n" + "".join(" " * length + "x\n" for length in range(40)) + "größe\t\t☃ <|endoftext|>\r\n"


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
def test_a_tokenizer_of_the_hub_is_codegens(tmp_path, monkeypatch):
    """vocab.json, merges.txt and added_tokens.json, as transformers' CodeGenTokenizer reads them."""
    transformers = pytest.importorskip("transformers")
    published = tmp_path / "published"
    count = merges_tokenizer(published)
    monkeypatch.setattr(hornbook.model.source, "resolve_revision", lambda repo, revision, kind: f"commit of {revision}")
    asked = []
    monkeypatch.setattr(hornbook.model.source, "download", lambda *what: asked.append(what) or published)
    config = HubTokenizer(kind="hub", repo="someone/codegen", revision="main")
    out, result = foreign_step(tmp_path, config, {})
    assert asked[0][:2] == ("someone/codegen", "commit of main")
    ours, theirs = load_tokenizer(out), transformers.CodeGenTokenizer.from_pretrained(published)
    ending = json.loads((published / "vocab.json").read_text())["<|endoftext|>"]
    assert result.facts == {"vocab_size": count, "end_of_text": ending, "commit": "commit of main"}
    text = SPACED.replace("<|endoftext|>", "")
    assert ours.encode(text).ids == theirs(text).input_ids
    assert max(ours.encode(text).ids) > ending  # runs of spaces are entries of their own
    assert ending not in ours.encode(SPACED).ids
    assert b"".join(token_bytes(ours)[token] for token in ours.encode(SPACED).ids).decode() == SPACED


def test_the_tokenizer_of_a_pretrained_model(tmp_path):
    count = json_tokenizer(tmp_path / "pretrained")
    out, result = foreign_step(
        tmp_path, PretrainedTokenizer(kind="pretrained"), {"pretrained": tmp_path / "pretrained"}
    )
    assert result.facts["vocab_size"] == count
    ours, theirs = load_tokenizer(out), load_tokenizer(tmp_path / "pretrained")
    assert ours.encode(SPACED).ids == theirs.encode(SPACED).ids
    assert result.facts["end_of_text"] == theirs.token_to_id("<|endoftext|>") == count - 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: setattr(made, "decoder", decoders.WordPiece()), "is no byte-level tokenizer"),
        (lambda made: setattr(made, "normalizer", normalizers.Lowercase()), "is no byte-level tokenizer"),
        (lambda made: setattr(made, "pre_tokenizer", pre_tokenizers.ByteLevel()), "adds a space before every text"),
        (lambda made: setattr(made, "pre_tokenizer", pre_tokenizers.WhitespaceSplit()), "loses parts of a text"),
        (lambda made: setattr(made.model, "dropout", 0.5), "reads the same text in different ways"),
        (lambda made: made.add_tokens([AddedToken("end", rstrip=True)]), "loses parts of a text"),
    ],
)
def test_a_tokenizer_that_changes_texts_is_refused(tmp_path, change, message):
    source = tmp_path / "source"
    json_tokenizer(source)
    made = Tokenizer.from_file(str(source / "tokenizer.json"))
    change(made)
    made.save(str(source / "tokenizer.json"))
    with pytest.raises(UserError, match=message):
        foreign_step(tmp_path, PretrainedTokenizer(kind="pretrained"), {"pretrained": source})


def test_a_tokenizer_without_end_of_text_is_refused(tmp_path):
    (tmp_path / "source").mkdir()
    Tokenizer(models.BPE()).save(str(tmp_path / "source" / "tokenizer.json"))
    with pytest.raises(UserError, match="has no entry"):
        foreign_step(tmp_path, PretrainedTokenizer(kind="pretrained"), {"pretrained": tmp_path / "source"})
