from pathlib import Path

import pytest

from hornbook.errors import UserError
from hornbook.recipe import Recipe
from hornbook.recipe_file import read_recipe, to_yaml

MINI = Path(__file__).parents[1] / "recipes" / "mini.yaml"
TEXT = MINI.read_text()


def line_of(text, fragment):
    return text[: text.index(fragment)].count("\n") + 1


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("sample_bytes: 60", "sample_byte: 60", "corpus.sample_byte: unknown field; did you mean `sample_bytes`?"),
        ("seed: 1\n", "seed: one\n", 'seed: should be a valid integer, not "one"'),
        ("seed: 1\n", "seed: 1.5\n", "seed: should be a valid integer"),
        ("{raw: 1.0}", "{raw: 0.0}", "models.A: the weights of `mixture` sum to zero"),
        ("{raw: 1.0}", "{rare: 1.0}", "models.A.mixture.rare: should be 'raw'"),
        ("{seed: 2}", "{sead: 2}", "arms.seed-2: the recipe has no field `sead`; did you mean `seed`?"),
        ("kind: installed #", "kind: instaled #", "corpus.sources.0: `instaled` is no kind of source"),
        ("heads: 4", "heads: 3", "model: hidden must be a multiple of heads"),
        ("start: B", "start: D", "models.C.start: `D` is neither `scratch`, `pretrained` nor a model of this recipe"),
        ("start: B", "start: C", "models.C.start: the models start from each other in a circle"),
        ("keep_share: 0.17", "keep_share: 1.7", "filter.keep_share: should be less than or equal to 1, not 1.7"),
        ("kind: trained", "kind: hub", "tokenizer.vocab_size: unknown field"),
        ("start: scratch", "start: pretrained", "models.A.start: `pretrained` needs the section `pretrained`"),
        ("{raw: 1.0}", "{web: 1.0}", "models.A.mixture: `web` has weight, and the recipe no section `web`"),
    ],
)
def test_each_planted_fault_is_one_line_with_file_line_and_field(tmp_path, before, after, complaint):
    assert before in TEXT
    path = tmp_path / "bad.yaml"
    path.write_text(TEXT.replace(before, after, 1))
    with pytest.raises(UserError) as caught:
        read_recipe(path)
    message = str(caught.value)
    assert "\n" not in message
    assert complaint in message
    place, line = message.split(": ")[0].rsplit(":", 1)
    assert place == str(path)
    section_or_field = {line_of(path.read_text(), after)}
    if "models.A: " in message:
        section_or_field = {line_of(path.read_text(), "  A:\n")}
    if "tokenizer.vocab_size" in message:
        section_or_field = {line_of(path.read_text(), "vocab_size: 2048")}
    if "model: " in message:
        section_or_field = {line_of(path.read_text(), "model: #")}
    assert int(line) in section_or_field


def test_a_missing_field_names_its_section(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(TEXT.replace("  trees: 200\n", ""))
    with pytest.raises(UserError, match=r"bad\.yaml:\d+: classify\.trees: is missing"):
        read_recipe(path)


def test_a_key_given_twice_is_refused(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(TEXT.replace("seed: 1\n", "seed: 1\nseed: 2\n", 1))
    with pytest.raises(UserError, match="seed is given twice"):
        read_recipe(path)


@pytest.mark.parametrize("content", ["[1, 2]", "", "seed: [1", "\x00"])
def test_what_is_no_recipe_is_said_to_be_none(tmp_path, content):
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"bad\.yaml"):
        read_recipe(path)


def test_overrides_change_the_field_and_name_themselves_when_wrong():
    recipe = read_recipe(MINI)
    assert recipe.resolve(None, ["filter.keep_share=0.2"]).filter.keep_share == 0.2
    assert recipe.resolve(None, ["models.A.mixture.filtered=0.5"]).models["A"].mixture == {"raw": 1.0, "filtered": 0.5}
    assert recipe.resolve(None, ["machine.workers=1"]).machine.workers == 1
    for override, complaint in [
        ("filter.keep=0.2", "--set filter.keep=0.2: the recipe has no field `filter.keep`"),
        ("seed=abc", "--set seed=abc: seed: should be a valid integer"),
        ("seed", "--set seed: write it as KEY=VALUE"),
        ("machine.wrkers=1", "did you mean `workers`"),
        ("a.b.c=1", "the recipe has no field `a`"),
    ]:
        with pytest.raises(UserError) as caught:
            recipe.resolve(None, [override])
        assert complaint in str(caught.value)


def test_an_arm_changes_what_it_names_and_nothing_else():
    recipe = read_recipe(MINI)
    base, arm = recipe.resolve().model_dump(), recipe.resolve("seed-2").model_dump()
    assert arm["seed"] == 2
    assert {key for key in base if base[key] != arm[key]} == {"seed"}
    with pytest.raises(UserError, match="has no arm `seed-9`"):
        recipe.resolve("seed-9")


def test_scalars_are_those_of_yaml_1_2():
    recipe = read_recipe(MINI)
    assert recipe.resolve(None, ["models.A.learning_rate=1e-3"]).models["A"].learning_rate == 0.001
    assert recipe.resolve(None, ["machine.compile=on"]).machine.compile == "on"


def test_the_resolved_recipe_reads_back_as_itself(tmp_path):
    recipe = read_recipe(MINI).resolve("seed-3", ["filter.keep_share=0.3"])
    path = tmp_path / "resolved.yaml"
    path.write_text(to_yaml(recipe))
    again = read_recipe(path).resolve()
    assert isinstance(again, Recipe)
    assert again == recipe


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("seed: 1\n", "seed: &s 1\nname: *s\n", "a recipe has no aliases"),
        ("seed-2: {seed: 2}", '"../../seed-2": {seed: 2}', "is no name for an arm"),
        ("seed-2: {seed: 2}", "2: {seed: 2}", "a key of a recipe is text"),
        ("seed: 1\n", "seed: 010\n", "seed: should be a valid integer"),
        ("seed: 1\n", "seed: 2020-13-45\n", "seed: should be a valid integer"),
        ("learning_rate: 2e-3", "learning_rate: 1e999", "learning_rate"),
        ("betas: [0.9, 0.95]", "betas: [1.0, 0.95]", "betas"),
        ("rotary_share: 0.5", "rotary_share: 0.013", "rotary share"),
    ],
)
def test_hostile_and_late_faults_end_before_anything_runs(tmp_path, before, after, complaint):
    assert before in TEXT
    path = tmp_path / "bad.yaml"
    path.write_text(TEXT.replace(before, after, 1))
    with pytest.raises(UserError) as caught:
        read_recipe(path)
    assert complaint in str(caught.value)


def test_a_mistake_on_the_command_line_names_the_flag_and_not_the_file():
    file = read_recipe(MINI)
    for flag, said in (
        ("evaluate.tasks=[drill,humanevel]", "evaluate.tasks.1: should be"),
        ("model.heads=3", "model: hidden must be a multiple of heads"),
        ("models.A.warmup_steps=4000", "models.A: warmup_steps (4000) is more than steps (400)"),
    ):
        with pytest.raises(UserError) as refused:
            file.resolve(None, [flag])
        assert str(refused.value).startswith(f"--set {flag}: {said}")


SHAPES = {
    "preset: phi-1": (24, 2048, 32, 51_200),
    "preset: phi-1-small": (20, 1024, 16, 51_200),
    "preset: phi-mini": (4, 256, 4, None),
    "depth: 4": (4, 256, 4, None),
    "depth: 24": (24, 2048, 32, None),
    "depth: 12": (12, 640, 10, None),
    "{preset: phi-1, layers: 2}": (2, 2048, 32, 51_200),
}


@pytest.mark.parametrize("shorthand", SHAPES)
def test_a_named_shape_stands_for_all_its_fields_and_the_resolved_recipe_has_them(shorthand):
    value = shorthand if shorthand.startswith("{") else f"{{{shorthand}}}"
    resolved = read_recipe(MINI).resolve(None, [f"model={value}"])
    model = resolved.model
    assert (model.layers, model.hidden, model.heads, model.padded_vocab_size) == SHAPES[shorthand]
    assert model.rotary_share == 0.5
    assert "preset" not in to_yaml(resolved)
    assert "depth" not in to_yaml(resolved)


def test_one_dotted_shape_sets_all_of_the_model_and_later_changes_stand_beside_it():
    model = read_recipe(MINI).resolve(None, ["model.preset=phi-1-small", "model.layers=3"]).model
    assert (model.layers, model.hidden, model.padded_vocab_size) == (3, 1024, 51_200)
    model = read_recipe(MINI).resolve(None, ["model.preset=phi-1", "model.depth=6"]).model
    assert (model.layers, model.padded_vocab_size) == (6, None)


def with_arm(tmp_path, arm, text=TEXT):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"{text}  rehearsal:\n" + "".join(f"    {line}\n" for line in arm.strip().splitlines()))
    return path


WEB_ARM = """
web:
  corpus:
    sources:
      - {kind: installed_prose}
      - {kind: hub, repo: a/b, revision: main, files: ["*.parquet"], text_column: content, source: web}
    sample_bytes: 1000
    max_document_bytes: 1000
    held_out_share: 0.5
  annotate: {teacher: builtin, about: prose, sample: 10, max_characters: null, failure_limit: 0.0}
  classify: {trees: 4, held_out_share: 0.5, threshold: 3.0}
  filter: {keep_share: 0.5}
exercises: null
tokenizer: {kind: hub, repo: Salesforce/codegen-350M-mono, revision: main}
annotate.teacher: {model: "openai:some/model", temperature: 0.0, top_p: null, max_tokens: 100}
models.A.mixture: {web: 1.0}
models.C.mixture: {textbooks: 1}
web.filter.keep_share: 0.25
"""


def test_an_arm_adds_and_removes_whole_sections_and_changes_fields_of_what_it_added(tmp_path):
    file = read_recipe(with_arm(tmp_path, WEB_ARM))
    base, arm = file.resolve(), file.resolve("rehearsal")
    assert (base.web, base.tokenizer.kind) == (None, "trained")
    assert [source.kind for source in arm.web.corpus.sources] == ["installed_prose", "hub"]
    assert arm.web.filter.keep_share == 0.25
    assert arm.exercises is None
    assert arm.tokenizer.repo == "Salesforce/codegen-350M-mono"
    assert arm.annotate.teacher.model == "openai:some/model"
    assert arm.models["A"].mixture == {"web": 1.0}  # replaced, not merged
    assert file.resolve() == base  # an arm leaves the file's own fields alone
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(to_yaml(arm))
    assert read_recipe(resolved).resolve() == arm


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("files: [", "file: [", "web.corpus.sources.1.file: unknown field; did you mean `files`?"),
        ('["*.parquet"]', '["*.parquet", 3]', "web.corpus.sources.1.files.1: should be a valid string, not 3"),
        (
            "kind: installed_prose",
            "kind: installed_pros",
            "web.corpus.sources.0: `installed_pros` is no kind of source",
        ),
        ("kind: installed_prose", "sort: x", "web.corpus.sources.0: `kind` is missing"),
        (
            "max_document_bytes: 1000",
            "max_document_bytes: 0",
            "web.corpus.max_document_bytes: should be greater than 0",
        ),
        ("mono, revision: main}", "mono}", "tokenizer.revision: is missing"),
        ("exercises: null", "exercices: null", "the recipe has no field `exercices`; did you mean `exercises`?"),
        ("web.filter.keep_share: 0.25", "web.filter.keep: 0.25", "the recipe has no field `web.filter.keep`"),
        (
            "web.filter.keep_share: 0.25",
            "textbooks.extracts.of: web",
            "the recipe has no field `textbooks.extracts.of`",
        ),
        ("exercises: null", "seed: null", "seed: should be a valid integer, not null"),
    ],
)
def test_a_fault_within_an_arm_names_the_line_of_the_arm(tmp_path, before, after, complaint):
    assert before in WEB_ARM
    path = with_arm(tmp_path, WEB_ARM.replace(before, after, 1))
    with pytest.raises(UserError) as caught:
        read_recipe(path)
    place, message = str(caught.value).split(": ", 1)
    assert complaint in message
    assert place == f"{path}:{line_of(path.read_text(), after)}"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("model={preset: phi-1, depth: 2}", "model: give `preset` or `depth`, not both"),
        ("model.preset=phi-2", "model: `phi-2` is no preset; the presets: phi-1, phi-1.5, phi-1-small, phi-mini"),
        ("model.depth=0", "model: depth is a number of layers, from 1 to 256"),
        ("model={presett: phi-1}", "model.presett: unknown field; did you mean `preset`?"),
        ("model={layers: 2}", "model.hidden: is missing"),
        ("model={preset: phi-1, heads: 3}", "model: hidden must be a multiple of heads"),
        (
            "tokenizer={kind: hbu}",
            "tokenizer: `hbu` is no kind of tokenizer; the kinds: 'trained', 'hub', 'pretrained'",
        ),
        ("tokenizer.kind=pretrained", "tokenizer.vocab_size: unknown field"),
        ("textbooks=null", "models.B.mixture: `textbooks` has weight, and the recipe no section `textbooks`"),
        ("web={}", "web.corpus: is missing"),
        ("web.filter.keep_share=0.1", "the recipe has no field `web`"),
        ("models.pretrained={}", "models.pretrained.label: is missing"),
    ],
)
def test_a_change_that_does_not_fit_is_refused_by_name(change, complaint):
    with pytest.raises(UserError) as caught:
        read_recipe(MINI).resolve(None, [change])
    assert complaint in str(caught.value)


def test_a_model_may_start_from_one_that_exists_already():
    changes = ["pretrained={model: hf://microsoft/phi-1, revision: main}", "models.B.start=pretrained"]
    with pytest.raises(UserError, match=r"models\.B\.start: a pretrained model reads with its own tokenizer"):
        read_recipe(MINI).resolve(None, changes)
    recipe = read_recipe(MINI).resolve(None, [*changes, "tokenizer={kind: pretrained}"])
    assert recipe.models["B"].start == "pretrained"
    assert recipe.tokenizer.kind == "pretrained"
