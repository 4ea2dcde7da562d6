"""Completions of ragged prompts in one batch with a KV cache, greedy or sampled; whole or as a stream."""

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from tokenizers import Tokenizer
from torch import Tensor

from hornbook.errors import UserError
from hornbook.model.decode import Decoding, Weights
from hornbook.model.transformer import Phi
from hornbook.model.vocabulary import end_of_text, token_bytes

COMPACT_BELOW = 0.75  # share of rows still under way below which the cache is copied without the finished ones
GREEDY_BELOW = 1e-6  # a temperature by which no logit can be divided
BROKEN = -1  # in place of a token: the logits are not finite, and nothing was chosen
Finish = Literal["end of text", "stop string", "length", "not finite"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn: temperature 0 is greedy; `top_p` keeps the most probable tokens of that mass."""

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Generated:
    """What a model wrote after a prompt."""

    text: str  # as generated: where a stop string ended it, that string is still in it; of "not finite", no answer
    tokens: int
    finish: Finish
    prompt_tokens_cut: int  # at the prompt's left, where prompt and completion do not fit the context


class TextGenerator:
    """A model readied to write: make one, and ask it for many batches.

    It holds the weights of the blocks anew, in `precision` (None: the model's own), as decoding multiplies them.
    """

    def __init__(self, phi: Phi, tokenizer: Tokenizer, precision: torch.dtype | None = None) -> None:
        self._weights = Weights(phi, precision or phi.lm_head.weight.dtype)
        self._tokenizer = tokenizer
        self._pieces, self._ending = token_bytes(tokenizer), end_of_text(tokenizer)

    def generate(self, prompts: Sequence[str], stops: Sequence[str], sampling: Sampling) -> list[Generated]:
        """A completion of each prompt, which ends at end-of-text, at the first of `stops`, or after `max_new_tokens`.

        Or where the model's logits are not finite: then there is no telling what it would have written. A prompt is
        read after end-of-text, as a document is in training. Trailing white space must be cut from prompts
        first. A completion depends on the other prompts of the batch by rounding only. Raises UserError where
        `max_new_tokens` leaves no room for a prompt in the model's context.
        """
        stop_bytes = [stop.encode() for stop in stops]
        encoded = [self._fit(prompt, sampling.max_new_tokens) for prompt in prompts]
        finishes: list[Finish] = ["length"] * len(prompts)
        written, counts = [bytearray() for _ in prompts], [0] * len(prompts)
        alive = [True] * len(prompts)
        for step in decode(self._weights, [tokens for tokens, _ in encoded], sampling, alive):
            for row, token in step:
                if token == BROKEN:
                    alive[row], finishes[row] = False, "not finite"
                    continue
                piece = self._pieces[token]
                counts[row] += 1
                written[row] += piece
                if token == self._ending:
                    alive[row], finishes[row] = False, "end of text"
                elif _holds_stop(written[row], len(piece), stop_bytes):
                    alive[row], finishes[row] = False, "stop string"
        return [
            Generated(written[row].decode("utf-8", "replace"), counts[row], finishes[row], encoded[row][1])
            for row in range(len(prompts))
        ]

    def stream(self, prompt: str, sampling: Sampling) -> Iterator[str]:
        """The completion of one prompt piece by piece, as characters become whole, until end-of-text or the length."""
        tokens, _ = self._fit(prompt, sampling.max_new_tokens)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for ((_, token),) in decode(self._weights, [tokens], sampling, [True]):
            if token == BROKEN:
                raise UserError(
                    "the model's logits are not finite: its weights are damaged, or its precision too small"
                )
            if token == self._ending:
                break
            if text := decoder.decode(self._pieces[token]):
                yield text
        if rest := decoder.decode(b"", final=True):
            yield rest

    def _fit(self, prompt: str, max_new_tokens: int) -> tuple[list[int], int]:
        """End-of-text and the prompt's last tokens that leave room in the context, and how many were cut."""
        room = self._weights.context - max_new_tokens
        if room < 1:
            raise UserError(
                f"max_new_tokens is {max_new_tokens}, the model's context {self._weights.context}: ask for fewer"
            )
        tokens = [self._ending, *self._tokenizer.encode(prompt, add_special_tokens=False).ids]
        return tokens[-room:], max(0, len(tokens) - room)


def _holds_stop(written: bytearray, new: int, stops: Sequence[bytes]) -> bool:
    """Whether a stop string ends in the last `new` bytes."""
    return any(written.find(stop, max(0, len(written) - new - len(stop) + 1)) >= 0 for stop in stops)


@torch.inference_mode()
def decode(
    weights: Weights, prompts: Sequence[Sequence[int]], sampling: Sampling, alive: Sequence[bool]
) -> Iterator[list[tuple[int, int]]]:
    """The next (row, token) of all rows under way, again and again, BROKEN for a token where logits are not finite.

    The caller clears `alive` of finished rows.
    """
    if not prompts:
        return
    # Of the batch, longest first; finished rows run along until the cache is copied without them
    rows = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    # A generator for each row, so that a row's draws do not depend on how many others are under way
    generators = [torch.Generator().manual_seed(sampling.seed * 1_000_003 + row) for row in range(len(prompts))]
    decoding = Decoding(weights, [prompts[row] for row in rows], sampling.max_new_tokens)
    logits = decoding.read()
    for left in range(sampling.max_new_tokens, 0, -1):
        chosen = _choose(logits, sampling, [generators[row] for row in rows])
        # The greatest of logits with a NaN is NaN; that of a row without a finite one is not finite either.
        told = torch.where(logits.amax(dim=-1).isfinite(), chosen, BROKEN)
        yield [(row, token) for row, token in zip(rows, told.tolist(), strict=True) if alive[row]]
        under_way = [place for place, row in enumerate(rows) if alive[row]]
        if not under_way or left == 1:
            return
        if len(under_way) < COMPACT_BELOW * len(rows):
            decoding.keep(under_way)
            chosen, rows = chosen[torch.tensor(under_way, device=chosen.device)], [rows[place] for place in under_way]
        logits = decoding.step(chosen)


def _choose(logits: Tensor, sampling: Sampling, generators: Sequence[torch.Generator]) -> Tensor:
    """The next token of each row: logits (B, V) to (B,)."""
    if sampling.temperature < GREEDY_BELOW:
        return logits.argmax(dim=-1)
    ranked, order = (logits.float() / sampling.temperature).softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    mass = ranked.cumsum(dim=-1)
    beyond = mass - ranked >= sampling.top_p  # the token that crosses `top_p` is kept, and so is always the first
    beyond[:, 0] = False
    ranked = ranked.masked_fill(beyond, 0.0)
    mass = ranked.cumsum(dim=-1)
    draws = torch.cat([torch.rand(1, generator=generator) for generator in generators]).to(logits.device)
    places = torch.searchsorted(mass, (draws * mass[:, -1])[:, None], right=True).clamp(max=logits.shape[-1] - 1)
    return order.gather(1, places)[:, 0]
