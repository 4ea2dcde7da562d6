"""Generation: against a loop without cache, alone and in company, streamed and whole."""

import pytest
import torch

from hornbook.errors import UserError
from hornbook.model.generate import Sampling, generate, stream
from hornbook.model.transformer import Phi
from hornbook.model.vocabulary import token_bytes
from hornbook.recipe import ModelConfig
from hornbook.tokens.tokenizer import train_bpe

PROMPTS = ["def f(x):", "a", "", "class Näme:\n    pass\n\n\ndef g(self, y):\n    return y", "import os"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe(iter(["def f(x):\n    return x + 1\n\n\nclass A:\n    pass\n", "import os 12 ünï"]), 300)


@pytest.fixture(scope="module")
def model(tokenizer):
    model = Phi(ModelConfig(layers=2, hidden=32, heads=2, rotary_share=0.5), tokenizer.get_vocab_size(), 64)
    model.initialize(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6.0)
    return model.eval()


def greedy_without_cache(model, tokenizer, prompt, count):
    tokens = [0, *tokenizer.encode(prompt).ids][-(model.context - count) :]
    start = len(tokens)
    for _ in range(count):
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
        if tokens[-1] == 0:
            break
    return b"".join(token_bytes(tokenizer)[token] for token in tokens[start:]).decode("utf-8", "replace")


def test_greedy_equals_a_loop_without_cache(model, tokenizer):
    done = generate(model, tokenizer, PROMPTS, [], Sampling(30))
    assert [one.text for one in done] == [greedy_without_cache(model, tokenizer, prompt, 30) for prompt in PROMPTS]


@pytest.mark.parametrize("sampling", [Sampling(20), Sampling(20, 0.9, 0.8, seed=4)])
def test_company_changes_nothing(model, tokenizer, sampling):
    together = generate(model, tokenizer, PROMPTS, [], sampling)
    assert generate(model, tokenizer, PROMPTS[:2], [], sampling) == together[:2]
    assert generate(model, tokenizer, PROMPTS[:1], [], sampling) == together[:1]


def test_sampling_is_its_seed(model, tokenizer):
    texts = {seed: generate(model, tokenizer, PROMPTS, [], Sampling(20, 1.0, 1.0, seed)) for seed in (1, 2)}
    assert generate(model, tokenizer, PROMPTS, [], Sampling(20, 1.0, 1.0, 1)) == texts[1]
    assert texts[1] != texts[2]


def test_a_tiny_nucleus_is_greedy(model, tokenizer):
    sampled = generate(model, tokenizer, PROMPTS, [], Sampling(20, 1.0, 1e-9, 5))
    assert sampled == generate(model, tokenizer, PROMPTS, [], Sampling(20))


def test_draws_follow_the_probabilities(model, tokenizer):
    logits = model(torch.tensor([[0, *tokenizer.encode("a").ids]]))[0, -1]
    best = logits.softmax(0).max().item()
    first = generate(model, tokenizer, ["a"], [], Sampling(1))[0].text
    drawn = generate(model, tokenizer, ["a"] * 400, [], Sampling(1, 1.0, 1.0, 11))
    share = sum(one.text == first for one in drawn) / 400
    assert abs(share - best) < 4 * (best * (1 - best) / 400) ** 0.5 + 1e-9


def test_a_stop_string_ends_a_row_and_only_that_row(model, tokenizer):
    free = generate(model, tokenizer, PROMPTS, [], Sampling(30))
    stop = free[0].text[5:8]
    done = generate(model, tokenizer, PROMPTS, [stop], Sampling(30))
    assert done[0].finish == "stop string"
    for one, whole in zip(done, free, strict=True):
        assert whole.text.startswith(one.text)
        if stop in whole.text:
            assert one.text.index(stop) == whole.text.index(stop)
            assert len(one.text) <= whole.text.index(stop) + len(stop) + 20
        else:
            assert one == whole


def test_end_of_text_ends_a_row(model, tokenizer):
    bias = model.lm_head.bias.clone()
    with torch.no_grad():
        model.lm_head.bias[0] = 1e4
    done = generate(model, tokenizer, PROMPTS, [], Sampling(5))
    assert {(one.text, one.tokens, one.finish) for one in done} == {("", 1, "end of text")}
    assert list(stream(model, tokenizer, "a", Sampling(5))) == []
    with torch.no_grad():
        model.lm_head.bias.copy_(bias)


def test_a_long_prompt_is_cut_at_its_left(model, tokenizer):
    long = "x = 1\n" * 60 + "def f(x):"
    count = 1 + len(tokenizer.encode(long).ids)
    (done,) = generate(model, tokenizer, [long], [], Sampling(20))
    assert done.prompt_tokens_cut == count - (64 - 20)
    assert done.text == greedy_without_cache(model, tokenizer, long, 20)


def test_no_room_for_a_prompt_is_said(model, tokenizer):
    with pytest.raises(UserError, match="max_new_tokens is 64"):
        generate(model, tokenizer, ["a"], [], Sampling(64))


@pytest.mark.parametrize("seed", range(5))
def test_the_stream_joined_is_the_completion(model, tokenizer, seed):
    sampling = Sampling(40, 1.5, 1.0, seed)  # hot enough to break characters apart
    (whole,) = generate(model, tokenizer, ["a"], [], sampling)
    assert "".join(stream(model, tokenizer, "a", sampling)) == whole.text


def test_a_character_of_several_tokens_is_streamed_whole(model, tokenizer):
    """Force the bytes of a snowman, one token each: nothing is shown until the last."""
    pieces = token_bytes(tokenizer)
    ids = [pieces.index(bytes([byte])) for byte in "☃".encode()]
    forced = iter([*ids, 0])

    class Forced(Phi):
        def extend(self, tokens, cache):
            logits = super().extend(tokens, cache)
            logits[:, next(forced)] = 1e6
            return logits

    model.__class__ = Forced
    try:
        assert list(stream(model, tokenizer, "a", Sampling(10))) == ["☃"]
    finally:
        model.__class__ = Phi


def test_token_bytes_join_to_the_text(tokenizer):
    text = "def f(x):\n\treturn 'ünïcödé ☃ 🎉' + \r\n 1234"
    pieces = token_bytes(tokenizer)
    assert b"".join(pieces[token] for token in tokenizer.encode(text).ids).decode() == text
