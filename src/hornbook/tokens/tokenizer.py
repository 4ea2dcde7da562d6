"""The tokenizer of a recipe: a byte-level BPE trained on its text, with pieces cut for Python, or one of others."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from hornbook.errors import UserError
from hornbook.model.source import fingerprint_tokenizer, locate_tokenizer
from hornbook.model.vocabulary import END_OF_TEXT, TOKENIZER, end_of_text, entries, read_foreign
from hornbook.recipe import HubTokenizer, TrainedTokenizer
from hornbook.run.step import Counts, Inputs, Result, Workspace
from hornbook.step_config import TokenizerStep
from hornbook.tables import read_columns

# A merge never crosses the border of a piece. In order of precedence:
PIECES = "|".join(
    (
        r"(?:[ \t]*\r?\n)+[ \t]*",  # line ends, blank lines and the indentation that follows: usually one token
        r" ?_*\p{L}[\p{L}\p{M}]*",  # a word with the space before it; snake_case falls into words that recur
        r" ?\p{N}",  # digits one by one, so that numbers have one spelling
        r" ?[^\s\p{L}\p{N}_]+",  # a run of punctuation, such as `):` or ` ==`
        r"_+",
        r"\s+(?!\S)",  # spaces, less the one that belongs to the next word
        r"\s",
    )
)


def train_bpe(texts: Iterator[str], vocab_size: int) -> Tokenizer:
    """A tokenizer of at most `vocab_size` entries: end-of-text (id 0), the 256 bytes, and learned merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


def file_sha256(path: Path) -> str:
    """Which tokenizer a packed set was made with."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_table(directory: Path) -> tuple[Path, list[str]]:
    """The table of texts in a step's directory, and the columns that joined make the text trained on."""
    if (directory / "exercises.parquet").is_file():
        return directory / "exercises.parquet", ["prompt", "solution"]
    return directory / "documents.parquet", ["text"]


def read_texts(directory: Path) -> Iterator[tuple[str, str]]:
    """Id and text of every row of a step's documents or exercises, in order."""
    path, columns = text_table(directory)
    for row in read_columns(path, ["id", *columns]):
        yield row[0], "".join(row[1:])


def hash_order(seed: int, row_id: str) -> int:
    """A number of 64 bits by which rows of any table are put in an order that only `seed` and the id decide."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{row_id}".encode(), digest_size=8).digest(), "big")


def train_tokenizer(config: TokenizerStep, inputs: Inputs, work: Workspace) -> Result:
    """Make the tokenizer of the recipe: writes `tokenizer.json`.

    A trained one is trained on about `sample_bytes` of each input, sampled by the hash of the row's id. One of the hub
    is fetched, the one of a pretrained model is that of the input `pretrained`. Raises UserError where the inputs hold
    no text, and for a tokenizer of others that does not give every text back.
    """
    if isinstance(config.tokenizer, TrainedTokenizer):
        return _train(config.tokenizer, config.seed, inputs, work)
    if isinstance(config.tokenizer, HubTokenizer):
        directory, origin = locate_tokenizer(config.tokenizer), fingerprint_tokenizer(config.tokenizer)
    else:
        directory, origin = inputs["pretrained"], {}
    tokenizer = read_foreign(directory)
    tokenizer.save(str(work.directory / TOKENIZER))
    return Result(facts={"vocab_size": entries(tokenizer), "end_of_text": end_of_text(tokenizer), **origin})


def _train(config: TrainedTokenizer, seed: int, inputs: Inputs, work: Workspace) -> Result:
    sizes = {name: _text_bytes(directory) for name, directory in sorted(inputs.items())}
    if not any(sizes.values()):
        raise UserError("tokenizer: its inputs hold no text; loosen the filters before it")
    counts = {"read": 0, "kept": 0}
    sampled = dict.fromkeys(sizes, 0)

    def sample() -> Iterator[str]:
        total = sum(min(size, config.sample_bytes) for size in sizes.values())
        with work.progress.bar("reading text", total / 1e6, "MB") as bar:
            for name, size in sizes.items():
                below = min(1.0, config.sample_bytes / max(size, 1)) * 2.0**64
                for row_id, text in read_texts(inputs[name]):
                    counts["read"] += 1
                    if hash_order(seed, row_id) < below:
                        counts["kept"] += 1
                        length = len(text.encode())
                        sampled[name] += length
                        bar.advance(length / 1e6)
                        yield text

    tokenizer = train_bpe(sample(), config.vocab_size)
    tokenizer.save(str(work.directory / TOKENIZER))
    facts: dict[str, Any] = {
        "vocab_size": entries(tokenizer),
        "end_of_text": end_of_text(tokenizer),
        "rows_read": counts["read"],
        "rows_sampled": counts["kept"],
        "sampled_bytes": sampled,
        "bytes_per_token": {name: _bytes_per_token(tokenizer, inputs[name]) for name in sizes if sizes[name]},
    }
    return Result(counts=Counts(read=counts["read"], kept=counts["read"]), facts=facts)


def _text_bytes(directory: Path) -> int:
    return sum(len(text.encode()) for _, text in read_texts(directory))


def _bytes_per_token(tokenizer: Tokenizer, directory: Path) -> float:
    """Over the first texts of a table, about a megabyte."""
    texts, size = [], 0
    for _, text in read_texts(directory):
        texts.append(text)
        size += len(text.encode())
        if size >= 1_000_000:
            break
    return round(size / max(1, sum(len(encoding) for encoding in tokenizer.encode_batch_fast(texts))), 4)
