"""The models an evaluation asks: a phi, computed by our own code, or any causal language model by transformers.

Texts become tokens as lm-evaluation-harness makes them (its `_encode_pair`), so that scores compare with those others
publish: white space at the end of a context goes over to the continuation, context and continuation are encoded as one
text and parted where the context's own encoding ends, and an empty context is the token that begins, or else ends, a
text. A prompt to complete stands behind end-of-text where our own code computes, as documents do in training;
transformers' models get what their tokenizer adds.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from tokenizers import Tokenizer
from torch import Tensor

from hornbook.errors import UserError
from hornbook.evaluate.code import cut_completion
from hornbook.model.config_file import CONFIG
from hornbook.model.generate import Sampling, TextGenerator
from hornbook.model.pretrained import load_pretrained
from hornbook.model.score import Likelihood, score_continuations, windows_of
from hornbook.model.source import PATTERNS, fingerprint_model, locate_model
from hornbook.model.transformer import Phi
from hornbook.model.vocabulary import END_OF_TEXT, end_of_text
from hornbook.recipe import PretrainedConfig

OWN_TYPE = "phi"  # `model_type` of what our own code computes
FOREIGN_BATCH_TOKENS = 2048  # of one forward pass of transformers, which gives the logits of all of them
MAX_CONTEXT = 4096  # of transformers' models: some say they read a million tokens
Pair = tuple[str, str]
Encode = Callable[[Sequence[str], bool], list[list[int]]]  # texts, and whether a tokenizer may add its own tokens
LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")  # names that architectures have for it
MOST_LAYERS = 1000  # transformers makes a module for each before it looks at the weights
ADAPTER = "adapter_config.json"  # names another model, which transformers would load in place of this one
FILES = (*PATTERNS, "*.json", "*.model", "*.txt")  # what transformers reads of a model of the hub


@dataclass(frozen=True, slots=True)
class Written:
    """A completion up to its stop string, and how many tokens of the prompt's beginning did not fit before it."""

    text: str | None  # None: the model's logits were not finite
    cut: int


class LanguageModel(Protocol):
    """What an evaluation needs of a model."""

    def describe(self) -> dict[str, Any]:
        """What the model is, and what computes it: JSON values that change whenever an answer could."""

    def log_likelihoods(self, pairs: Sequence[Pair]) -> list[Likelihood]:
        """Of each (context, continuation). A context that does not fit loses its beginning."""

    def complete(self, prompts: Sequence[str], stops: Sequence[str], max_new_tokens: int) -> list[Written]:
        """Greedy completions of at most half the model's context; a prompt that does not fit before one loses its
        beginning."""


class PhiModel:
    """A phi by our own code."""

    def __init__(self, phi: Phi, tokenizer: Tokenizer, identity: dict[str, Any]) -> None:
        self._phi, self._tokenizer, self._identity = phi, tokenizer, identity
        self._ending = end_of_text(tokenizer)
        self._generator: TextGenerator | None = None

    def describe(self) -> dict[str, Any]:
        """As the protocol."""
        weight = self._phi.lm_head.weight
        return {
            **self._identity,
            "parameters": sum(parameter.numel() for parameter in self._phi.parameters()),
            "context": self._phi.context,
            "engine": "hornbook",
            "prompts_behind": END_OF_TEXT,
            "precision": str(weight.dtype).removeprefix("torch."),
            "device": weight.device.type,
        }

    def log_likelihoods(self, pairs: Sequence[Pair]) -> list[Likelihood]:
        """As the protocol."""
        tokens = encode_pairs(self._encode, self._ending, pairs)
        fitted = [(_fit(context, target, self._phi.context), target) for context, target in tokens]
        scored = score_continuations(self._phi, fitted, lambda count: None)
        return [
            replace(one, cut=len(context) - len(kept))
            for one, (context, _), (kept, _) in zip(scored, tokens, fitted, strict=True)
        ]

    def complete(self, prompts: Sequence[str], stops: Sequence[str], max_new_tokens: int) -> list[Written]:
        """As the protocol."""
        if self._generator is None:
            self._generator = TextGenerator(self._phi, self._tokenizer)
        sampling = Sampling(min(max_new_tokens, self._phi.context // 2))
        made = self._generator.generate(prompts, stops, sampling)
        return [
            Written(None if one.finish == "not finite" else cut_completion(one.text, stops), one.prompt_tokens_cut)
            for one in made
        ]

    def _encode(self, texts: Sequence[str], with_own: bool) -> list[list[int]]:
        return [one.ids for one in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


class TransformersModel:
    """Any causal language model by transformers, without code of its own."""

    def __init__(self, model: Any, tokenizer: Any, identity: dict[str, Any]) -> None:
        self._model, self._tokenizer, self._identity = model, tokenizer, identity
        stated = getattr(model.config, "max_position_embeddings", None) or MAX_CONTEXT
        self._context = min(int(stated), MAX_CONTEXT)
        known = [one for one in (tokenizer.bos_token_id, tokenizer.eos_token_id) if one is not None]
        if not known:
            raise UserError(
                f"{identity['name']}: its tokenizer has neither an end-of-text nor a beginning-of-text token"
            )
        self._beginning, self._ending = known[0], known[-1]  # the harness too begins with the former where there is one
        stated_ends = model.generation_config.eos_token_id
        ends = [] if stated_ends is None else stated_ends if isinstance(stated_ends, list) else [stated_ends]
        if not all(isinstance(one, int) and 0 <= one < model.config.vocab_size for one in ends):
            raise UserError(f"{identity['name']}: its generation_config.json names an end of text that is no token")
        self._ends = sorted({self._ending, *ends})

    def describe(self) -> dict[str, Any]:
        """As the protocol."""
        import transformers

        return {
            **self._identity,
            "parameters": self._model.num_parameters(),
            "context": self._context,
            "engine": f"transformers {transformers.__version__}",
            "precision": str(self._model.dtype).removeprefix("torch."),
            "device": self._model.device.type,
        }

    @torch.inference_mode()
    def log_likelihoods(self, pairs: Sequence[Pair]) -> list[Likelihood]:
        """As the protocol."""
        tokens = encode_pairs(self._encode, self._beginning, pairs)
        fitted = [(_fit(context, target, self._context), target) for context, target in tokens]
        windows = [
            (piece, first, pair)
            for pair, (context, target) in enumerate(fitted)
            for piece, first in windows_of(context, target, self._context)
        ]
        windows.sort(key=lambda window: -len(window[0]))
        sums, greedy = [0.0] * len(pairs), [True] * len(pairs)
        while windows:
            count = max(1, FOREIGN_BATCH_TOKENS // len(windows[0][0]))
            batch, windows = windows[:count], windows[count:]
            for (_, _, pair), (value, is_greedy) in zip(batch, self._score(batch), strict=True):
                sums[pair] += value
                greedy[pair] &= is_greedy
        return [
            Likelihood(sums[pair], len(target), greedy[pair], len(context) - len(fitted[pair][0]))
            for pair, (context, target) in enumerate(tokens)
        ]

    def _score(self, batch: Sequence[tuple[list[int], int, int]]) -> Iterator[tuple[float, bool]]:
        width, device = len(batch[0][0]) - 1, self._model.device
        inputs = [piece[:-1] for piece, _, _ in batch]
        tokens = torch.tensor([row + [self._ending] * (width - len(row)) for row in inputs])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in inputs])
        logits = self._model(input_ids=tokens.to(device), attention_mask=mask.to(device)).logits
        for (piece, first, _), given in zip(batch, logits, strict=True):
            wanted = torch.tensor(piece[first:], device=device)
            own = given[first - 1 : len(piece) - 1].float()
            values = own.gather(1, wanted[:, None])[:, 0] - own.logsumexp(dim=1)
            yield float(values.double().sum()), bool((own.argmax(dim=1) == wanted).all())

    @torch.inference_mode()
    def complete(self, prompts: Sequence[str], stops: Sequence[str], max_new_tokens: int) -> list[Written]:
        """As the protocol."""
        from transformers import GenerationConfig, LogitsProcessorList

        new = min(max_new_tokens, self._context // 2)
        encoded = [row or [self._ending] for row in self._encode(prompts, True)]
        kept = [row[-(self._context - new) :] for row in encoded]
        width = max(map(len, kept))
        tokens = torch.tensor([[self._ending] * (width - len(row)) + row for row in kept])  # padding at the left
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in kept])
        settings = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=new,
            do_sample=False,
            pad_token_id=self._ending,
            eos_token_id=self._ends,
            stop_strings=list(stops) or None,
        )
        device, finite = self._model.device, _Finite(len(kept))
        made: Tensor = self._model.generate(
            input_ids=tokens.to(device), attention_mask=mask.to(device), generation_config=settings,
            tokenizer=self._tokenizer, logits_processor=LogitsProcessorList([finite]),
        )  # fmt: skip
        texts = self._tokenizer.batch_decode(made[:, width:], skip_special_tokens=True)
        return [
            Written(cut_completion(text, stops) if is_finite else None, len(whole) - len(part))
            for text, is_finite, whole, part in zip(texts, finite.rows.tolist(), encoded, kept, strict=True)
        ]

    def _encode(self, texts: Sequence[str], with_own: bool) -> list[list[int]]:
        ids: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=with_own)["input_ids"] if texts else []
        return ids


class _Finite:
    """Watches the logits of each row while transformers writes."""

    def __init__(self, count: int) -> None:
        self.rows = torch.ones(count, dtype=torch.bool)

    def __call__(self, tokens: Tensor, logits: Tensor) -> Tensor:
        self.rows &= logits.amax(dim=-1).isfinite().cpu()
        return logits


def encode_pairs(encode: Encode, ending: int, pairs: Sequence[Pair]) -> list[tuple[list[int], list[int]]]:
    """Tokens of context and continuation, as this module's docstring says. Every text is encoded once."""
    moved: list[Pair] = []
    for context, continuation in pairs:
        kept = context.rstrip()
        moved.append((kept, context[len(kept) :] + continuation))
    after = list(dict.fromkeys(text for context, target in moved if context for text in (context, context + target)))
    alone = list(dict.fromkeys(target for context, target in moved if not context))
    known, bare = (
        dict(zip(after, encode(after, True), strict=True)),
        dict(zip(alone, encode(alone, False), strict=True)),
    )
    return [
        (known[context], known[context + target][len(known[context]) :]) if context else ([ending], bare[target])
        for context, target in moved
    ]


def _fit(context: list[int], target: list[int], length: int) -> list[int]:
    """The end of a context that leaves room for its target, as the harness cuts it; at least one token."""
    room = length + 1 - len(target)
    return context[-room:] if 0 < room < len(context) else context


def open_language_model(source: PretrainedConfig, name: str, precision: str, device: str) -> LanguageModel:
    """A model from its directory in the Hugging Face format or from the hub, to be asked.

    `precision` is float32, bfloat16 or float16. A phi is computed by our own code, any other architecture by
    transformers (extra `eval`). Raises UserError where there is none, its weights are pickled or not all there, it
    needs code of its own, transformers does not know it, or there is no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: PyTorch sees no GPU; leave it out, or say cpu")
    place = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    directory = locate_model(source, FILES)
    identity = {"name": name, "weights": fingerprint_model(source, FILES)}
    dtype: torch.dtype = getattr(torch, precision)
    config = _read_config(directory)
    if config.get("model_type") == OWN_TYPE:
        phi, tokenizer = load_pretrained(directory)
        return PhiModel(phi.to(place, dtype), tokenizer, identity)
    for name in LAYERS:
        if not isinstance(count := config.get(name, 0), int) or count > MOST_LAYERS:
            raise UserError(f"{directory / CONFIG}: {name} is {count!r}; it may be {MOST_LAYERS} at most")
    if (directory / ADAPTER).exists():
        raise UserError(f"{directory}: holds an adapter ({ADAPTER}); merge it into its model, and give that")
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
        from transformers.utils import logging
    except ImportError as error:
        raise UserError(
            f"{name}: is no phi, and transformers is not installed; pip install 'hornbook[eval]'"
        ) from error
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            directory,
            dtype=dtype,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
        read = AutoTokenizer.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # of many kinds: safetensors', huggingface_hub's, a missing tokenizer library's
        raise UserError(f"{directory}: transformers cannot load it ({' '.join(str(error).split())[:300]})") from error
    model, told = loaded
    absent = sorted(map(str, [*told["missing_keys"], *told["mismatched_keys"]]))
    if absent:  # transformers would fill them at random
        raise UserError(f"{directory}: its weights lack {', '.join(absent[:3])}, or have them in another shape")
    opened = TransformersModel(model.to(place).eval(), read, identity)
    # `generate` takes what it is not told from here, such as a repetition penalty: then greedy is not greedy.
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    return opened


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / CONFIG
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({type(error).__name__}); give the directory of a model") from error
