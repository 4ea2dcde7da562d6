"""The decoder: exact size, an independent implementation of attention, causality, the Hugging Face format."""

import json
import math

import pytest
import torch

from hornbook.errors import UserError
from hornbook.model.decode import Decoding, Weights
from hornbook.model.shape import parameter_count
from hornbook.model.transformer import Phi, explicit_attention, gelu_tanh, load_model, rotate
from hornbook.model.transformer import rotary_tables as tables
from hornbook.recipe import ModelConfig

SMALL = ModelConfig(layers=2, hidden=32, heads=4, rotary_share=0.5, padded_vocab_size=None)


def small_model(context=24, seed=3):
    model = Phi(SMALL, 50, context)
    model.initialize(seed)
    with torch.no_grad():  # biases that are zero could be forgotten unnoticed
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0.0, 0.1, generator=torch.Generator().manual_seed(len(name)))
            if name.endswith("weight"):
                parameter.mul_(5.0)  # logits far from uniform
    return model.eval()


@pytest.mark.parametrize(
    ("layers", "hidden", "heads", "count"), [(24, 2048, 32, 1_418_270_720), (20, 1024, 16, 356_794_368)]
)
def test_parameter_counts_of_the_paper(layers, hidden, heads, count):
    config = ModelConfig(layers=layers, hidden=hidden, heads=heads, rotary_share=0.5, padded_vocab_size=None)
    assert parameter_count(config, 51_200) == count


def test_the_formula_counts_what_the_model_holds():
    model = Phi(SMALL, 50, 16)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameter_count(SMALL, 50)


def test_initialisation_is_the_seed_and_nothing_else():
    one, two, other = Phi(SMALL, 50, 16), Phi(SMALL, 50, 16), Phi(SMALL, 50, 16)
    one.initialize(1), two.initialize(1), other.initialize(2)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)
    wide = Phi(ModelConfig(layers=1, hidden=256, heads=4, rotary_share=0.5, padded_vocab_size=None), 500, 16)
    wide.initialize(0)
    assert wide.lm_head.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not wide.lm_head.bias.any()


def reference_logits(model, tokens):
    """The same network, one token and one head at a time, in float64, from the paper's description."""
    weights = {name: tensor.double() for name, tensor in model.state_dict().items()}
    width, heads = SMALL.hidden, SMALL.heads
    size = width // heads
    rotary = int(size * SMALL.rotary_share)

    def affine(x, name):
        return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]

    def norm(x, name):
        scaled = (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt()
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def turn(vector, position):
        out = vector.clone()
        for i in range(rotary // 2):
            angle = position * 10000.0 ** (-2 * i / rotary)
            a, b = vector[i].item(), vector[i + rotary // 2].item()
            out[i] = a * math.cos(angle) - b * math.sin(angle)
            out[i + rotary // 2] = b * math.cos(angle) + a * math.sin(angle)
        return out

    stream = [weights["model.embed_tokens.weight"][token] for token in tokens]
    for layer in range(SMALL.layers):
        at = f"model.layers.{layer}"
        normed = [norm(x, f"{at}.input_layernorm") for x in stream]
        keys = [affine(x, f"{at}.self_attn.k_proj") for x in normed]
        values = [affine(x, f"{at}.self_attn.v_proj") for x in normed]
        new = []
        for t, x in enumerate(normed):
            query, mixed = affine(x, f"{at}.self_attn.q_proj"), []
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)
                scores = torch.stack(
                    [turn(query[part], t) @ turn(keys[s][part], s) / math.sqrt(size) for s in range(t + 1)]
                )
                mixed.append(sum(w * values[s][part] for s, w in enumerate(scores.softmax(0))))
            inner = affine(x, f"{at}.mlp.fc1")
            inner = 0.5 * inner * (1 + torch.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)))
            new.append(stream[t] + affine(torch.cat(mixed), f"{at}.self_attn.dense") + affine(inner, f"{at}.mlp.fc2"))
        stream = new
    return torch.stack([affine(norm(x, "model.final_layernorm"), "lm_head") for x in stream])


def test_logits_equal_an_independent_implementation():
    model, tokens = small_model(), [3, 1, 4, 1, 5, 9, 2, 6]
    logits = model(torch.tensor([tokens]))[0]
    torch.testing.assert_close(logits.double(), reference_logits(model, tokens), rtol=1e-4, atol=1e-4)


def test_a_token_changes_nothing_before_it():
    model = small_model()
    one = torch.randint(0, 50, (1, 20), generator=torch.Generator().manual_seed(0))
    two = one.clone()
    two[0, 12] = (two[0, 12] + 1) % 50
    before, after = model(one), model(two)
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.allclose(before[:, 12:], after[:, 12:])


def test_explicit_attention_and_its_gradient_are_pytorchs():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, 17, 8, generator=generator, requires_grad=True) for _ in range(3))
    ours = explicit_attention(query, key, value, None, 0.0)
    theirs = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn(ours.shape, generator=generator)
    for one, two in zip(
        torch.autograd.grad((ours * weight).sum(), (query, key, value)),
        torch.autograd.grad((theirs * weight).sum(), (query, key, value)),
        strict=True,
    ):
        torch.testing.assert_close(one, two)


def test_the_compiled_form_of_gelu_is_gelu(monkeypatch):
    x = torch.linspace(-12, 12, 4001)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(gelu_tanh(x), torch.nn.functional.gelu(x, approximate="tanh"), rtol=1e-5, atol=1e-6)


def test_rotation_keeps_lengths_and_depends_on_distance_only():
    cosine, sine = tables(8, 32)
    vectors = torch.randn(2, 16, generator=torch.Generator().manual_seed(1))
    turned = rotate(vectors[:, None].expand(2, 32, 16), cosine, sine)
    torch.testing.assert_close(turned.norm(dim=-1), vectors.norm(dim=-1)[:, None].expand(2, 32))
    products = turned[0] @ turned[1].T
    torch.testing.assert_close(products.diagonal(5), products[0, 5].expand(27), rtol=1e-4, atol=1e-4)
    assert torch.equal(turned[..., 8:], vectors[:, None, 8:].expand(2, 32, 8))


def test_reading_through_the_cache_equals_reading_at_once():
    model = small_model()
    tokens = torch.randint(0, 50, (3, 18), generator=torch.Generator().manual_seed(2))
    lengths = torch.tensor([9, 4, 1])  # of the prompts; the rest is read token by token
    prompts = [row[:length].tolist() for row, length in zip(tokens, lengths.tolist(), strict=True)]
    decoding = Decoding(Weights(model, torch.float32), prompts, 7)
    with torch.inference_mode():
        logits = [decoding.read()]
        for step in range(6):
            logits.append(decoding.step(tokens[torch.arange(3), lengths + step]))
        whole = model(tokens)
    for row, length in enumerate(lengths.tolist()):
        for step, step_logits in enumerate(logits):
            torch.testing.assert_close(step_logits[row], whole[row, length - 1 + step], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("preset", "count"), [("phi-1", 1_418_270_720), ("phi-1-small", 356_794_368)])
def test_the_papers_models_hold_as_many_parameters(preset, count):
    config = ModelConfig.model_validate({"preset": preset})
    with torch.device("meta"):
        model = Phi(config, 50_295, 2048)
    assert len(model.lm_head.weight) == len(model.model.embed_tokens.weight) == 51_200
    assert sum(parameter.numel() for parameter in model.parameters()) == count == parameter_count(config, 50_295)


def test_too_few_rows_are_said():
    with pytest.raises(UserError, match="padded_vocab_size: 40 rows are fewer"):
        Phi(SMALL.model_copy(update={"padded_vocab_size": 40}), 50, 16)


def test_saved_and_loaded_is_the_same_model(tmp_path):
    model, tokens = small_model(), torch.arange(20)[None]
    model.save(tmp_path, 0)
    loaded = load_model(tmp_path)
    assert loaded.context == model.context
    assert torch.equal(loaded(tokens), model(tokens))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "config.json").unlink(), "config.json: not a phi's configuration"),
        (lambda d: (d / "config.json").write_text("{}"), "config.json: model_type is null"),
        (lambda d: (d / "config.json").write_text('{"model_type": "phi"}'), "config.json: not a phi's configuration"),
        (lambda d: (d / "model.safetensors").write_bytes(b"junk"), "model.safetensors: not the weights"),
        (lambda d: (d / "model.safetensors").unlink(), "model.safetensors: not the weights"),
        (
            lambda d: (d / "config.json").write_text((d / "config.json").read_text().replace(": 50", ": 51")),
            "model.safetensors: not the weights",
        ),
    ],
)
def test_a_damaged_model_is_one_line(tmp_path, damage, message):
    small_model().save(tmp_path, 0)
    damage(tmp_path)
    with pytest.raises(UserError) as caught:
        load_model(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_transformers_reads_the_directory_and_gives_the_same_logits(tmp_path):
    transformers = pytest.importorskip("transformers")
    model = small_model()
    model.save(tmp_path, 0)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(theirs).__name__ == "PhiForCausalLM"
    tokens = torch.randint(0, 50, (2, 24), generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(model(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-4)


def test_the_configuration_is_plain_json(tmp_path):
    small_model().save(tmp_path, 0)
    fields = json.loads((tmp_path / "config.json").read_text())
    assert fields["partial_rotary_factor"] == 0.5
    assert fields["architectures"] == ["PhiForCausalLM"]
