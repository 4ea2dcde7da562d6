"""The recipes of the papers: what they say against the papers, and that a rehearsal has the same steps."""

import re
from pathlib import Path

import pytest

from hornbook.errors import UserError
from hornbook.model.config_file import phi_config, write_config
from hornbook.pipeline import build_run, wire
from hornbook.recipe import ModelConfig, shape_of_depth
from hornbook.recipe_file import read_recipe
from hornbook.run.engine import in_order
from hornbook.step_config import TrainStep

RECIPES = Path(__file__).parents[1] / "recipes"
PAPERS = ("phi-1", "phi-1-small", "phi-1.5", "phi-1.5-web", "phi-1.5-web-only")
BILLION = 1e9


@pytest.fixture
def local(tmp_path):
    """Changes that take the place of what lies on the hub."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "text.py").write_text("x = 1\n")
    sources = f"[{{kind: files, path: {tmp_path / 'data'}, text_column: text, source: x}}]"
    return [
        f"corpus.sources={sources}",
        f"web.corpus.sources={sources}",
        "tokenizer={kind: trained, vocab_size: 1024, sample_bytes: 1000}",
    ]


@pytest.mark.parametrize("name", PAPERS)
def test_a_rehearsal_has_the_steps_of_the_recipe(name, local, tmp_path):
    file = read_recipe(RECIPES / f"{name}.yaml")
    changes = [change for change in local if not change.startswith("web.") or file.resolve().web is not None]
    whole, rehearsed = (build_run(file, arm, changes, tmp_path) for arm in (None, "rehearsal"))
    assert [(step.name, step.function) for step in whole.steps] == [
        (step.name, step.function) for step in rehearsed.steps
    ]
    assert whole.recipe.trained_sets == rehearsed.recipe.trained_sets
    for model, train in whole.recipe.models.items():
        shape = (train.start, train.mixture, train.schedule, train.select, train.dropout, train.betas)
        other = rehearsed.recipe.models[model]
        assert shape == (other.start, other.mixture, other.schedule, other.select, other.dropout, other.betas)


def test_a_rehearsal_asks_nobody_and_fetches_nothing():
    for name in PAPERS:
        text = read_recipe(RECIPES / f"{name}.yaml").resolve("rehearsal").model_dump_json()
        assert '"hub"' not in text
        assert "openai:" not in text


# From the papers: phi-1, sections 2.1 to 2.3 and Figure 2.1; phi-1.5, sections 2.2 to 2.4.
@pytest.mark.parametrize(
    ("name", "model", "tokens", "batch", "rate", "schedule", "warmup", "decay"),
    [
        ("phi-1", "B", 51, 1024, 1e-3, "linear", 750, 0.1),
        ("phi-1", "C", 3.15, 256, 1e-4, "linear", 50, 0.01),
        ("phi-1-small", "B", 76, 1024, 1e-3, "linear", 750, 0.1),
        ("phi-1-small", "C", 3.15, 256, 1e-4, "linear", 50, 0.01),
        ("phi-1.5", "student", 150, 2048, 2e-4, "constant", 0, 0.1),
        ("phi-1.5-web", "student", 300, 2048, 2e-4, "constant", 0, 0.1),
        ("phi-1.5-web-only", "student", 300, 2048, 2e-4, "constant", 0, 0.1),  # tokens: ours
    ],
)
def test_training_is_the_papers(name, model, tokens, batch, rate, schedule, warmup, decay):
    recipe = read_recipe(RECIPES / f"{name}.yaml").resolve()
    train = recipe.models[model]
    seen = train.steps * train.batch_sequences * recipe.pack.sequence_length
    assert seen == pytest.approx(tokens * BILLION, rel=0.02)
    assert (train.batch_sequences, train.learning_rate) == (batch, rate)
    assert (train.schedule, train.warmup_steps, train.weight_decay) == (schedule, warmup, decay)
    assert recipe.pack.sequence_length == 2048
    assert not train.document_mask


def test_the_base_of_phi_1_stops_at_two_thirds_of_its_schedule():
    base = read_recipe(RECIPES / "phi-1.yaml").resolve().models["B"]
    assert (base.steps, base.schedule_steps) == (24_000, 36_000)
    assert base.dropout == 0.1


@pytest.mark.parametrize(
    ("name", "real", "web", "synthetic"),
    [("phi-1.5", 0.2, 0.0, 0.8), ("phi-1.5-web", 0.2, 0.4, 0.4), ("phi-1.5-web-only", 0.2, 0.8, 0.0)],
)
def test_mixtures_are_the_reports(name, real, web, synthetic):
    mixture = read_recipe(RECIPES / f"{name}.yaml").resolve().models["student"].mixture
    assert mixture.get("web", 0.0) == web
    assert mixture.get("general_textbooks", 0.0) == synthetic
    assert sum(mixture.get(part, 0.0) for part in ("filtered", "textbooks", "exercises")) == pytest.approx(real)


def test_a_model_onward_from_one_that_exists_hangs_on_its_files(tmp_path, local):
    there = tmp_path / "there"
    there.mkdir()
    file = read_recipe(RECIPES / "mini.yaml")
    write_config(there, phi_config(file.resolve(None, []).model, 2048, 512, end_of_text=0))
    changes = [
        f"pretrained={{model: {there}, revision: null}}",
        "tokenizer={kind: pretrained}",
        "models.B.start=pretrained",
    ]

    def steps():
        recipe = file.resolve(None, [local[0], *changes])
        return {step.name: step for step in in_order(wire(recipe, tmp_path))}

    before = steps()
    assert before["train.B"].inputs["start"] is before["pretrained"]
    assert before["tokenizer"].inputs == {"pretrained": before["pretrained"]}
    assert isinstance(before["train.A"].config, TrainStep)
    assert "start" not in before["train.A"].inputs
    write_config(there, phi_config(file.resolve(None, []).model, 2048, 1024, end_of_text=0))
    assert steps()["pretrained"].content != before["pretrained"].content
    write_config(there, phi_config(shallow := ModelConfig(**shape_of_depth(2), padded_vocab_size=None), 2048, 512, 0))
    told = f"write `model: {{layers: 2, hidden: {shallow.hidden}, heads: {shallow.heads}, rotary_share: 0.5"
    with pytest.raises(UserError, match=re.escape(told)):
        steps()
