"""Numbers that describe a text for the classifier, Python or prose, without a syntax tree.

They count form (lines, words, operators, comments, imports, sentences) and words of grammar, never which other words: a
hash of the identifiers would tell the classifier the package a file came from, and it would learn the source in place
of the quality. The rates are per word or per line, so that a long file is not a good file by its length.
"""

import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from math import log1p

import numpy as np
from numpy.typing import NDArray

FEATURES_VERSION = 2  # raise it when a feature changes: a stored classifier fits one version only
READ_CHARACTERS = 200_000  # of a longer text only the head is read; its whole length still counts
COMPRESSED_CHARACTERS = 30_000

# fmt: off
KEYWORDS = (
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "elif", "else", "except", "finally",
    "for", "from", "global", "if", "import", "in", "is", "lambda", "not", "or", "pass", "raise", "return", "try",
    "while", "with", "yield", "None", "True", "False", "self", "cls", "print", "len", "range",
)
# fmt: on
OPERATORS = ("=", "==", "<", ">", "+", "-", "*", "/", "%", "[", "{", "(", ".", ",", ":", "@", "->")

# Every unterminated string ends at the end of its line, or of the text for three quotes: one pass, no going back.
STRING_OR_COMMENT = re.compile(
    r'"""(?:[^"\\]++|\\.|"(?!""))*+(?:"""|\Z)?'
    r"|'''(?:[^'\\]++|\\.|'(?!''))*+(?:'''|\Z)?"
    r'|"(?:[^"\\\n]++|\\.)*+"?'
    r"|'(?:[^'\\\n]++|\\.)*+'?"
    r"|\#[^\n]*",
    re.S,
)
WORD = re.compile(r"[^\W\d]\w*")
NUMBER = re.compile(r"(?<!\w)\d[\w.]*")
IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import\b|import[ \t]+([\w.]+))", re.M)
DEFINITION = re.compile(r"^([ \t]*)(?:async[ \t]+)?def[ \t]+\w+[ \t]*\(([^\n]*)", re.M)
CLASS = re.compile(r"^[ \t]*class[ \t]+\w+", re.M)
DECORATOR = re.compile(r"^[ \t]*@\w", re.M)
SELF_STORE = re.compile(r"^[ \t]*self\.\w+[ \t]*=(?!=)", re.M)
SELF_USE = re.compile(r"\bself\.\w")
PLAIN_ASSIGNMENT = re.compile(r"^\w+[ \t]*(?::[^=\n]+)?=(?!=)", re.M)
FIELD = re.compile(r"^[ \t]+\w+[ \t]*:[ \t]*[\w\"'\[\]., |]+(?:=[^\n]*)?$", re.M)
DOC_WORD = re.compile(r"[A-Za-z]{2,}")
GENERATED = re.compile(r"(?i)do not edit|generated|autogen")
LICENCE = re.compile(r"(?i)copyright|licen[cs]e|warrant")
TESTING = re.compile(r"\b(?:def test|class Test|assert|assert[A-Z]\w+|pytest|unittest)")

# Of prose. Sentences end in one mark after a letter or figure, before a capital or at the end of a line.
PROSE_WORD = re.compile(r"[A-Za-z]+")
SENTENCE_END = re.compile(r"[a-z0-9)][.!?](?=\s+[A-Z]|[ \t]*$)", re.M)
LINK = re.compile(r"https?://|www\.|\]\(")
MARKED = "*-#|=.:<>`+["  # what lines of lists, tables, headings and markup begin with
# fmt: off
GRAMMAR_WORDS = (
    "the", "of", "and", "to", "in", "a", "is", "that", "it", "for", "as", "with", "be", "on", "by", "are", "this", "or",
    "an", "from", "at", "not", "which", "have", "can", "its", "has", "was",
)
REASONING_WORDS = (
    "because", "since", "therefore", "thus", "hence", "so", "why", "if", "when", "although", "however", "whereas",
    "while", "than", "example", "instance",
)
# fmt: on
LONG_PARAGRAPH = 200  # characters: of a few sentences

SHAPE_NAMES = (
    "log_characters",
    "log_lines",
    "line_length_mean",
    "line_length_max_log",
    "line_length_deviation",
    "blank_line_share",
    "comment_line_share",
    "doc_line_share",
    "string_character_share",
    "digit_share",
    "number_rate",
    "non_ascii_share",
    "capital_share",
    "indent_mean",
    "indent_max",
    "flush_line_share",
    "byte_entropy",
    "compressed_share",
    "repeated_line_share",
    "words_per_line",
    "distinct_word_share",
    "word_length_mean",
    "word_length_deviation",
    "short_word_share",
    "private_word_share",
    "constant_word_share",
)
CODE_NAMES = (
    "import_rate",
    "import_standard_share",
    "import_relative_share",
    "functions_per_line",
    "method_share",
    "lines_per_function",
    "lines_per_function_max_log",
    "no_argument_function_share",
    "starred_function_share",
    "annotated_function_share",
    "classes_per_function",
    "decorators_per_function",
    "self_store_rate",
    "self_use_rate",
    "plain_assignment_rate",
    "field_rate",
    "doc_words_per_function",
    "documented_function_share",
    "example_rate",
    "testing_rate",
    "licence_in_head",
    "generated_in_head",
    "loops_per_function",
    "branches_per_function",
    "returns_per_function",
)
PROSE_NAMES = (
    "grammar_word_share",
    "reasoning_word_share",
    "capitalised_word_share",
    "letter_share",
    "sentences_per_word",
    "commas_per_word",
    "links_per_word",
    "marked_line_share",
    "long_paragraph_share",
)
FEATURE_NAMES = (
    *SHAPE_NAMES,
    *CODE_NAMES,
    *PROSE_NAMES,
    *(f"keyword_{word}" for word in KEYWORDS),
    *(f"operator_{sign}" for sign in OPERATORS),
)


def text_features(text: str) -> NDArray[np.float64]:
    """The features of one text, in the order of FEATURE_NAMES; all finite."""
    head = text[:READ_CHARACTERS]
    code, comments, strings, docs = _split(head)
    words = Counter(WORD.findall(code))
    total_words = max(1, words.total())
    values = [
        *_shape(text, head, strings, comments, docs, words),
        *_code(head, code, docs, words),
        *_prose(head),
        *(words[word] / total_words for word in KEYWORDS),
        *(code.count(sign) / total_words for sign in OPERATORS),
    ]
    return np.array(values, np.float64)


def features_of(texts: Iterable[str]) -> NDArray[np.float64]:
    """The features of texts, [text, feature]."""
    rows = [text_features(text) for text in texts]
    return np.stack(rows) if rows else np.zeros((0, len(FEATURE_NAMES)))


def _split(head: str) -> tuple[str, list[str], list[str], list[str]]:
    """The code without comments and with empty strings; the comments; all strings; the strings that begin a line."""
    code: list[str] = []
    comments: list[str] = []
    strings: list[str] = []
    docs: list[str] = []
    end = 0
    for match in STRING_OR_COMMENT.finditer(head):
        start = match.start()
        between = head[end:start]
        code.append(between)
        end = match.end()
        token = match.group()
        if token[0] == "#":
            comments.append(token)
            continue
        code.append('""')
        strings.append(token)
        if token[:3] in ('"""', "'''") and not between.rpartition("\n")[2].strip(" \trRuUbB"):
            docs.append(token)
    code.append(head[end:])
    return "".join(code), comments, strings, docs


def _shape(
    text: str, head: str, strings: list[str], comments: list[str], docs: list[str], words: Counter[str]
) -> list[float]:
    lines = head.split("\n")
    lengths = np.fromiter(map(len, lines), np.float64, len(lines))
    stripped = [line.lstrip(" \t") for line in lines]
    indents = lengths - np.fromiter(map(len, stripped), np.float64, len(lines))
    filled = [line for line in stripped if line]
    written = max(1, len(filled))
    has_text = np.fromiter(map(bool, stripped), np.bool_, len(lines))
    indents = indents[has_text] if filled else np.zeros(1)
    raw = head.encode("utf-8", "surrogatepass")
    bytes_seen = np.bincount(np.frombuffer(raw, np.uint8), minlength=256)
    size = max(1, len(raw))
    shares = bytes_seen[bytes_seen > 0] / size
    word_lengths = np.fromiter(map(len, words), np.float64, len(words)) if words else np.zeros(1)
    distinct = max(1, len(words))
    sample = head[:COMPRESSED_CHARACTERS].encode("utf-8", "surrogatepass")
    return [
        log1p(len(text)),
        log1p(text.count("\n")),
        float(lengths.mean()),
        log1p(float(lengths.max())),
        log1p(float(lengths.std())),
        1 - len(filled) / len(lines),
        len(comments) / written,
        sum(doc.count("\n") + 1 for doc in docs) / written,
        sum(map(len, strings)) / max(1, len(head)),
        float(bytes_seen[48:58].sum()) / size,
        len(NUMBER.findall(head)) / written,
        float(bytes_seen[128:].sum()) / size,
        float(bytes_seen[65:91].sum()) / size,
        float(indents.mean()),
        float(indents.max()) if indents.max() < 200 else 200.0,
        float((indents == 0).mean()),
        float(-(shares * np.log2(shares)).sum()) if len(raw) else 0.0,
        len(zlib.compress(sample, 1)) / max(1, len(sample)),
        1 - len(set(filled)) / written,
        words.total() / written,
        len(words) / max(1, words.total()),
        float(word_lengths.mean()),
        float(word_lengths.std()),
        float((word_lengths <= 2).sum()) / distinct,
        sum(word[0] == "_" for word in words) / distinct,
        sum(word.isupper() for word in words) / distinct,
    ]


def _code(head: str, code: str, docs: list[str], words: Counter[str]) -> list[float]:
    lines = code.count("\n") + 1
    imports = [relative_or_from or plain for relative_or_from, plain in IMPORT.findall(code)]
    relative = sum(name[0] == "." for name in imports)
    standard = sum(name.partition(".")[0] in sys.stdlib_module_names for name in imports)
    definitions = list(DEFINITION.finditer(code))
    functions = max(1, len(definitions))
    arguments = [match.group(2) for match in definitions]
    places = [match.start() for match in definitions] + [len(code)]
    spans = [code.count("\n", start, end) for start, end in pairwise(places)] or [0]
    doc_words = sum(len(DOC_WORD.findall(doc)) for doc in docs)
    beginning = head[:2000]
    return [
        len(imports) / lines,
        standard / max(1, len(imports)),
        relative / max(1, len(imports)),
        len(definitions) / lines,
        sum(bool(match.group(1)) for match in definitions) / functions,
        sum(spans) / functions,
        log1p(max(spans)),
        sum(argument.startswith((")", "self)")) for argument in arguments) / functions,
        sum("*" in argument for argument in arguments) / functions,
        sum("->" in argument for argument in arguments) / functions,
        len(CLASS.findall(code)) / functions,
        len(DECORATOR.findall(code)) / functions,
        len(SELF_STORE.findall(code)) / lines,
        len(SELF_USE.findall(code)) / lines,
        len(PLAIN_ASSIGNMENT.findall(code)) / lines,
        len(FIELD.findall(code)) / lines,
        log1p(doc_words / functions),
        min(2.0, len(docs) / functions),
        head.count(">>>") / lines,
        len(TESTING.findall(code)) / lines,
        float(len(LICENCE.findall(beginning))),
        float(len(GENERATED.findall(beginning))),
        (words["for"] + words["while"]) / functions,
        (words["if"] + words["elif"]) / functions,
        words["return"] / functions,
    ]


def _prose(head: str) -> list[float]:
    words = PROSE_WORD.findall(head)
    total = max(1, len(words))
    lower = Counter(map(str.lower, words))
    lines = [line.lstrip() for line in head.split("\n") if line.strip()]
    paragraphs = [paragraph for paragraph in head.split("\n\n") if paragraph.strip()]
    long = [part for part in paragraphs if len(part) >= LONG_PARAGRAPH and SENTENCE_END.search(part)]
    return [
        sum(lower[word] for word in GRAMMAR_WORDS) / total,
        sum(lower[word] for word in REASONING_WORDS) / total,
        sum(word[0].isupper() for word in words) / total,
        sum(map(len, words)) / max(1, len(head)),
        len(SENTENCE_END.findall(head)) / total,
        head.count(",") / total,
        len(LINK.findall(head)) / total,
        sum(line[0] in MARKED for line in lines) / max(1, len(lines)),
        len(long) / max(1, len(paragraphs)),
    ]
