"""A model's tokenizer: which file it is, and which bytes its tokens stand for."""

from pathlib import Path

from tokenizers import Tokenizer

from hornbook.errors import UserError
from hornbook.model.transformer import END_OF_TEXT_ID

END_OF_TEXT = "<|endoftext|>"
TOKENIZER = "tokenizer.json"


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer in `tokenizer.json` of a model's or a tokenizer step's directory.

    The characters `<|endoftext|>` inside a text are encoded as text: only we end documents. Raises UserError where the
    file is missing, is no tokenizer, or does not hold end-of-text at id 0.
    """
    path = directory / TOKENIZER
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the directory of a trained model or of a tokenizer")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{path}: not a tokenizer ({' '.join(str(error).split())})") from error
    if tokenizer.token_to_id(END_OF_TEXT) != END_OF_TEXT_ID:
        raise UserError(f"{path}: {END_OF_TEXT} is not entry {END_OF_TEXT_ID}; use a tokenizer that hornbook trained")
    tokenizer.encode_special_tokens = True
    return tokenizer


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The bytes each token of a byte-level vocabulary stands for, by id; special tokens stand for none."""
    of_character = _byte_of_character()
    pieces = [b""] * tokenizer.get_vocab_size()
    for token, number in tokenizer.get_vocab(with_added_tokens=False).items():
        pieces[number] = bytes(of_character[character] for character in token if character in of_character)
    for number, added in tokenizer.get_added_tokens_decoder().items():
        pieces[number] = b"" if added.special else added.content.encode()
    return pieces


def _byte_of_character() -> dict[str, int]:
    """The printable characters by which byte-level vocabularies write bytes (GPT-2's table)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}
