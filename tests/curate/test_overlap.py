"""N-gram look-up against a plain scan of strings."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from hornbook.curate.overlap import SHORTEST, NgramIndex, words_of

WORDS = [f"word{letter}" for letter in "abcdefgh"]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join), max_size=6)


def naive_owners(pieces, text, n):
    """Task ids of the pieces that share n words in a row with the text; shorter pieces count whole."""
    padded = f" {' '.join(words_of(text))} "
    owners = set()
    for task_id, piece in pieces:
        words = words_of(piece)
        length = min(n, len(words))
        if length >= min(n, SHORTEST):
            for start in range(len(words) - length + 1):
                if f" {' '.join(words[start : start + length])} " in padded:
                    owners.add(task_id)
    return owners


@settings(max_examples=150, deadline=None)
@given(pieces=TEXTS, texts=TEXTS, n=st.sampled_from([3, 8, 10]))
def test_owners_are_those_of_a_plain_scan(pieces, texts, n):
    named = [(f"task/{number % 4}", piece) for number, piece in enumerate(pieces)]
    index = NgramIndex(named, n)
    expected = [naive_owners(named, text, n) for text in texts]
    assert [{overlap.task_id for overlap in index.overlaps(text)} for text in texts] == expected
    assert index.needles().suspects(texts) == [position for position, owners in enumerate(expected) if owners]


def test_suspects_among_many_random_texts():
    rng = random.Random(1)
    vocabulary = [f"w{a}{b}" for a in "abcdefghij" for b in "klmnopqrst"]
    pieces = [(f"t/{n}", " ".join(rng.choices(vocabulary, k=40))) for n in range(50)]
    texts = [" ".join(rng.choices(vocabulary, k=300)) for _ in range(200)]
    planted = sorted(rng.sample(range(200), 20))
    for position in planted:
        words = texts[position].split()
        piece = rng.choice(pieces)[1].split()
        start, place = rng.randrange(28), rng.randrange(280)
        words[place : place + 13] = piece[start : start + 13]
        texts[position] = ", ".join(words).upper()
    near_miss = next(p for p in range(200) if p not in planted)
    texts[near_miss] += " " + " ".join(pieces[0][1].split()[:12])
    index = NgramIndex(pieces, 13)
    assert index.needles().suspects(texts) == planted
    assert [p for p, text in enumerate(texts) if index.overlaps(text)] == planted


def test_an_ngram_does_not_run_from_one_text_into_the_next():
    piece = " ".join(WORDS)
    needles = NgramIndex([("t", piece)], 8).needles()
    halves = [" ".join(WORDS[:4]), " ".join(WORDS[4:])]
    assert needles.suspects(halves) == []
    assert needles.suspects([" ".join(halves)]) == [0]


def test_every_owner_is_named_with_its_longest_stretch():
    rng = random.Random(2)
    shared = [f"shared{n}" for n in range(20)]
    one = " ".join(["one"] * 5 + shared)
    other = " ".join(shared[:14] + ["other"] * 5)
    index = NgramIndex([("a", one), ("b", other), ("c", " ".join(rng.sample(shared, 20)))], 13)
    text = "before " + " ".join(shared) + " after " + " ".join(shared[2:16])
    overlaps = {overlap.task_id: overlap.span for overlap in index.overlaps(text)}
    assert overlaps == {"a": " ".join(shared), "b": " ".join(shared[:14])}


def test_numbers_and_single_letters_are_no_evidence():
    counting = " ".join(str(n) for n in range(40))
    letters = "a b c d e f g h i j k l m n o p"
    index = NgramIndex(
        [("t", counting), ("u", letters), ("v", counting + " return the list of all odd numbers up to n")], 13
    )
    assert index.overlaps(counting) == []
    assert index.overlaps(letters) == []
    assert [o.task_id for o in index.overlaps("36 37 38 39 return the list of all odd numbers up to n")] == ["v"]


def test_case_and_punctuation_do_not_hide_an_overlap():
    index = NgramIndex([("t", "Return the list of all prime numbers below the given limit, in order.")], 13)
    hidden = "return THE\n    list -- of all (prime) numbers: below the 'given' limit? In order!"
    assert [overlap.task_id for overlap in index.overlaps(hidden)] == ["t"]
    assert index.needles().suspects([hidden]) == [0]


def test_an_index_of_nothing_finds_nothing():
    index = NgramIndex([("t", "too short")], 13)
    assert index.needles().suspects(["too short", "too short " * 20]) == []
    assert index.overlaps("too short " * 20) == []
