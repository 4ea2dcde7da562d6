"""Log-likelihoods: against one token at a time, in any company, and windows that miss nothing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hornbook.model import score
from hornbook.model.decode import Weights
from hornbook.model.generate import Sampling, decode
from hornbook.model.score import score_continuations, windows_of
from hornbook.model.transformer import Phi
from hornbook.recipe import ModelConfig

ENTRIES = 50


@pytest.fixture(scope="module")
def phi():
    shape = ModelConfig(layers=2, hidden=32, heads=2, rotary_share=0.5, padded_vocab_size=64)
    model = Phi(shape, ENTRIES, 48)
    model.initialize(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6.0)
    return model.eval()


@pytest.fixture(scope="module")
def pairs(phi):
    """Continuations of all lengths after contexts of all lengths; every third is what greedy generation writes."""
    tokens = torch.randint(0, ENTRIES, (30, 40), generator=torch.Generator().manual_seed(1)).tolist()
    made = [(row[: 1 + place % 17], row[20 : 21 + place % 11]) for place, row in enumerate(tokens)]
    for place in range(0, 30, 3):
        steps = decode(Weights(phi, torch.float32), [made[place][0]], Sampling(9), [True])
        made[place] = made[place][0], [token for ((_, token),) in steps]
    return made


def one_at_a_time(phi, context, target):
    total, ids, greedy = 0.0, list(context), True
    for token in target:
        with torch.no_grad():
            logits = phi(torch.tensor([ids]))[0, -1].double()
        total += float(logits.log_softmax(0)[token])
        greedy &= int(logits[:ENTRIES].argmax()) == token
        ids.append(token)
    return total, len(target), greedy


def test_each_token_at_a_time_gives_the_same(phi, pairs):
    read = []
    scored = score_continuations(phi, pairs, read.append)
    assert sum(read) == sum(len(context) + len(target) for context, target in pairs)
    assert {one.is_greedy for one in scored[::3]} == {True}
    assert not all(one.is_greedy for one in scored)
    for one, (context, target) in zip(scored, pairs, strict=True):
        value, count, greedy = one_at_a_time(phi, context, target)
        assert one.log_probability == pytest.approx(value, rel=1e-5)
        assert (one.tokens, one.is_greedy) == (count, greedy)


@pytest.mark.parametrize(("batch_tokens", "logits"), [(1, 64), (100, 7 * 64), (10**6, 2**24)])
def test_company_changes_rounding_only(phi, pairs, monkeypatch, batch_tokens, logits):
    expected = score_continuations(phi, pairs, lambda count: None)
    monkeypatch.setattr(score, "BATCH_TOKENS", batch_tokens)
    monkeypatch.setattr(score, "LOGITS", logits)
    for one, other in zip(score_continuations(phi, pairs[::-1], lambda count: None)[::-1], expected, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, rel=1e-6)
        assert (one.tokens, one.is_greedy) == (other.tokens, other.is_greedy)


def test_what_begins_alike_is_read_once(phi, monkeypatch):
    """An exam: examples that all questions share, questions, choices of up to three tokens."""
    draw = torch.Generator().manual_seed(3)
    tokens = torch.randint(0, ENTRIES, (40, 12), generator=draw).tolist()
    examples = tokens[0]
    contexts = [examples + tokens[question][: 3 + question % 5] for question in range(1, 6)]
    exam = [(context, tokens[10 + choice][: 1 + choice % 3]) for context in contexts for choice in range(4)]
    exam.append(exam[0])  # the same choice twice is the same number twice
    read, features = [], phi.features
    monkeypatch.setattr(phi, "features", lambda ids, *a, **k: read.append(ids.numel()) or features(ids, *a, **k))
    scored = score_continuations(phi, exam, lambda count: None)
    assert sum(read) < sum(len(context) + len(target) for context, target in exam) / 4
    assert scored[0] == scored[-1]
    for one, (context, target) in zip(scored, exam, strict=True):
        value, count, greedy = one_at_a_time(phi, context, target)
        assert one.log_probability == pytest.approx(value, rel=1e-5)
        assert (one.tokens, one.is_greedy) == (count, greedy)


def test_an_empty_continuation_is_certain(phi):
    (one,) = score_continuations(phi, [([1, 2], [])], lambda count: None)
    assert (one.log_probability, one.tokens, one.is_greedy) == (0.0, 0, True)


@given(st.integers(1, 40), st.integers(0, 60), st.integers(2, 20))
def test_windows_predict_every_target_token_once_in_order(before, count, length):
    context, target = list(range(before)), list(range(1000, 1000 + count))
    predicted = []
    for piece, first in windows_of(context, target, length):
        assert 1 <= first < len(piece) <= length + 1
        predicted += piece[first:]
    assert predicted == target


def test_a_target_that_fits_is_read_after_its_whole_context():
    assert list(windows_of([1, 2, 3], [4, 5], 4)) == [([1, 2, 3, 4, 5], 3)]
