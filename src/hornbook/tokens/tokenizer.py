"""A byte-level BPE trained on the training text, with the pieces cut where Python code is cut."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from hornbook.errors import UserError
from hornbook.recipe import TokenizerStep
from hornbook.run.step import Inputs, Result, Workspace
from hornbook.tables import read_columns

TOKENIZER = "tokenizer.json"
END_OF_TEXT = "<|endoftext|>"  # id 0
# Line breaks with the indentation after them are one piece; a word keeps the space before it; digits stand alone, so that
# numbers are composed; what is left is punctuation in runs, then spaces.
PIECES = r"(?:\r?\n)+[ \t]*| ?\p{L}+|_\p{L}*|\p{N}| ?[^\s\p{L}\p{N}_]+|[ \t]+|\s"


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer of a step's directory.

    Raises UserError where there is none, or it is damaged.
    """
    path = directory / TOKENIZER
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the directory of a tokenizer or of a trained model")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise UserError(f"{path}: no tokenizer ({str(error).splitlines()[0]})") from error


def text_rows(directory: Path) -> Iterator[tuple[str, str]]:
    """Id and training text of every document or exercise of a step: tests of exercises are never trained on."""
    exercises = directory / "exercises.parquet"
    if exercises.is_file():
        for identity, prompt, solution in read_columns(exercises, ["id", "prompt", "solution"]):
            yield identity, prompt + solution
        return
    yield from read_columns(directory / "documents.parquet", ["id", "text"])


def total_bytes(directory: Path) -> int:
    """Bytes of training text in a step's directory."""
    return sum(len(text.encode("utf-8", "surrogatepass")) for _, text in text_rows(directory))


def chosen(identity: str, seed: int, share: float) -> bool:
    """Whether a row is in a random `share` of all rows: decided by its id, not by its place."""
    digest = hashlib.blake2b(f"{seed}/{identity}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def train_tokenizer(config: TokenizerStep, inputs: Inputs, work: Workspace) -> Result:
    """Train a BPE on a random sample of every input set: about `sample_bytes` of each. Writes `tokenizer.json`."""
    sampled: dict[str, int] = {}

    def texts() -> Iterator[str]:
        for name, directory in sorted(inputs.items()):
            share = config.tokenizer.sample_bytes / max(total_bytes(directory), 1)
            sampled[name] = 0
            for identity, text in text_rows(directory):
                if chosen(identity, config.seed, share):
                    sampled[name] += len(text.encode("utf-8", "surrogatepass"))
                    yield text

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.tokenizer.vocab_size,
        special_tokens=[AddedToken(END_OF_TEXT, special=True, normalized=False)],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    tokenizer.save(str(work.directory / TOKENIZER))
    return Result(facts={"vocab_size": tokenizer.get_vocab_size(), "sampled_bytes": sampled})
