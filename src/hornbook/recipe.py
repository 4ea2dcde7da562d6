"""The whole configuration vocabulary: strict models that say everything a run depends on.

A recipe is YAML onto these models. Sections are frozen, unknown and missing keys are refused, and nothing that changes
a result has a default: a recipe is complete by itself. Only `machine:` may be left out, because it never changes what a
step is.
"""

from itertools import pairwise
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(gt=0, lt=2**62)]
FailureLimit = Annotated[float, Field(ge=0, le=1)]  # the largest share of rows that may fail
Beta = Annotated[float, Field(ge=0, lt=1)]
Testset = Literal["humaneval", "mbpp", "drill"]
Task = Literal[
    "drill",
    "humaneval",
    "mbpp",
    "mbpp-sanitized",
    "unconventional",
    "gsm8k_code",
    "gsm8k_text",
    "winogrande",
    "arc_easy",
    "arc_challenge",
    "boolq",
    "social_iqa",
    "piqa",
    "hellaswag",
    "openbookqa",
    "mmlu",
    "squad",
    "toxigen",
    "bits_held_out",
    "bits_humaneval",
    "bits_mbpp",
]
PackedSet = Literal["raw", "filtered", "web", "textbooks", "general_textbooks", "exercises"]
Preset = Literal["phi-1", "phi-1.5", "phi-1-small", "phi-mini"]


class Section(BaseModel):
    """A strict, frozen part of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class InstalledSource(Section):
    """The Python standard library and the packages installed in the running environment."""

    kind: Literal["installed"]


class InstalledProseSource(Section):
    """Prose that came with the running environment: the descriptions of its packages, and Python's own help topics."""

    kind: Literal["installed_prose"]


class HubSource(Section):
    """Files of a dataset of the Hugging Face hub at one revision, fetched once into its cache."""

    kind: Literal["hub"]
    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: str  # a commit, or a tag or branch, which is read as the commit it stands for
    files: Annotated[tuple[str, ...], Field(min_length=1)]  # globs inside the repository
    text_column: str
    source: str  # the name under which its documents are counted


class FilesSource(Section):
    """The user's own files: a directory of text files, a glob, JSONL (.gz, .zst) or Parquet."""

    kind: Literal["files"]
    path: str
    text_column: str
    source: str  # the name under which its documents are counted


class CorpusConfig(Section):
    """Which documents are read, and how many of them are kept."""

    sources: Annotated[
        tuple[
            Annotated[InstalledSource | InstalledProseSource | FilesSource | HubSource, Field(discriminator="kind")],
            ...,
        ],
        Field(min_length=1),
    ]
    sample_bytes: Positive  # about how much text is kept, chosen by content hash
    max_document_bytes: Positive  # longer files are dropped as `too long`
    held_out_share: Share  # of the sampled documents, never trained on


BUILTIN: Literal["builtin"] = "builtin"  # the teacher that needs no model, no key and no network


class LanguageModel(Section):
    """A teacher behind an OpenAI-compatible endpoint, and how its replies are drawn. Null: the server's own choice."""

    model: Annotated[str, Field(pattern=r"^openai:\S+$")]  # `openai:` and the name the endpoint knows it by
    temperature: Annotated[float, Field(ge=0, le=2)] | None
    top_p: Annotated[float, Field(gt=0, le=1)] | None
    max_tokens: Positive  # of a reply, thinking included


def _named(value: str) -> str:
    if value != BUILTIN:
        raise ValueError(
            "a teacher is `builtin`, or a mapping of model (openai:MODEL), temperature, top_p and max_tokens"
        )
    return value


def _kind_of_teacher(value: object) -> str:
    return "by name" if isinstance(value, str) else "language model"


TeacherConfig = Annotated[
    Annotated[Literal["builtin"], BeforeValidator(_named), Tag("by name")]
    | Annotated[LanguageModel, Tag("language model")],
    Discriminator(_kind_of_teacher),
]


class AnnotateConfig(Section):
    """A teacher's ratings of a sample drawn evenly over sources (phi-1, section 2.1)."""

    teacher: TeacherConfig
    about: Literal["code", "prose"]  # what the documents are, and so what is asked of them
    sample: Positive
    max_characters: Positive | None  # of a document, from its start, that the teacher sees; null: all of it
    failure_limit: FailureLimit


class ClassifyConfig(Section):
    """A random forest that learns the ratings (phi-1, section 2.1)."""

    trees: Positive
    held_out_share: Share  # of the ratings, on which the classifier is scored
    threshold: Annotated[float, Field(ge=0, le=5)]  # a rating at or above it counts as educational


class FilterConfig(Section):
    """The share of documents kept, best scores first (the paper kept about 17%)."""

    keep_share: Share


class DedupConfig(Section):
    """MinHash near-duplicate removal."""

    ngram_words: Positive
    bands: Positive
    rows: Positive  # of a band: bands × rows permutations
    threshold: Share  # Jaccard similarity of the word n-grams at or above which two texts are near-duplicates


class DecontaminateConfig(Section):
    """Removal of what overlaps with a test set (phi-1, section 5)."""

    testsets: Annotated[tuple[Testset, ...], Field(min_length=1)]
    ngram_words: Positive


class WebConfig(Section):
    """A second real corpus, of prose, filtered as the first one is (phi-1.5, section 2.4: the web data)."""

    corpus: CorpusConfig
    annotate: AnnotateConfig
    classify: ClassifyConfig
    filter: FilterConfig


class TopicsConfig(Section):
    """A tree of topics that grows from the seed taxonomy, level by level."""

    teacher: TeacherConfig
    count: Positive  # of topics, the seeds among them
    failure_limit: FailureLimit


class ExtractsConfig(Section):
    """Sections start from an extract of a document of the corpus (phi-1.5's way to diversity) and must not copy it."""

    of: Literal["corpus", "web"]
    max_overlap: Annotated[float, Field(ge=0, le=1)]  # of a section's 8-word phrases that may stand in its extract


class TextbooksConfig(Section):
    """Synthetic textbook sections (phi-1, section 2.2)."""

    teacher: TeacherConfig
    about: Literal["code", "general"]  # general knowledge: phi-1.5
    extracts: ExtractsConfig | None  # null: sections start from their topic alone
    count: Positive
    failure_limit: FailureLimit


class ExercisesConfig(Section):
    """Synthetic exercises (phi-1, section 2.2)."""

    teacher: TeacherConfig
    count: Positive
    test_sets: Annotated[int, Field(ge=1, le=9)]  # 1: the exercise's own; more: written without sight of the solution
    failure_limit: FailureLimit

    @model_validator(mode="after")
    def _builtin_has_one_set(self) -> "ExercisesConfig":
        if self.teacher == BUILTIN and self.test_sets > 1:
            raise ValueError(
                "the built-in teacher's tests are results of its own solutions: only a model can write others"
            )
        return self


class VerifyConfig(Section):
    """Limits under which an exercise's solution must pass its tests, and a section's examples must run."""

    cpu_seconds: Annotated[float, Field(gt=0)]
    memory_mb: Positive
    failure_limit: FailureLimit  # errors of ours, not wrong solutions
    failing_sections: Literal["drop", "mark"]  # textbook sections whose code does not run


class TrainedTokenizer(Section):
    """A byte-level BPE trained on the training text."""

    kind: Literal["trained"]
    vocab_size: Annotated[int, Field(ge=512, le=65536)]
    sample_bytes: Positive  # of each set it is trained on


class HubTokenizer(Section):
    """The tokenizer of a model on the Hugging Face hub, such as CodeGen's (phi-1, section 2.3)."""

    kind: Literal["hub"]
    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: str


class PretrainedTokenizer(Section):
    """The tokenizer of the recipe's `pretrained` model."""

    kind: Literal["pretrained"]


TokenizerConfig = Annotated[TrainedTokenizer | HubTokenizer | PretrainedTokenizer, Field(discriminator="kind")]


class PretrainedConfig(Section):
    """A phi that exists already, from which models of the recipe may start: a directory, or a model of the hub."""

    model: str  # the path of a directory in the Hugging Face format, or `hf://OWNER/NAME`
    revision: str | None  # of a model of the hub; null for a directory


class PackConfig(Section):
    """Documents joined by an end-of-text token and cut into sequences (phi-1, section 2.3)."""

    sequence_length: Positive
    max_tokens: Positive  # of each set


class ModelConfig(Section):
    """The shape of the decoder: a phi (phi-1, section 2.3).

    In a recipe, `preset: phi-1` or `depth: 12` stands for all fields; fields that stand beside it take its place.
    """

    layers: Positive
    hidden: Positive
    heads: Positive
    rotary_share: Share  # of each head's dimensions
    padded_vocab_size: Positive | None  # rows of embedding and head; null: as many as the tokenizer has entries

    @model_validator(mode="before")
    @classmethod
    def _named_shapes(cls, fields: object) -> object:
        if not isinstance(fields, dict) or not {"preset", "depth"} & set(fields):
            return fields
        given = dict(fields)
        preset, depth = given.pop("preset", None), given.pop("depth", None)
        if preset is not None and depth is not None:
            raise ValueError("give `preset` or `depth`, not both")
        if depth is not None:
            if not isinstance(depth, int) or isinstance(depth, bool) or not 1 <= depth <= 256:
                raise ValueError("depth is a number of layers, from 1 to 256")
            return {**shape_of_depth(depth), "padded_vocab_size": None, **given}
        if preset not in PRESETS:
            raise ValueError(f"`{preset}` is no preset; the presets: {', '.join(PRESETS)}")
        return {**PRESETS[preset], **given}

    @model_validator(mode="after")
    def _heads_divide(self) -> "ModelConfig":
        rotary = int(self.hidden // self.heads * self.rotary_share)
        if self.hidden % self.heads or rotary % 2 or not rotary:
            raise ValueError(
                "hidden must be a multiple of heads, and the rotary share of a head an even number above 0"
            )
        return self


def shape_of_depth(depth: int) -> dict[str, int | float]:
    """The shape of a phi of so many layers: heads of 64, half of each rotated, and a width between those of the
    family's members, phi-mini (4 layers of 256), phi-1-small (20 of 1,024) and phi-1 (24 of 2,048)."""
    members = [(4, 256), (20, 1024), (24, 2048)]
    if depth <= members[0][0]:
        hidden = 64.0 * depth
    else:
        (low, narrow), (high, wide) = next((pair for pair in pairwise(members) if depth <= pair[1][0]), members[1:])
        hidden = narrow + (wide - narrow) * (depth - low) / (high - low)
    heads = round(hidden / 64)
    return {"layers": depth, "hidden": 64 * heads, "heads": heads, "rotary_share": 0.5}


PRESETS: dict[str, dict[str, int | float | None]] = {
    # 51,200 rows: CodeGen's vocabulary, padded as in the released models
    "phi-1": {**shape_of_depth(24), "padded_vocab_size": 51_200},
    "phi-1.5": {**shape_of_depth(24), "padded_vocab_size": 51_200},
    "phi-1-small": {**shape_of_depth(20), "padded_vocab_size": 51_200},
    "phi-mini": {**shape_of_depth(4), "padded_vocab_size": None},
}


class TrainConfig(Section):
    """One training run: from scratch, or onward from another model of the recipe."""

    label: str  # what a person reads under its bar
    start: str  # `scratch`, the name of another model, or `pretrained`
    mixture: dict[PackedSet, Annotated[float, Field(ge=0, le=1e6)]]  # shares of tokens
    steps: Positive
    schedule_steps: Positive  # the steps the schedule is made for: phi-1 stopped at 24,000 of 36,000
    batch_sequences: Positive  # the effective batch, whatever the machine's micro-batch
    learning_rate: Annotated[float, Field(gt=0)]
    schedule: Literal["linear", "constant", "cosine"]  # after the warmup; all but constant go down to zero
    warmup_steps: Annotated[int, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    betas: tuple[Beta, Beta]
    epsilon: Annotated[float, Field(gt=0)]
    clip: Annotated[float, Field(gt=0)] | None  # the largest norm of a step's gradient; null: no clipping
    dropout: Annotated[float, Field(ge=0, lt=1)]
    document_mask: bool  # true: a token sees its own document alone; the papers did not mask
    checkpoint_every: Positive
    held_out_sequences: Annotated[int, Field(ge=0)]  # of each set, the last ones: never trained on
    select: Literal["last", "best"]  # which checkpoint becomes the model; best: the lowest loss on held-out sequences

    @model_validator(mode="after")
    def _mixture_has_weight(self) -> "TrainConfig":
        if sum(self.mixture.values()) <= 0:
            raise ValueError("the weights of `mixture` sum to zero: give at least one set a positive weight")
        return self

    @model_validator(mode="after")
    def _warmup_ends(self) -> "TrainConfig":
        if self.warmup_steps > self.steps:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) is more than steps ({self.steps})")
        if self.schedule_steps < self.steps:
            raise ValueError(f"schedule_steps ({self.schedule_steps}) is less than steps ({self.steps})")
        return self

    @model_validator(mode="after")
    def _best_is_measured(self) -> "TrainConfig":
        if self.select == "best" and not self.held_out_sequences:
            raise ValueError("select: best needs held_out_sequences above 0, on which checkpoints are compared")
        return self


class EvaluateConfig(Section):
    """What every trained model is measured on."""

    tasks: Annotated[tuple[Task, ...], Field(min_length=1)]
    max_new_tokens: Positive
    held_out_bytes: Positive  # of real code for `bits_held_out`
    cpu_seconds: Annotated[float, Field(gt=0)]  # of one program
    memory_mb: Positive


class TokenPrice(Section):
    """What an endpoint asks for tokens, in US dollars a million."""

    input_usd: Annotated[float, Field(ge=0, le=1e5)]
    output_usd: Annotated[float, Field(ge=0, le=1e5)]
    batch_share: Share = 0.5  # of that for a request in a batch file: half at the providers that offer it


class HourPrice(Section):
    """What an endpoint of one's own costs, in US dollars an hour, all its GPUs together."""

    hour_usd: Annotated[float, Field(ge=0, le=1e6)]


def _kind_of_price(value: object) -> str:
    has_hour = "hour_usd" in value if isinstance(value, dict) else isinstance(value, HourPrice)
    return "by hour" if has_hour else "by token"


Price = Annotated[
    Annotated[TokenPrice, Tag("by token")] | Annotated[HourPrice, Tag("by hour")], Discriminator(_kind_of_price)
]


class EndpointsConfig(Section):
    """How an LLM teacher is reached and what it may cost. Changing any of it asks nothing again."""

    base_urls: tuple[
        str, ...
    ] = ()  # of OpenAI-compatible servers, such as http://localhost:8000/v1; none: OpenAI's own
    key_variable: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] = "OPENAI_API_KEY"  # where the key stands
    concurrency: Annotated[int, Field(ge=1, le=4096)] = 64  # requests under way at most, all endpoints together
    deadline_seconds: Annotated[float, Field(gt=0)] = 300.0  # of one attempt
    attempts: Annotated[int, Field(ge=1, le=100)] = 6  # of one request, waiting for a rate limit not counted
    structured_output: Literal["auto", "off"] = "auto"  # ask the server to hold replies to a JSON schema
    prices: dict[str, Price] = Field(default_factory=dict)  # by model, without `openai:`
    max_usd: Annotated[float, Field(ge=0)] | None = None  # a hard cap on what one run may cost, all its steps together
    preview: Literal["ask", "go on"] = "ask"  # after the first replies to a new prompt
    offline: bool = False  # answer from the journal alone
    batch_file: str | None = None  # write the requests there in the providers' batch format instead of sending them

    @field_validator("base_urls")
    @classmethod
    def _plain(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("an endpoint is a URL such as http://localhost:8000/v1")
            if parts.username or parts.password or parts.query or parts.fragment:
                # Not shown: what stands there is likely a key.
                raise ValueError(
                    "the URL of an endpoint holds no user, password or query; keys come from the environment"
                )
        return urls


class MachineConfig(Section):
    """What the machine is. Never part of a step's identity; recorded in its manifest."""

    workers: Positive | None = None  # None: as many as the CPU quota
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"  # float16: with loss scaling
    compile: Literal["auto", "on", "off"] = "auto"
    micro_batch: Positive | None = None  # sequences of one process at a time; None: found by trying
    processes: Positive = 1  # of this node, one a GPU where there are GPUs
    nodes: Positive = 1
    rendezvous: Annotated[str, Field(pattern=r"^[\w.-]+:\d+$")] | None = None  # HOST:PORT of the first of several nodes
    parallel: Literal["auto", "ddp", "fsdp"] = "auto"  # auto: fsdp where the whole state does not fit one device
    activation_checkpointing: Literal["auto", "on", "off"] = "auto"  # auto: where no micro-batch fits without it
    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()  # beside the metrics in JSON lines
    teacher: EndpointsConfig = EndpointsConfig()
    unsafe_execution: bool = False  # run what models write without isolation, as you, with your files and network

    @model_validator(mode="after")
    def _nodes_meet(self) -> "MachineConfig":
        if self.nodes > 1 and self.rendezvous is None:
            raise ValueError("several nodes meet at `rendezvous`, HOST:PORT of the first; give it")
        return self


class Recipe(Section):
    """One whole experiment, from raw corpus to evaluated models."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    description: str
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    corpus: CorpusConfig
    annotate: AnnotateConfig
    classify: ClassifyConfig
    filter: FilterConfig
    dedup: DedupConfig
    decontaminate: DecontaminateConfig
    web: WebConfig | None = None  # left out: there is no second corpus
    topics: TopicsConfig | None = None  # left out: the topics that come with hornbook
    textbooks: TextbooksConfig | None = None
    general_textbooks: TextbooksConfig | None = None  # a second set of textbooks, of general knowledge (phi-1.5)
    exercises: ExercisesConfig | None = None
    verify: VerifyConfig
    tokenizer: TokenizerConfig
    pack: PackConfig
    pretrained: PretrainedConfig | None = None
    model: ModelConfig
    models: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")], TrainConfig], Field(min_length=1)
    ]
    evaluate: EvaluateConfig
    machine: MachineConfig = MachineConfig()

    @model_validator(mode="after")
    def _parts_fit(self) -> "Recipe":
        written = [textbooks for textbooks in (self.textbooks, self.general_textbooks) if textbooks is not None]
        if self.topics is not None and not any(textbooks.about == "general" for textbooks in written):
            raise ValueError("`topics` grows a tree of general knowledge, which textbooks `about: code` do not use")
        if self.general_textbooks is not None and self.general_textbooks.about != "general":
            raise ValueError("`general_textbooks` are `about: general`; code has its place in `textbooks`")
        if self.web is None and any(t.extracts is not None and t.extracts.of == "web" for t in written):
            raise ValueError("`extracts.of: web` needs the section `web`")
        if isinstance(self.tokenizer, PretrainedTokenizer) and self.pretrained is None:
            raise ValueError("`tokenizer.kind: pretrained` needs the section `pretrained`")
        optional = {
            "web": self.web,
            "textbooks": self.textbooks,
            "general_textbooks": self.general_textbooks,
            "exercises": self.exercises,
        }
        for name, train in self.models.items():
            for part, share in train.mixture.items():
                if share > 0 and part in optional and optional[part] is None:
                    raise ValueError(f"models.{name}.mixture: `{part}` has weight, and the recipe no section `{part}`")
            if train.start == "pretrained" and self.pretrained is None:
                raise ValueError(f"models.{name}.start: `pretrained` needs the section `pretrained`")
            if train.start == "pretrained" and isinstance(self.tokenizer, TrainedTokenizer):
                raise ValueError(
                    f"models.{name}.start: a pretrained model reads with its own tokenizer; set `tokenizer.kind: "
                    f"pretrained`"
                )
            if name in ("scratch", "pretrained"):
                raise ValueError(f"models: `{name}` is no name for a model; it says what one starts from")
        return self

    @property
    def trained_sets(self) -> tuple[PackedSet, ...]:
        """The sets some model is trained on, in the order of the pipeline."""
        used = {part for train in self.models.values() for part, share in train.mixture.items() if share > 0}
        return tuple(name for name in get_args(PackedSet) if name in used)
