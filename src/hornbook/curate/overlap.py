"""Which word n-grams of many texts also stand in the test sets, and whose they are."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

WORD = re.compile(r"\w+")
# A text of fewer words than an n-gram counts as a whole, down to this many: the shortest n of GPT-3's decontamination
# (Brown et al. 2020, appendix C), and short enough for the one-line statements of MBPP.
SHORTEST = 8
# At least half of the words of an n-gram have two letters or more. Without this rule 35 of the 39 files that n-grams of
# MBPP found in 60 MB of installed packages were tables: `1 2 3 4 5 …`, `0 0 0 0 …`, `a b c d …`.
TELLING = re.compile(r"[^\W\d_]{2}")
UNKNOWN = 0  # the number of every word that stands in no test set

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Needles:
    """What a worker needs to find suspects: no words, no owners."""

    vocabulary: dict[str, int]
    hashes: dict[int, npt.NDArray[np.uint64]]  # of the n-grams, sorted, by their length

    def suspects(self, texts: Sequence[str]) -> list[int]:
        """The positions of the texts that share the hash of an n-gram with a test set: all that share one, and with
        64-bit hashes hardly any other."""
        if not texts or not self.hashes:
            return []
        look_up = self.vocabulary.get
        numbers = [[look_up(word, UNKNOWN) for word in words_of(text)] for text in texts]
        # One array for all texts; the unknown word between two of them keeps n-grams inside their text.
        ends = np.cumsum([len(text) + 1 for text in numbers])
        joined = np.fromiter(chain.from_iterable((*text, UNKNOWN) for text in numbers), np.int64, ends[-1])
        starts = np.concatenate([_where(joined, length, hashes) for length, hashes in self.hashes.items()])
        return [int(position) for position in np.unique(np.searchsorted(ends, starts, side="right"))]


def words_of(text: str) -> list[str]:
    """The words that n-grams are made of: letters, digits and underscores, in lower case, without punctuation."""
    return WORD.findall(text.lower())


def _known_windows(numbers: Numbers, length: int) -> Numbers:
    """Where a window of that many known words begins."""
    unknown = np.concatenate(([0], np.cumsum(numbers == UNKNOWN)))
    if len(unknown) <= length:
        return np.empty(0, np.int64)
    return np.flatnonzero(unknown[length:] == unknown[:-length])


def _hashes(numbers: Numbers, starts: Numbers, length: int) -> npt.NDArray[np.uint64]:
    """A polynomial hash modulo 2**64 of each window; the odd multiplier is Knuth's for linear congruences."""
    hashes = np.zeros(len(starts), np.uint64)
    for offset in range(length):
        hashes = hashes * np.uint64(6364136223846793005) + numbers[starts + offset].astype(np.uint64)
        hashes ^= hashes >> np.uint64(29)
    return hashes


def _where(numbers: Numbers, length: int, hashes: npt.NDArray[np.uint64]) -> Numbers:
    starts = _known_windows(numbers, length)
    found = _hashes(numbers, starts, length)
    nearest = np.minimum(np.searchsorted(hashes, found), len(hashes) - 1)
    shared: Numbers = starts[hashes[nearest] == found]
    return shared


@dataclass(frozen=True, slots=True)
class Overlap:
    """A stretch of words that a text shares with a problem."""

    task_id: str
    span: str


class NgramIndex:
    """The n-grams of test problems, each with all of its owners."""

    def __init__(self, pieces: Iterable[tuple[str, str]], n: int) -> None:
        """`pieces` are (task id, text of the problem); a problem may have several."""
        self.owners: dict[tuple[str, ...], tuple[str, ...]] = {}
        for task_id, text in pieces:
            words = tuple(words_of(text))
            length = min(n, len(words))
            if length < min(n, SHORTEST):
                continue
            for start in range(len(words) - length + 1):
                gram = words[start : start + length]
                if 2 * sum(1 for word in gram if TELLING.search(word)) < length:
                    continue
                owners = self.owners.get(gram, ())
                if task_id not in owners:
                    self.owners[gram] = (*owners, task_id)
        self.lengths = sorted({len(gram) for gram in self.owners})

    def needles(self) -> Needles:
        """The part of the index that finds suspects."""
        vocabulary: dict[str, int] = {}
        by_length: dict[int, list[list[int]]] = {length: [] for length in self.lengths}
        for gram in self.owners:
            numbers = [vocabulary.setdefault(word, len(vocabulary) + 1) for word in gram]
            by_length[len(gram)].append(numbers)
        hashes = {}
        for length, grams in by_length.items():
            flat = np.array(grams, np.int64).reshape(-1)
            hashes[length] = np.unique(_hashes(flat, np.arange(0, len(flat), length), length))
        return Needles(vocabulary, hashes)

    def overlaps(self, text: str) -> list[Overlap]:
        """For every problem that shares an n-gram with the text, its longest shared stretch, by task id."""
        words = words_of(text)
        longest: dict[str, tuple[int, int]] = {}  # start and end, in words
        running: dict[str, tuple[int, int]] = {}
        for length in self.lengths:
            for start in range(len(words) - length + 1):
                for task_id in self.owners.get(tuple(words[start : start + length]), ()):
                    end = start + length
                    begun, last_end = running.get(task_id, (start, end - 1))
                    if last_end < end - 1:  # the window before this one was not shared
                        begun = start
                    running[task_id] = (begun, end)
                    best = longest.get(task_id, (0, 0))
                    if end - begun > best[1] - best[0]:
                        longest[task_id] = (begun, end)
            running.clear()
        return [Overlap(task_id, " ".join(words[begun:end])) for task_id, (begun, end) in sorted(longest.items())]
