"""Generation: against a loop without cache, alone and in company, streamed and whole."""

import itertools

import pytest
import torch

from hornbook.errors import UserError
from hornbook.model.decode import SPAN_ROWS, Decoding, Weights
from hornbook.model.generate import Sampling, TextGenerator
from hornbook.model.transformer import Phi
from hornbook.model.vocabulary import token_bytes
from hornbook.recipe import ModelConfig
from hornbook.tokens.tokenizer import train_bpe

SHAPE = ModelConfig(layers=2, hidden=32, heads=2, rotary_share=0.5, padded_vocab_size=None)
PROMPTS = ["def f(x):", "a", "", "class Näme:\n    pass\n\n\ndef g(self, y):\n    return y", "import os"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe(iter(["def f(x):\n    return x + 1\n\n\nclass A:\n    pass\n", "import os 12 ünï"]), 300)


@pytest.fixture(scope="module")
def model(tokenizer):
    model = Phi(
        ModelConfig(layers=2, hidden=32, heads=2, rotary_share=0.5, padded_vocab_size=None),
        tokenizer.get_vocab_size(),
        64,
    )
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
    done = TextGenerator(model, tokenizer).generate(PROMPTS, [], Sampling(30))
    assert [one.text for one in done] == [greedy_without_cache(model, tokenizer, prompt, 30) for prompt in PROMPTS]


@pytest.mark.parametrize("sampling", [Sampling(20), Sampling(20, 0.9, 0.8, seed=4)])
def test_company_changes_nothing(model, tokenizer, sampling):
    together = TextGenerator(model, tokenizer).generate(PROMPTS, [], sampling)
    assert TextGenerator(model, tokenizer).generate(PROMPTS[:2], [], sampling) == together[:2]
    assert TextGenerator(model, tokenizer).generate(PROMPTS[:1], [], sampling) == together[:1]


def test_sampling_is_its_seed(model, tokenizer):
    texts = {
        seed: TextGenerator(model, tokenizer).generate(PROMPTS, [], Sampling(20, 1.0, 1.0, seed)) for seed in (1, 2)
    }
    assert TextGenerator(model, tokenizer).generate(PROMPTS, [], Sampling(20, 1.0, 1.0, 1)) == texts[1]
    assert texts[1] != texts[2]


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1e-9), (1.0, 0.0), (1e-40, 1.0)])
def test_a_tiny_nucleus_is_greedy(model, tokenizer, temperature, top_p):
    sampled = TextGenerator(model, tokenizer).generate(PROMPTS, [], Sampling(20, temperature, top_p, 5))
    assert sampled == TextGenerator(model, tokenizer).generate(PROMPTS, [], Sampling(20))


def test_draws_follow_the_probabilities(model, tokenizer):
    logits = model(torch.tensor([[0, *tokenizer.encode("a").ids]]))[0, -1]
    best = logits.softmax(0).max().item()
    first = TextGenerator(model, tokenizer).generate(["a"], [], Sampling(1))[0].text
    drawn = TextGenerator(model, tokenizer).generate(["a"] * 400, [], Sampling(1, 1.0, 1.0, 11))
    share = sum(one.text == first for one in drawn) / 400
    assert abs(share - best) < 4 * (best * (1 - best) / 400) ** 0.5 + 1e-9


def test_a_stop_string_ends_a_row_and_only_that_row(model, tokenizer):
    free = TextGenerator(model, tokenizer).generate(PROMPTS, [], Sampling(30))
    stop = free[0].text[5:8]
    done = TextGenerator(model, tokenizer).generate(PROMPTS, [stop], Sampling(30))
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
    done = TextGenerator(model, tokenizer).generate(PROMPTS, [], Sampling(5))
    assert {(one.text, one.tokens, one.finish) for one in done} == {("", 1, "end of text")}
    assert list(TextGenerator(model, tokenizer).stream("a", Sampling(5))) == []
    with torch.no_grad():
        model.lm_head.bias.copy_(bias)


def test_a_long_prompt_is_cut_at_its_left(model, tokenizer):
    long = "x = 1\n" * 60 + "def f(x):"
    count = 1 + len(tokenizer.encode(long).ids)
    (done,) = TextGenerator(model, tokenizer).generate([long], [], Sampling(20))
    assert done.prompt_tokens_cut == count - (64 - 20)
    assert done.text == greedy_without_cache(model, tokenizer, long, 20)


def test_no_room_for_a_prompt_is_said(model, tokenizer):
    with pytest.raises(UserError, match="max_new_tokens is 64"):
        TextGenerator(model, tokenizer).generate(["a"], [], Sampling(64))


@pytest.mark.parametrize("seed", range(5))
def test_the_stream_joined_is_the_completion(model, tokenizer, seed):
    sampling = Sampling(40, 1.5, 1.0, seed)  # hot enough to break characters apart
    (whole,) = TextGenerator(model, tokenizer).generate(["a"], [], sampling)
    assert "".join(TextGenerator(model, tokenizer).stream("a", sampling)) == whole.text


def test_a_character_of_several_tokens_is_streamed_whole(tokenizer):
    """A model that knows one chain: after "a" the bytes of a snowman, one token each, and the end."""
    pieces = token_bytes(tokenizer)
    chain = [pieces.index(b"a"), *(pieces.index(bytes([byte])) for byte in "☃".encode()), 0]
    model = Phi(SHAPE, tokenizer.get_vocab_size(), 64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.model.final_layernorm.weight.fill_(1.0)
        for place, (token, following) in enumerate(itertools.pairwise(chain)):
            model.model.embed_tokens.weight[token, place] = 1.0
            model.lm_head.weight[following, place] = 1.0
    assert list(TextGenerator(model, tokenizer).stream("a", Sampling(10))) == ["☃"]


def test_padded_rows_are_never_written(model, tokenizer):
    entries = tokenizer.get_vocab_size()
    padded = Phi(SHAPE.model_copy(update={"padded_vocab_size": entries + 100}), entries, 64)
    state = padded.state_dict()
    for name, tensor in model.state_dict().items():
        state[name][: len(tensor)] = tensor
    padded.load_state_dict(state)
    with torch.no_grad():
        padded.lm_head.bias[entries:] = 1e4
    for sampling in (Sampling(20), Sampling(20, 0.9, 0.8, seed=4)):
        expected = TextGenerator(model, tokenizer).generate(PROMPTS, [], sampling)
        assert TextGenerator(padded, tokenizer).generate(PROMPTS, [], sampling) == expected


def test_many_rows_in_several_spans_are_what_each_is_alone(model, tokenizer):
    prompts = [f"x = {number}\n" * (number % 5) + "def f" for number in range(3 * SPAN_ROWS + 5)]
    writer = TextGenerator(model, tokenizer)
    done = writer.generate(prompts, ["\n", "1"], Sampling(12))  # stops, so that rows leave the batch
    assert len({one.tokens for one in done}) > 1
    assert done == [writer.generate([prompt], ["\n", "1"], Sampling(12))[0] for prompt in prompts]


def test_half_precision_stays_close(model, tokenizer):
    tokens = [[0, *tokenizer.encode(prompt).ids] for prompt in sorted(PROMPTS, key=len, reverse=True)]
    whole, half = (Decoding(Weights(model, dtype), tokens, 4).read() for dtype in (torch.float32, torch.bfloat16))
    assert half.dtype == torch.bfloat16
    assert (whole - half.float()).abs().max() < 0.1 * whole.std() * 3


def test_token_bytes_join_to_the_text(tokenizer):
    text = "def f(x):\n\treturn 'ünïcödé ☃ 🎉' + \r\n 1234"
    pieces = token_bytes(tokenizer)
    assert b"".join(pieces[token] for token in tokenizer.encode(text).ids).decode() == text


def broken(tokenizer):
    """A model that overflows behind one token alone: its other rows must not mind."""
    model = Phi(SHAPE, tokenizer.get_vocab_size(), 64)
    model.initialize(7)
    with torch.no_grad():
        model.model.embed_tokens.weight[tokenizer.encode("#").ids[0]] = float("inf")
    return TextGenerator(model.eval(), tokenizer)


@pytest.mark.parametrize("sampling", [Sampling(10), Sampling(10, 0.9, 0.8)])
def test_a_row_without_finite_logits_says_so_and_the_others_go_on(model, tokenizer, sampling):
    writer = broken(tokenizer)
    alone = writer.generate(["a", "import os"], [], sampling)
    made = writer.generate(["a", "import os", "a # b"], [], sampling)
    assert made[:2] == alone
    assert {one.finish for one in alone} <= {"length", "end of text"}
    assert (made[2].finish, made[2].text) == ("not finite", "")
    with pytest.raises(UserError, match="the model's logits are not finite"):
        list(writer.stream("a # b", sampling))
