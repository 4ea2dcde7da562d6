"""Decoding: a batch of ragged prompts read at once, then a token of every row at a time, with a KV cache.

Both branches of a block read one LayerNorm and are added, so of a block two matrix products remain: queries, keys,
values and the MLP's inner layer are one, the two output layers another. Shapes: B rows, T tokens, H hidden, N heads,
D dimensions of a head, V entries of the vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hornbook.model.config_file import NORM_EPSILON
from hornbook.model.transformer import Block, Phi, rotate

SPAN_ROWS = 32  # rows of like lengths that are read together: little padding, and their keys stay in a core's cache
BUCKET_SLOTS = 256  # on a GPU, a step is recorded once for every so many slots of the cache


@dataclass(frozen=True, slots=True)
class Layer:
    """The weights of one block, side by side as they are multiplied."""

    norm_weight: Tensor  # (H,)
    norm_bias: Tensor  # (H,)
    inward: Tensor  # (7 H, H): queries, keys, values, the MLP's inner layer
    inward_bias: Tensor  # (7 H,)
    outward: Tensor  # (H, 5 H): attention's output, the MLP's
    outward_bias: Tensor  # (H,)


class Weights:
    """A model's weights readied for decoding, once for all batches."""

    def __init__(self, phi: Phi, precision: torch.dtype) -> None:
        self.config, self.context, self.vocab_size = phi.config, phi.context, phi.vocab_size
        with torch.no_grad():
            self.layers = [_layer(block, precision) for block in phi.model.layers if isinstance(block, Block)]
            self.embedding = phi.model.embed_tokens.weight.to(precision)
            self.norm_weight = phi.model.final_layernorm.weight.to(precision)
            self.norm_bias = phi.model.final_layernorm.bias.to(precision)
            # Rows beyond the tokenizer's entries stand for no token, and are never written.
            self.head = phi.lm_head.weight[: phi.vocab_size].to(precision)
            self.head_bias = phi.lm_head.bias[: phi.vocab_size].to(precision)
            self.cosine, self.sine = phi.cosine.to(precision), phi.sine.to(precision)

    def logits(self, x: Tensor) -> Tensor:
        """What comes after the last blocks' output (B, H): (B, V)."""
        normed = functional.layer_norm(x, x.shape[-1:], self.norm_weight, self.norm_bias, NORM_EPSILON)
        return functional.linear(normed, self.head, self.head_bias)

    def run(
        self,
        tokens: Tensor,
        positions: Tensor,
        attend: Callable[[int, Tensor, Tensor, Tensor], Tensor],
    ) -> Tensor:
        """Through all blocks: tokens and their positions, (B, T) each, to (B, T, H).

        `attend` is given the number of the layer, and queries, keys and values (B, N, T, D), and gives (B, N, T, D).
        """
        batch, length = tokens.shape
        hidden, heads = self.config.hidden, self.config.heads
        cosine, sine = self.cosine[positions][:, None], self.sine[positions][:, None]
        x = functional.embedding(tokens, self.embedding)
        for number, layer in enumerate(self.layers):
            normed = functional.layer_norm(x, (hidden,), layer.norm_weight, layer.norm_bias, NORM_EPSILON)
            fused = functional.linear(normed, layer.inward, layer.inward_bias)
            qkv = fused[..., : 3 * hidden].view(batch, length, 3, heads, hidden // heads).permute(2, 0, 3, 1, 4)
            query, key = rotate(qkv[:2], cosine, sine).unbind()
            mixed = attend(number, query, key, qkv[2]).transpose(1, 2).reshape(batch, length, hidden)
            inner = functional.gelu(fused[..., 3 * hidden :], approximate="tanh")
            x = x + functional.linear(torch.cat((mixed, inner), dim=-1), layer.outward, layer.outward_bias)
        return x


def _layer(block: Block, precision: torch.dtype) -> Layer:
    attention, mlp, norm = block.self_attn, block.mlp, block.input_layernorm
    inward = (attention.q_proj, attention.k_proj, attention.v_proj, mlp.fc1)
    return Layer(
        norm.weight.to(precision),
        norm.bias.to(precision),
        torch.cat([linear.weight.to(precision) for linear in inward]),
        torch.cat([linear.bias.to(precision) for linear in inward]),
        torch.cat((attention.dense.weight.to(precision), mlp.fc2.weight.to(precision)), dim=1),
        (attention.dense.bias + mlp.fc2.bias).to(precision),
    )


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring rows of a batch and the first slot any of them uses."""

    first_row: int
    end_row: int
    first_slot: int


class Decoding:
    """One batch under way. Prompts stand flush right in the cache: every row writes at the same slot.

    Give the prompts longest first, so that rows of like lengths are neighbours. They and `new_tokens` must fit the
    model's context.
    """

    def __init__(self, weights: Weights, prompts: Sequence[Sequence[int]], new_tokens: int) -> None:
        self.weights, self.prompts = weights, prompts
        self.used = len(prompts[0])  # slots of the cache that are filled
        device, config = weights.head.device, weights.config
        self.starts = [self.used - len(prompt) for prompt in prompts]  # of each row: the slots before it are padding
        slots = self.used + new_tokens - 1
        if device.type == "cuda":
            slots = -(-slots // BUCKET_SLOTS) * BUCKET_SLOTS
        shape = (config.layers, len(prompts) * config.heads, slots, config.hidden // config.heads)
        self.keys = torch.zeros(shape, dtype=weights.head.dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self._ready_rows()

    def read(self) -> Tensor:
        """Read the prompts and give the logits after each: (B, V)."""
        return torch.cat([self._read_span(span) for span in self._spans])

    def step(self, tokens: Tensor) -> Tensor:
        """Read one more token of every row (B,) and give the logits after it: (B, V).

        On a GPU the result is overwritten by the next step.
        """
        self._tokens.copy_(tokens)
        self._slot.fill_(self.used)
        if self.keys.device.type == "cuda":
            width = (self.used // BUCKET_SLOTS + 1) * BUCKET_SLOTS
            logits = self._recorded(width)
        else:
            logits = self._step(self.used + 1)
        self.used += 1
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only, in this order."""
        heads = self.weights.config.heads
        places = torch.tensor([row * heads + head for row in rows for head in range(heads)], device=self.keys.device)
        self.keys, self.values = self.keys[:, places], self.values[:, places]
        self.starts = [self.starts[row] for row in rows]
        self._ready_rows()

    def _ready_rows(self) -> None:
        """What depends on which rows are under way."""
        count, device = len(self.starts), self.keys.device
        self._spans = [
            Span(first, min(first + SPAN_ROWS, count), min(self.starts[first : first + SPAN_ROWS]))
            for first in range(0, count, SPAN_ROWS)
        ]
        self._start = torch.tensor(self.starts, device=device)
        self._tokens = torch.zeros(count, dtype=torch.long, device=device)
        self._slot = torch.zeros(1, dtype=torch.long, device=device)
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}

    def _read_span(self, span: Span) -> Tensor:
        rows, first, end = slice(span.first_row, span.end_row), span.first_slot, self.used
        prompts, length = self.prompts[rows], end - span.first_slot
        tokens = torch.zeros((len(prompts), length), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            tokens[row, length - len(prompt) :] = torch.tensor(prompt)
        start = self._start[rows, None] - first
        places = torch.arange(length, device=start.device)
        mask: Tensor | None = None
        if any(len(prompt) != length for prompt in prompts):
            # Padding sees itself: a row of the mask without any key would make NaN of the softmax.
            seen = (places >= start)[:, None] | torch.eye(length, dtype=torch.bool, device=start.device)
            mask = (seen & (places <= places[:, None]))[:, None]

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = self._of_rows(self.keys[layer], span), self._of_rows(self.values[layer], span)
            keys[:, first:end], values[:, first:end] = key.flatten(0, 1), value.flatten(0, 1)
            return functional.scaled_dot_product_attention(query, key, value, mask, is_causal=mask is None)

        x = self.weights.run(tokens.to(start.device), (places - start).clamp(min=0), attend)
        return self.weights.logits(x[:, -1])

    def _step(self, width: int) -> Tensor:
        """A step whose queries see the first `width` slots of the cache at most, the last of them filled or empty."""
        biases = [self._bias(span, width) for span in self._spans]

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            self.keys[layer].index_copy_(1, self._slot, key.flatten(0, 1))
            self.values[layer].index_copy_(1, self._slot, value.flatten(0, 1))
            mixed = []
            for span, bias in zip(self._spans, biases, strict=True):
                keys = self._of_rows(self.keys[layer], span)[:, span.first_slot : width]
                values = self._of_rows(self.values[layer], span)[:, span.first_slot : width]
                mixed.append(_attend_one(query[span.first_row : span.end_row].flatten(0, 1), keys, values, bias))
            return torch.cat(mixed).view(query.shape)

        positions = self._slot - self._start
        return self.weights.logits(self.weights.run(self._tokens[:, None], positions[:, None], attend)[:, 0])

    def _bias(self, span: Span, width: int) -> Tensor:
        """What is added to the scores of a step: minus infinity before a row's start and after the new token.

        (rows × N, 1, slots of the span)
        """
        slots = torch.arange(span.first_slot, width, device=self._start.device)
        hidden = (slots < self._start[span.first_row : span.end_row, None]) | (slots > self._slot)
        bias = torch.zeros(hidden.shape, dtype=self.keys.dtype, device=hidden.device).masked_fill(hidden, float("-inf"))
        return bias.repeat_interleave(self.weights.config.heads, dim=0)[:, None]

    def _of_rows(self, cache: Tensor, span: Span) -> Tensor:
        heads = self.weights.config.heads
        return cache[span.first_row * heads : span.end_row * heads]

    def _recorded(self, width: int) -> Tensor:
        """The same step as one launch: done as it is the first time, then recorded, and replayed from then on."""
        if width not in self._graphs:
            done = self._step(width)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                logits = self._step(width)
            self._graphs[width] = graph, logits
            return done
        graph, logits = self._graphs[width]
        graph.replay()
        return logits


def _attend_one(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Attention of one new token: query (R, 1, D), keys and values (R, S, D), bias (R, 1, S) to (R, 1, D)."""
    if query.device.type == "cpu" and query.dtype == torch.float32:
        scores = torch.baddbmm(bias, query, keys.transpose(1, 2), alpha=query.shape[-1] ** -0.5)
        return torch.bmm(torch.softmax(scores, dim=-1), values)
    return functional.scaled_dot_product_attention(query[None], keys[None], values[None], bias[None])[0]
