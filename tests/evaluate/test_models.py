"""What models answer: ours and transformers' on the same export, the harness's own reading of pairs, any batch."""

import json
import random
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_tokenizer import tiny_tokenizer
from tokenizers import Tokenizer

from hornbook.errors import UserError
from hornbook.evaluate.models import PhiModel, TransformersModel, encode_pairs, open_language_model
from hornbook.model import score
from hornbook.model.pretrained import export_directory
from hornbook.model.transformer import Phi
from hornbook.recipe import ModelConfig, PretrainedConfig

CONTEXT = 96
SENTENCE = "the cat sat on a mat and counted one two three red blue stars before it went home again"
WORDS = SENTENCE.split()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    (folder / "own").mkdir()
    tokenizer = tiny_tokenizer([" ".join(WORDS)] * 3)
    tokenizer.save(str(folder / "own" / "tokenizer.json"))
    shape = ModelConfig(layers=2, hidden=32, heads=2, rotary_share=0.5, padded_vocab_size=None)
    phi = Phi(shape, tokenizer.get_vocab_size(), CONTEXT)
    phi.initialize(3)
    with torch.no_grad():
        for parameter in phi.parameters():
            parameter.mul_(6.0)
    phi.save(folder / "own", tokenizer.token_to_id("<|endoftext|>"))
    export_directory(folder / "own", folder / "export", torch.float32, 5 * 10**9)
    return folder / "export"


@pytest.fixture(scope="module")
def ours(exported):
    return open_language_model(PretrainedConfig(model=str(exported), revision=None), "tiny", "float32", "cpu")


@pytest.fixture(scope="module")
def theirs(exported):
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32).eval()
    return TransformersModel(model, transformers.AutoTokenizer.from_pretrained(exported), {"name": "tiny"})


@pytest.fixture(scope="module")
def pairs():
    """Contexts of none to too many words, with and without white space at their end; choices share them."""
    draw = random.Random(2)
    found = [("", "the cat"), ("the cat ", "sat"), ("   ", "sat")]
    for count in (1, 3, 8, 20, 60, 90):
        context = " ".join(draw.choices(WORDS, k=count)) + draw.choice(["", " ", "\n"])
        found += [(context, " " + " ".join(draw.choices(WORDS, k=draw.randint(1, 6)))) for _ in range(4)]
    return found


def test_a_phi_is_read_by_our_own_code(ours):
    assert isinstance(ours, PhiModel)
    assert ours.describe()["engine"] == "hornbook"


def test_our_code_and_transformers_answer_alike(ours, theirs, pairs):
    for one, other in zip(ours.log_likelihoods(pairs), theirs.log_likelihoods(pairs), strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, rel=2e-5)
        assert one.tokens == other.tokens


def test_lm_evaluation_harness_answers_alike(ours, exported, pairs):
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    peer = HFLM(pretrained=str(exported), dtype="float32", device="cpu", batch_size=4)
    asked = [pair for pair in pairs if pair[0].strip() or not pair[0]]  # it has no answer to a context of blanks
    requests = [Instance("loglikelihood", {}, pair, place) for place, pair in enumerate(asked)]
    for one, (value, is_greedy) in zip(
        ours.log_likelihoods(asked), peer.loglikelihood(requests, disable_tqdm=True), strict=True
    ):
        assert one.log_probability == pytest.approx(float(value), rel=2e-5)
        assert one.is_greedy == is_greedy


def test_answers_depend_on_their_company_by_rounding_only(ours, pairs, monkeypatch):
    whole = ours.log_likelihoods(pairs)
    monkeypatch.setattr(score, "BATCH_TOKENS", 1)
    alone = [ours.log_likelihoods([pair])[0] for pair in pairs]
    for one, other in zip(whole, alone, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, rel=1e-5)
    prompts = ["the cat", "a mat and", "one two three red blue"]
    together = ours.complete(prompts, ("\n",), 12)
    assert together == [ours.complete([prompt], ("\n",), 12)[0] for prompt in prompts]


def test_completions_of_both_are_the_same_and_end_before_the_stop(ours, theirs):
    prompts = ["the cat sat", "one two", " ".join(WORDS * 6)]
    made = ours.complete(prompts, (" a",), 20)
    # Ours reads a prompt after end-of-text, as documents are in training; transformers' tokenizer adds nothing.
    marked = theirs.complete([f"<|endoftext|>{prompt}" for prompt in prompts], (" a",), 20)
    assert [one.text for one in made] == [one.text for one in marked]
    assert [one.cut > 0 for one in made] == [False, False, True]
    assert all(" a" not in one.text for one in made)
    assert ours.complete(prompts[:1], (), 10**6)[0].cut == 0  # a completion may take half of the context


@pytest.mark.parametrize("of", ["ours", "theirs"])
def test_logits_that_are_not_finite_are_no_completion(of, exported, tmp_path):
    """The weights are finite: only what is computed overflows, and only behind one word."""
    shutil.copytree(exported, tmp_path / "m")
    weights = load_file(tmp_path / "m" / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(tmp_path / "m" / "tokenizer.json"))
    plain, other = (set(tokenizer.encode(text).ids) for text in ("the cat sat", "the red stars"))
    (token, *_) = sorted(other - plain)
    weights["model.embed_tokens.weight"][token] = 3e38
    save_file(weights, tmp_path / "m" / "model.safetensors", {"format": "pt"})
    if of == "ours":
        model = open_language_model(PretrainedConfig(model=str(tmp_path / "m"), revision=None), "x", "float32", "cpu")
    else:
        transformers = pytest.importorskip("transformers")
        read = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.float32).eval()
        model = TransformersModel(read, transformers.AutoTokenizer.from_pretrained(tmp_path / "m"), {"name": "x"})
    whole, lost = model.complete(["the cat sat", "the red stars"], ("\n",), 8)
    assert isinstance(whole.text, str)
    assert lost.text is None


@pytest.mark.parametrize("ends", ["abc", [0, None, [3]], 10**9, -1])
def test_an_end_of_text_that_is_no_token_is_refused(ends, exported):
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = ends
    with pytest.raises(UserError, match="names an end of text that is no token"):
        TransformersModel(model, transformers.AutoTokenizer.from_pretrained(exported), {"name": "tiny"})


def test_white_space_between_goes_over_to_the_continuation():
    def encode(texts, with_own):
        return [[ord(character) for character in text] for text in texts]

    assert encode_pairs(encode, 0, [("ab  ", "c"), ("", "c"), ("  ", "c")]) == [
        ([97, 98], [32, 32, 99]),
        ([0], [99]),
        ([0], [32, 32, 99]),
    ]


def save_foreign(family, exported, directory):
    """A tiny random model of another architecture, with the tokenizer of `exported`."""
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 384, "bos_token_id": 0, "eos_token_id": 0}
    if family == "gpt2":
        config = transformers.GPT2Config(n_embd=32, n_layer=1, n_head=2, n_positions=64, **sizes)
    else:
        config = transformers.LlamaConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=64, **sizes,
        )  # fmt: skip
    torch.manual_seed(1)
    foreign = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in foreign.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)  # a fresh model writes one token again and again
    foreign.save_pretrained(directory)
    transformers.AutoTokenizer.from_pretrained(exported).save_pretrained(directory)
    return foreign.eval(), transformers.AutoTokenizer.from_pretrained(directory)


def opened_foreign(directory):
    return open_language_model(PretrainedConfig(model=str(directory), revision=None), "other", "float32", "cpu")


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_another_architecture_answers_as_transformers_does_alone(family, exported, tmp_path):
    foreign, tokenizer = save_foreign(family, exported, tmp_path)
    model = opened_foreign(tmp_path)
    assert isinstance(model, TransformersModel)
    assert model.describe()["context"] == 64
    pairs = [
        ("the cat", " sat on"),
        ("one two three red blue", " stars"),
        ("a", " mat and counted one"),
        ("", "the cat"),
    ]
    for (context, target), one in zip(pairs, model.log_likelihoods(pairs), strict=True):
        first = tokenizer(context)["input_ids"] if context else [0]
        whole = tokenizer(context + target)["input_ids"] if context else [0, *tokenizer(target)["input_ids"]]
        with torch.no_grad():
            values = foreign(torch.tensor([whole])).logits[0].double().log_softmax(-1)
        wanted = sum(float(values[place - 1, whole[place]]) for place in range(len(first), len(whole)))
        assert one.log_probability == pytest.approx(wanted, rel=1e-5)
        assert one.tokens == len(whole) - len(first)
    (long,) = model.log_likelihoods([("", " ".join(WORDS * 10))])
    assert long.tokens > 64
    prompts = ["the cat", "one two three red blue stars", "a"]
    for prompt, made in zip(prompts, model.complete(prompts, (), 7), strict=True):
        ids = torch.tensor([tokenizer(prompt)["input_ids"]])
        alone = foreign.generate(
            ids, max_new_tokens=7, do_sample=False, pad_token_id=0, attention_mask=torch.ones_like(ids)
        )
        assert made.text == tokenizer.decode(alone[0, ids.shape[1] :], skip_special_tokens=True)


def test_a_models_own_habits_of_generation_do_not_make_greedy_something_else(exported, tmp_path):
    save_foreign("gpt2", exported, tmp_path)
    before = opened_foreign(tmp_path)
    made = before.complete(["the cat"], (), 12)
    settings = json.loads((tmp_path / "generation_config.json").read_text())
    settings |= {"repetition_penalty": 50.0, "do_sample": True, "temperature": 5.0}
    (tmp_path / "generation_config.json").write_text(json.dumps(settings))
    after = opened_foreign(tmp_path)
    assert after.complete(["the cat"], (), 12) == made
    assert after.describe()["weights"] != before.describe()["weights"]  # whatever is read is part of what it is


def test_an_empty_context_is_the_token_that_begins_a_text_as_in_the_harness(exported, tmp_path):
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    save_foreign("llama", exported, tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text()) | {"bos_token": "c"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "special_tokens_map.json").unlink(missing_ok=True)
    peer = HFLM(pretrained=str(tmp_path), dtype="float32", device="cpu", batch_size=1)
    assert peer.prefix_token_id != peer.eot_token_id
    ((value, _),) = peer.loglikelihood([Instance("loglikelihood", {}, ("", "the mat"), 0)], disable_tqdm=True)
    (one,) = opened_foreign(tmp_path).log_likelihoods([("", "the mat")])
    assert one.log_probability == pytest.approx(float(value), rel=1e-5)


def test_a_context_that_is_cut_says_so(ours):
    short, long = ours.log_likelihoods([("the cat", " sat"), (" ".join(WORDS * 6), " sat")])
    assert (short.cut, long.cut > 0) == (0, True)


def test_a_model_that_lacks_a_weight_is_not_filled_at_random(exported, tmp_path):
    from safetensors.torch import load_file, save_file

    save_foreign("gpt2", exported, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    name = next(name for name in weights if name.endswith("mlp.c_fc.weight"))
    save_file(
        {key: value for key, value in weights.items() if key != name}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(UserError, match=r"its weights lack .*mlp\.c_fc\.weight"):
        open_language_model(PretrainedConfig(model=str(tmp_path), revision=None), "x", "float32", "cpu")


def test_what_cannot_be_read_says_why(tmp_path):
    def opened():
        return open_language_model(PretrainedConfig(model=str(tmp_path), revision=None), "x", "float32", "cpu")

    with pytest.raises(UserError, match=r"config\.json: cannot be read"):
        opened()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "unheard_of"}))
    with pytest.raises(UserError, match="transformers cannot load it"):
        opened()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_layer": 1, "n_head": 1, "n_embd": 8}))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_layer": 10**9}))
    with pytest.raises(UserError, match=r"config\.json: n_layer is 1000000000; it may be 1000 at most"):
        opened()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_layer": 1, "n_head": 1, "n_embd": 8}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(UserError, match="transformers cannot load it"):
        opened()
    (tmp_path / "model.safetensors").write_bytes(b"\0\0\0\0\0\0\0\1 cut off")
    with pytest.raises(UserError, match="transformers cannot load it"):
        opened()
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "someone/else"}))
    with pytest.raises(UserError, match=r"holds an adapter \(adapter_config\.json\); merge it"):
        opened()
