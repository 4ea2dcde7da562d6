"""An OpenAI-compatible server of others answers the official client: what our client may rest on."""

import openai
import torch
from teacher.real_server import add_chat_template, make_tiny_model, serve_model, tiny_tokenizer

from hornbook.model.transformer import Phi
from hornbook.recipe import ModelConfig


def complete(directory, prompt, **fields):
    """What the official client gets from the model in `directory`."""
    with (
        serve_model(directory) as (base_url, model),
        openai.OpenAI(base_url=base_url, api_key="k", max_retries=0, timeout=60) as client,
    ):
        assert [each.id for each in client.models.list().data] == [model]
        return client.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}], **fields)


def test_a_chat_completion_with_usage(tmp_path):
    make_tiny_model(tmp_path)
    answer = complete(tmp_path, "Hello", max_completion_tokens=7, temperature=0.0)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (6, 7)  # five letters and the line end


def test_a_model_of_ours_is_served_as_it_is_saved_and_says_the_same(tmp_path):
    tokenizer = tiny_tokenizer()
    model = Phi(
        ModelConfig(layers=2, hidden=64, heads=4, rotary_share=0.5, padded_vocab_size=None),
        tokenizer.get_vocab_size(),
        64,
        0.0,
    )
    model.initialize(0)
    model.eval().save(tmp_path, 0)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    add_chat_template(tmp_path)
    prompt = tokenizer.encode("def add(a, b):\n").ids
    written = []
    with torch.no_grad():
        for _ in range(20):
            written.append(int(model(torch.tensor([prompt + written]))[0, -1].argmax()))
    answer = complete(tmp_path, "def add(a, b):", max_tokens=20)
    assert answer.choices[0].message.content == tokenizer.decode(written)
    assert answer.usage.prompt_tokens == len(prompt)
