"""A model's tokenizer: which file it is, how many entries it has, and which bytes they stand for."""

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from hornbook.errors import UserError

END_OF_TEXT = "<|endoftext|>"
TOKENIZER = "tokenizer.json"
VOCABULARY, MERGES, ADDED = "vocab.json", "merges.txt", "added_tokens.json"
TOKENIZER_FILES = (TOKENIZER, VOCABULARY, MERGES, ADDED)  # of others: the first alone, or those after it


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer in `tokenizer.json` of a model's or a tokenizer step's directory.

    The characters `<|endoftext|>` inside a text are encoded as text: only we end documents. Raises UserError where the
    file is missing, is no tokenizer, or has no entry for end-of-text.
    """
    path = directory / TOKENIZER
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the directory of a trained model or of a tokenizer")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{path}: not a tokenizer ({' '.join(str(error).split())})") from error
    if tokenizer.token_to_id(END_OF_TEXT) is None:
        raise UserError(f"{path}: has no entry {END_OF_TEXT}, by which documents end; use a tokenizer that has one")
    tokenizer.encode_special_tokens = True
    return tokenizer


PROBE = (
    "def f(x):\n\tif x  >=  10:\n        return [x, 'é', \"ß\"]\r\n\n\n   # Ω 漢字 🙂 ~^|\\ \x00\x7f end <|x|>   "
    + "".join(chr(code) for code in range(32, 591))
)


def read_foreign(directory: Path) -> Tokenizer:
    """A tokenizer of others: `tokenizer.json` if it is there, else the files of GPT-2's and CodeGen's form.

    Raises UserError where neither is there, and for a tokenizer that is not byte-level, adds a space before a text, or
    has no end-of-text: with it texts would not come back as they were.
    """
    if (directory / TOKENIZER).is_file():
        tokenizer, path = load_tokenizer(directory), directory / TOKENIZER
    elif (directory / VOCABULARY).is_file() and (directory / MERGES).is_file():
        tokenizer, path = _from_merges(directory), directory / VOCABULARY
    else:
        raise UserError(f"{directory}: holds neither {TOKENIZER} nor {VOCABULARY} and {MERGES}")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    kinds = json.loads(tokenizer.to_str())
    if (kinds.get("decoder") or {}).get("type") != "ByteLevel" or kinds.get("normalizer") is not None:
        raise UserError(f"{path}: is no byte-level tokenizer, as GPT-2's and CodeGen's are; use one of that kind")
    if '"add_prefix_space":true' in json.dumps(kinds.get("pre_tokenizer"), separators=(",", ":")):
        raise UserError(f"{path}: adds a space before every text; set add_prefix_space to false")
    _check_probe(tokenizer, path)
    return tokenizer


def _check_probe(tokenizer: Tokenizer, path: Path) -> None:
    """Raise UserError where a text with all that code and prose may hold does not come back, or not always alike."""
    pieces, probes = token_bytes(tokenizer), [tokenizer.encode(PROBE, add_special_tokens=False).ids for _ in range(3)]
    if any(b"".join(pieces[token] for token in probe) != PROBE.encode() for probe in probes):
        raise UserError(f"{path}: loses parts of a text; use a byte-level tokenizer, as GPT-2's and CodeGen's are")
    if json.loads(tokenizer.to_str())["model"].get("dropout") or probes[0] != probes[1]:
        raise UserError(f"{path}: reads the same text in different ways; set its model's dropout to null")


def _from_merges(directory: Path) -> Tokenizer:
    """The tokenizer of `vocab.json`, `merges.txt` and, where it is there, `added_tokens.json`."""
    try:
        tokenizer = Tokenizer(models.BPE.from_file(str(directory / VOCABULARY), str(directory / MERGES)))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
        added = {}
        if (directory / ADDED).is_file():
            added = json.loads((directory / ADDED).read_text(encoding="utf-8"))
        for token, number in sorted(added.items(), key=lambda item: item[1]):  # ids are given in this order
            if token != END_OF_TEXT:
                tokenizer.add_tokens([AddedToken(token, special=False)])
            if tokenizer.token_to_id(token) != number:
                raise ValueError(f"{ADDED}: the id {number} of {token!r} does not follow those before it")
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{directory}: not a tokenizer ({' '.join(str(error).split())})") from error
    tokenizer.encode_special_tokens = True
    return tokenizer


def end_of_text(tokenizer: Tokenizer) -> int:
    """The id that ends documents. Raises ValueError for a tokenizer that has none, which `load_tokenizer` refuses."""
    found: int | None = tokenizer.token_to_id(END_OF_TEXT)
    if found is None:
        raise ValueError(f"the tokenizer has no entry {END_OF_TEXT}")
    return found


def entries(tokenizer: Tokenizer) -> int:
    """One more than the largest id: the rows a model needs, also where ids are missing in between."""
    return max(tokenizer.get_vocab().values()) + 1


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The bytes each token of a byte-level vocabulary stands for, by id; special tokens stand for none."""
    of_character = _byte_of_character()
    pieces = [b""] * entries(tokenizer)
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
