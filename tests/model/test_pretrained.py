"""To and from the Hugging Face format: transformers is the oracle, both ways."""

import json
import shutil

import pytest
import torch
from model.foreign import TEXT, json_tokenizer, merges_tokenizer, their_phi
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

import hornbook.hub
from hornbook.errors import UserError
from hornbook.model.decode import Decoding, Weights
from hornbook.model.generate import Sampling, TextGenerator, decode
from hornbook.model.pretrained import export_directory, import_directory, import_model
from hornbook.model.source import fingerprint_model
from hornbook.model.transformer import Phi, load_model
from hornbook.model.vocabulary import load_tokenizer
from hornbook.recipe import MachineConfig, ModelConfig, PretrainedConfig
from hornbook.run.progress import Silent
from hornbook.run.step import Workspace
from hornbook.step_config import ImportStep
from hornbook.tokens.tokenizer import train_bpe

ROWS = 512
GIGABYTE = 10**9


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A model as others publish one: transformers' own files, CodeGen's form of tokenizer, more rows than entries."""
    directory = tmp_path_factory.mktemp("published") / "phi"
    merges_tokenizer(directory)
    ending = json.loads((directory / "vocab.json").read_text())["<|endoftext|>"]
    their_phi(ROWS, ending).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def imported(published, tmp_path_factory):
    out = tmp_path_factory.mktemp("imported") / "model"
    import_directory(of(published), out)
    return out


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """A model of ours with a tokenizer trained by us, its weights far from uniform."""
    directory = tmp_path_factory.mktemp("ours")
    tokenizer = train_bpe(iter([TEXT] * 3), 300)
    tokenizer.save(str(directory / "tokenizer.json"))
    shape = ModelConfig(layers=3, hidden=64, heads=4, rotary_share=0.5, padded_vocab_size=320)
    phi = Phi(shape, tokenizer.get_vocab_size(), 160)
    phi.initialize(3)
    with torch.no_grad():
        for name, parameter in phi.named_parameters():
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
            parameter.add_(noise * (0.1 if "layernorm" in name else 0.12))
    phi.save(directory, 0)
    return directory


def of(directory):
    return PretrainedConfig(model=str(directory), revision=None)


def theirs(directory):
    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()


def largest_difference(one, two):
    """Relative to the spread of the logits."""
    return ((one - two).abs().max() / (two.max() - two.min())).item()


def some_tokens(entries, rows, length):
    return torch.randint(0, entries, (rows, length), generator=torch.Generator().manual_seed(9))


@torch.inference_mode()
def same_logits(phi, other):
    """Whole sequences at once, and through both caches: a prompt of 20 tokens, then one by one."""
    tokens = some_tokens(phi.vocab_size, 3, 60)
    assert largest_difference(phi(tokens), other(tokens).logits) <= 1e-5
    decoding = Decoding(Weights(phi, torch.float32), tokens[:, :20].tolist(), 41)
    kept = DynamicCache(config=other.config)
    pairs = [(decoding.read(), other(tokens[:, :20], cache=kept).logits[:, -1, : phi.vocab_size])]
    for place in range(20, 60):
        read_one = other(tokens[:, place : place + 1], cache=kept)
        pairs.append((decoding.step(tokens[:, place]), read_one.logits[:, -1, : phi.vocab_size]))
    assert kept.get_seq_length() == 60
    one, two = (torch.stack(side) for side in zip(*pairs, strict=True))
    assert largest_difference(one, two) <= 1e-5


def same_continuations(phi, other, count=100, new=64):
    """Greedy: ragged prompts in one batch of ours, those of one length together in transformers, so without padding."""
    lengths = [4 + 4 * (number % 10) for number in range(count)]
    rows = some_tokens(phi.vocab_size, count, 40)
    prompts = [row[:length].tolist() for row, length in zip(rows, lengths, strict=True)]
    written = [[] for _ in prompts]
    for step in decode(Weights(phi, torch.float32), prompts, Sampling(new), [True] * count):
        for row, token in step:
            written[row].append(token)
    for first in range(10):
        ids = torch.tensor(prompts[first::10])
        wanted = other.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            min_new_tokens=new,
            max_new_tokens=new,
            eos_token_id=None,
            pad_token_id=0,
            suppress_tokens=list(range(phi.vocab_size, len(phi.lm_head.weight))),
        )
        assert written[first::10] == wanted[:, ids.shape[1] :].tolist()


def test_an_imported_model_computes_what_transformers_does(published, imported):
    phi, other = load_model(imported), theirs(published)
    assert (phi.vocab_size, len(phi.lm_head.weight), phi.context) == (368, ROWS, 160)
    same_logits(phi, other)
    same_continuations(phi, other)


def test_an_exported_model_computes_what_it_did(ours, tmp_path):
    export_directory(ours, tmp_path / "out", torch.float32, GIGABYTE)
    phi, other = load_model(ours), theirs(tmp_path / "out")
    assert type(other).__name__ == "PhiForCausalLM"
    same_logits(phi, other)
    same_continuations(phi, other)


def test_out_and_in_again_are_the_same_bytes(ours, imported, tmp_path):
    for place, model in enumerate((ours, imported)):
        for kind, shard_bytes in (("whole", GIGABYTE), ("shards", 100_000)):
            out, back = tmp_path / f"{kind}{place}", tmp_path / f"{kind}{place}-back"
            files = export_directory(model, out, torch.float32, shard_bytes)
            assert (sum(path.suffix == ".safetensors" for path in files) > 1) == (kind == "shards")
            import_directory(of(out), back)
            for name in ("model.safetensors", "config.json", "tokenizer.json"):
                assert (back / name).read_bytes() == (model / name).read_bytes()
    weights = load_file(imported / "model.safetensors")
    save_file(weights, tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    assert (tmp_path / "theirs.safetensors").read_bytes() == (imported / "model.safetensors").read_bytes()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_goes_out_rounded_once_and_comes_in_exact(ours, tmp_path, dtype):
    export_directory(ours, tmp_path / "out", dtype, 100_000)
    import_directory(of(tmp_path / "out"), tmp_path / "back")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto").dtype == dtype
    back, whole = load_file(tmp_path / "back" / "model.safetensors"), load_file(ours / "model.safetensors")
    assert all(torch.equal(back[name], whole[name].to(dtype).float()) for name in whole)


def test_a_weight_too_large_for_half_precision_is_said_and_nothing_is_left(ours, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(ours, model)
    weights = load_file(model / "model.safetensors")
    weights["lm_head.bias"][3] = 1e6
    save_file(weights, model / "model.safetensors")
    with pytest.raises(UserError, match=r"lm_head.bias: holds values too large for float16; say bfloat16"):
        export_directory(model, tmp_path / "out", torch.float16, GIGABYTE)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


TRICKY = TEXT + "   \n      x  = größe  ☃\t\t y_z12 == 3\r\n\n    return"


def test_the_exported_tokenizer_is_the_same(ours, imported, tmp_path):
    for place, model in enumerate((ours, imported)):
        export_directory(model, tmp_path / str(place), torch.float32, GIGABYTE)
        exported, own = AutoTokenizer.from_pretrained(tmp_path / str(place)), load_tokenizer(model)
        assert exported(TRICKY).input_ids == own.encode(TRICKY).ids
        assert exported.decode(exported(TRICKY).input_ids) == TRICKY
        assert exported.eos_token_id == exported.bos_token_id == own.token_to_id("<|endoftext|>")
        assert len(exported) == load_model(model).vocab_size


def test_transformers_writes_on_from_a_text_as_we_do(ours, tmp_path):
    export_directory(ours, tmp_path / "out", torch.float32, GIGABYTE)
    tokenizer, other = AutoTokenizer.from_pretrained(tmp_path / "out"), theirs(tmp_path / "out")
    prompt = tokenizer("<|endoftext|>def count(text):", return_tensors="pt")
    padding = list(range(load_model(ours).vocab_size, 320))  # an untrained model finds them as likely as tokens
    written = other.generate(**prompt, max_new_tokens=20, suppress_tokens=padding)[0, prompt.input_ids.shape[1] :]
    (done,) = TextGenerator(load_model(ours), load_tokenizer(ours)).generate(["def count(text):"], [], Sampling(20))
    assert tokenizer.decode(written, skip_special_tokens=True) == done.text


def test_the_card_says_what_the_run_recorded(ours, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(ours, model)
    export_directory(model, tmp_path / "bare", torch.float32, GIGABYTE)
    card = (tmp_path / "bare" / "README.md").read_text()
    assert "How it was trained is not recorded" in card
    parameters = sum(parameter.numel() for parameter in load_model(ours).parameters())
    assert f"{parameters:,} parameters" in card
    manifest = {
        "step": "train.small", "identity": "ab12", "version": 2, "config": {"train": {"learning_rate": 0.001}},
        "content": {}, "ended": "2026-11-27T00:00:00Z", "seconds": 3.0, "counts": None,
        "facts": {"tokens": 123456, "epochs": {"raw": 1.5}}, "files": {},
    }  # fmt: skip
    (model / "manifest.json").write_text(json.dumps(manifest))
    export_directory(model, tmp_path / "recorded", torch.float32, GIGABYTE)
    card = (tmp_path / "recorded" / "README.md").read_text()
    assert "| tokens | 123,456 |" in card
    assert '"learning_rate": 0.001' in card
    assert card.startswith("---\nlibrary_name: transformers\n")


def test_nothing_is_overwritten(ours, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="is there already"):
        export_directory(ours, tmp_path / "out", torch.float32, GIGABYTE)
    with pytest.raises(UserError, match="is there already"):
        import_directory(of(ours), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "new.partial").mkdir()  # a run under way may have this name
    export_directory(ours, tmp_path / "new", torch.float32, GIGABYTE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "new.partial", "out"]


def change_config(**changes):
    def damage(directory):
        fields = json.loads((directory / "config.json").read_text()) | changes
        (directory / "config.json").write_text(json.dumps(fields))

    return damage


def change_weights(change):
    def damage(directory):
        weights = load_file(directory / "model.safetensors")
        change(weights)
        save_file(weights, directory / "model.safetensors")

    return damage


def pickle_weights(directory):
    (directory / "model.safetensors").unlink()
    (directory / "pytorch_model.bin").write_bytes(b"\x80\x04.")


def lead_out(directory):
    index = {"weight_map": {"lm_head.bias": "../model.safetensors"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_config(model_type="llama"), 'model_type is "llama"'),
        (change_config(auto_map={"AutoModel": "modeling.Phi"}), "names code to run"),
        (change_config(qk_layernorm=True), "qk_layernorm is true"),
        (change_config(num_key_value_heads=2), "num_key_value_heads is 2 beside 4 heads"),
        (change_config(tie_word_embeddings=True), "tie_word_embeddings is true"),
        (change_config(hidden_act="silu"), 'hidden_act is "silu"'),
        (change_config(layer_norm_eps=1e-6), "layer_norm_eps is 1e-06"),
        (change_config(intermediate_size=128), "intermediate_size is 128"),
        (change_config(rope_parameters={"rope_theta": 5e5}), "rope_theta is not 10000"),
        (change_config(rope_parameters={"rope_type": "yarn"}), "scaled ('yarn')"),
        (change_config(rope_parameters={"partial_rotary_factor": 0.05}), "rotary share"),
        (change_config(vocab_size=350), "vocab_size is 350, and the tokenizer beside it has 368 entries"),
        (change_config(eos_token_id=2), "eos_token_id is 2, and <|endoftext|> of its tokenizer 337"),
        (change_config(vocab_size=500), "is (512, 64), and must be (500, 64)"),
        (change_config(num_hidden_layers=4), "its weights hold no model.layers.3"),
        (change_config(num_hidden_layers=2), "its weights hold model.layers.2"),
        (change_weights(lambda w: w["lm_head.bias"].fill_(float("nan"))), "lm_head.bias holds values that are not"),
        (change_weights(lambda w: w.update({"lm_head.bias": w["lm_head.bias"].long()})), "is stored as I64"),
        (lambda d: (d / "model.safetensors").write_bytes(b"junk"), "not a safetensors file"),
        (lambda d: (d / "model.safetensors").unlink(), "holds neither model.safetensors nor"),
        (lead_out, "no .safetensors file beside it"),
        (pickle_weights, "are pickled, and reading them would run code"),
        (lambda d: (d / "vocab.json").unlink(), "holds neither tokenizer.json nor vocab.json and merges.txt"),
        (lambda d: (d / "added_tokens.json").write_text('{"  ": 9999}'), "does not follow those before it"),
        (lambda d: (d / "config.json").unlink(), "config.json: not a phi's configuration"),
        (change_config(num_hidden_layers=10**7), "num_hidden_layers is 10000000"),
        (change_config(hidden_size=2**40, intermediate_size=2**42), "hidden_size is 1099511627776"),
        (change_config(max_position_embeddings=2**31 - 1), "max_position_embeddings is 2147483647"),
        (lambda d: (d / "config.json").write_text("[" * 10**5), "config.json: not a phi's configuration"),
    ],
)
def test_what_is_no_phi_of_ours_is_refused_in_one_line_and_nothing_is_left(published, tmp_path, damage, message):
    source = tmp_path / "source"
    shutil.copytree(published, source)
    damage(source)
    with pytest.raises(UserError) as caught:
        import_directory(of(source), tmp_path / "out")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_older_files_with_rotary_tables_are_read(published, imported, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(published, source)
    change_weights(lambda w: w.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}))(source)
    change_config(rope_theta=10000.0, partial_rotary_factor=0.5, rope_parameters=None)(source)  # the fields of v4
    import_directory(of(source), tmp_path / "out")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (imported / name).read_bytes()


def test_the_step_takes_in_a_model_of_the_hub(published, imported, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    asked = []
    monkeypatch.setattr(hornbook.model.source, "resolve_revision", lambda repo, revision, kind: commit)
    monkeypatch.setattr(hornbook.model.source, "download", lambda *asked_for: asked.append(asked_for) or published)
    config = ImportStep(pretrained=PretrainedConfig(model="hf://someone/phi", revision="main"))
    result = import_model(config, {}, Workspace(tmp_path, MachineConfig(), Silent(), tmp_path, "test"))
    assert [(repo, at, kind) for repo, at, _, kind in asked] == [("someone/phi", commit, "model")]
    assert "pytorch_model.bin" not in asked[0][2]
    assert result.facts["files"] == f"someone/phi@{commit}"
    assert (tmp_path / "model.safetensors").read_bytes() == (imported / "model.safetensors").read_bytes()


def test_a_source_is_its_content_and_says_what_is_wrong(published, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(published, source)
    before = fingerprint_model(of(source))
    assert before == fingerprint_model(of(published))
    (source / "notes.txt").write_text("not read")
    assert fingerprint_model(of(source)) == before
    change_config(max_position_embeddings=128)(source)
    assert fingerprint_model(of(source)) != before
    for model, revision, message in (
        ("nowhere", None, "no such directory"),
        (str(source), "main", "is a directory and has none"),
        ("hf://phi", "main", "not hf://OWNER/NAME"),
        ("hf://a/phi", None, "give the commit, tag or branch"),
    ):
        with pytest.raises(UserError, match=message):
            fingerprint_model(PretrainedConfig(model=model, revision=revision))


def test_a_tokenizer_json_is_taken_as_it_is(published, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(published, source)
    entries = json_tokenizer(source)
    ending = load_tokenizer(source).token_to_id("<|endoftext|>")
    their_phi(entries, ending).save_pretrained(source)
    described = import_directory(of(source), tmp_path / "out")
    assert (described.vocab_size, described.config.padded_vocab_size) == (entries, None)
    assert load_tokenizer(tmp_path / "out").encode(TRICKY).ids == load_tokenizer(source).encode(TRICKY).ids
