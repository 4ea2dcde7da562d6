"""The decoder of phi-1 and phi-1.5 (phi-1, section 2.3; phi-1.5, section 2.1).

Parameters carry the names they have in transformers' `PhiForCausalLM`, so a saved directory is already that format.
Shapes: B sequences, T tokens, H hidden, N heads, D dimensions of a head, V rows of embedding and head.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from hornbook.errors import UserError
from hornbook.model.config_file import (
    CONFIG,
    INIT_STD,
    NORM_EPSILON,
    ROTARY_BASE,
    phi_config,
    read_config,
    write_config,
)
from hornbook.model.shape import embedding_rows
from hornbook.model.weights_file import WEIGHTS
from hornbook.recipe import ModelConfig

EXPLICIT_LENGTH = 512  # tokens up to which attention on a CPU is written out


class Attention(nn.Module):
    """Causal self-attention whose queries and keys are rotated on the first `rotary` dimensions of each head."""

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.q_proj = nn.Linear(hidden, hidden)
        self.k_proj = nn.Linear(hidden, hidden)
        self.v_proj = nn.Linear(hidden, hidden)
        self.dense = nn.Linear(hidden, hidden)

    def project(self, x: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries, rotated keys, values: (B, N, T, D) each, of x (B, T, H)."""
        batch, length, hidden = x.shape
        weight = torch.cat((self.q_proj.weight, self.k_proj.weight, self.v_proj.weight)).to(x.dtype)
        bias = torch.cat((self.q_proj.bias, self.k_proj.bias, self.v_proj.bias)).to(x.dtype)
        fused = functional.linear(x, weight, bias).view(batch, length, 3, self.heads, hidden // self.heads)
        fused = fused.permute(2, 0, 3, 1, 4)
        query, key = rotate(fused[:2], cosine, sine).unbind()
        return query, key, fused[2]

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, seen: Tensor | None) -> Tensor:
        """Attention inside whole sequences: (B, T, H) to (B, T, H). `seen` (B, 1, T, T) is true where a token sees
        another; None: every token sees those before it."""
        query, key, value = self.project(x, cosine, sine)
        dropout = self.dropout if self.training else 0.0
        if x.device.type == "cpu" and x.shape[1] <= EXPLICIT_LENGTH:
            return self.merge(explicit_attention(query, key, value, seen, dropout))
        mixed = functional.scaled_dot_product_attention(query, key, value, seen, dropout, is_causal=seen is None)
        return self.merge(mixed)

    def merge(self, mixed: Tensor) -> Tensor:
        """The heads side by side, through the output projection: (B, N, T, D) to (B, T, H)."""
        return linear(mixed.transpose(1, 2).flatten(2), self.dense)


class FeedForward(nn.Module):
    """The MLP: four times as wide inside, GELU in its tanh form."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(hidden, 4 * hidden)
        self.fc2 = nn.Linear(4 * hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H) to (B, T, H)."""
        return linear(gelu_tanh(linear(x, self.fc1)), self.fc2)


class Block(nn.Module):
    """Attention and MLP side by side on one LayerNorm, both added to the residual stream."""

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(hidden, heads, dropout)
        self.mlp = FeedForward(hidden)
        self.input_layernorm = nn.LayerNorm(hidden, eps=NORM_EPSILON)
        self.residual_dropout = nn.Dropout(dropout)
        self.compute: BlockFunction = parallel_block  # training may compile it
        self.recompute = False  # in the backward pass, what lies inside the block, instead of keeping it

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, seen: Tensor | None) -> Tensor:
        """(B, T, H) to (B, T, H). Both branches compute in the precision of the rotary tables."""
        if self.recompute and self.training:
            out = checkpoint(self.compute, self, x, cosine, sine, seen, use_reentrant=False)
            assert isinstance(out, Tensor)
            return out
        return self.compute(self, x, cosine, sine, seen)


def parallel_block(block: Block, x: Tensor, cosine: Tensor, sine: Tensor, seen: Tensor | None) -> Tensor:
    """What a block computes, as a function: compiled once, it serves every block of every model of its shape."""
    normed = block.input_layernorm(x).to(cosine.dtype)
    attended, fed = block.self_attn(normed, cosine, sine, seen), block.mlp(normed)
    out: Tensor = x + block.residual_dropout(attended) + block.residual_dropout(fed)
    return out


BlockFunction = Callable[[Block, Tensor, Tensor, Tensor, Tensor | None], Tensor]


def linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """The layer at the precision of `x`; its weights stay as they are."""
    return functional.linear(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype))


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU in its tanh form."""
    if torch.compiler.is_compiling():
        # By tanh(u) = 2 sigmoid(2u) - 1: compiled, the sigmoid takes half the time of the tanh
        wide = x.float()
        return (wide * torch.sigmoid(1.5957691216057308 * (wide + 0.044715 * wide * wide * wide))).to(x.dtype)
    return functional.gelu(x, approximate="tanh")


def explicit_attention(query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None, dropout: float) -> Tensor:
    """Attention by two matrix products: (B, N, T, D) each. `seen` (B, 1, T, T): None is causal.

    On a CPU with bfloat16 units its backward pass takes a quarter of the time of PyTorch's flash attention (9 ms beside
    38 ms for 36 sequences of 256 tokens, 4 heads of 64, on 2 cores). It holds all T × T weights: for short sequences.
    """
    length = query.shape[2]
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if seen is None:
        scores = scores + torch.full((length, length), float("-inf"), dtype=query.dtype, device=query.device).triu(1)
    else:
        scores = scores.masked_fill(~seen, float("-inf"))
    return functional.dropout(torch.softmax(scores, dim=-1), dropout) @ value


class Decoder(nn.Module):
    """Embedding, blocks and final LayerNorm: token ids (B, T) to (B, T, H)."""

    def __init__(self, config: ModelConfig, rows: int, dropout: float) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(rows, config.hidden)
        self.layers = nn.ModuleList(Block(config.hidden, config.heads, dropout) for _ in range(config.layers))
        self.final_layernorm = nn.LayerNorm(config.hidden, eps=NORM_EPSILON)


class Phi(nn.Module):
    """A phi: untied head with bias over a decoder of parallel blocks.

    `vocab_size` is the number of the tokenizer's entries; embedding and head may have more rows, which stand for no
    token (`config.padded_vocab_size`). `context` is the longest sequence it reads. `dropout` acts on attention weights
    and on both branches before the residual sum, in training mode only.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, config: ModelConfig, vocab_size: int, context: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.config, self.vocab_size, self.context = config, vocab_size, context
        rows = embedding_rows(config, vocab_size)
        self.model = Decoder(config, rows, dropout)
        self.lm_head = nn.Linear(config.hidden, rows)
        cosine, sine = rotary_tables(int(config.hidden // config.heads * config.rotary_share), context)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    def initialize(self, seed: int) -> None:
        """Normal weights of standard deviation 0.02, zero biases, unit LayerNorms (the released phi-1's init)."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, (nn.Linear, nn.Embedding)):
                    weight = torch.empty(module.weight.shape).normal_(0.0, INIT_STD, generator=generator)
                    module.weight.copy_(weight)
                if isinstance(module, nn.LayerNorm):
                    module.weight.fill_(1.0)
                if isinstance(module, (nn.Linear, nn.LayerNorm)):
                    module.bias.zero_()

    def features(
        self,
        tokens: Tensor,
        precision: torch.dtype,
        separator: int | None = None,
        seen: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """What the head reads, for whole sequences: (B, T) to (B, T, H).

        The matrix products compute in `precision`; the residual stream and the LayerNorms keep that of the weights.
        With a `separator`, the id that stands between documents, a token sees its own document alone. For rows that are
        no sequences, `seen` (B, 1, T, T) is true where a token sees another, and `positions` (B, T) are their places.
        """
        if positions is None:
            cosine, sine = self.cosine[: tokens.shape[1]].to(precision), self.sine[: tokens.shape[1]].to(precision)
        else:
            cosine, sine = self.cosine[positions][:, None].to(precision), self.sine[positions][:, None].to(precision)
        if separator is not None:
            seen = same_document(tokens, separator)
        x = self.model.embed_tokens(tokens)
        for block in self.model.layers:
            x = block(x, cosine, sine, seen)
        out: Tensor = self.model.final_layernorm(x)
        return out.to(precision)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of every next token, at the precision of the weights: (B, T) to (B, T, V)."""
        logits: Tensor = self.lm_head(self.features(tokens, self.lm_head.weight.dtype))
        return logits

    def save(self, directory: Path, end_of_text: int) -> None:
        """Write `model.safetensors` and `config.json` (the fields of transformers' PhiConfig).

        `end_of_text` is the tokenizer's id by which a document ends.
        """
        save_file(self.state_dict(), directory / WEIGHTS, metadata={"format": "pt"})
        write_config(directory, phi_config(self.config, self.vocab_size, self.context, end_of_text))


def same_document(tokens: Tensor, separator: int) -> Tensor:
    """Where a token sees another, of those before it: (B, T) to (B, 1, T, T). A separator begins a document, as it does
    before a prompt."""
    document = (tokens == separator).cumsum(dim=1)
    causal = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool, device=tokens.device).tril()
    return ((document[:, :, None] == document[:, None, :]) & causal)[:, None]


def rotary_tables(rotary: int, context: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of each position's angles: (context, rotary) each, both halves of a head's pair alike."""
    frequencies = 1.0 / ROTARY_BASE ** (torch.arange(0, rotary, 2, dtype=torch.int64).float() / rotary)
    angles = torch.arange(context, dtype=torch.float32)[:, None] * frequencies
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn the first dimensions of each head by its position's angles, dimension i paired with i + rotary / 2.

    `x` is (…, T, D); the tables are (T, rotary), or (B, 1, T, rotary) where rows differ. What lies beyond `rotary`
    passes unturned.
    """
    rotary = cosine.shape[-1]
    turned, rest = x[..., :rotary], x[..., rotary:]
    low, high = turned.chunk(2, dim=-1)
    turned = turned * cosine + torch.cat((-high, low), dim=-1) * sine
    return torch.cat((turned.to(x.dtype), rest), dim=-1)


def load_model(directory: Path, dropout: float = 0.0) -> Phi:
    """A model from the directory `Phi.save` wrote, in evaluation mode on the CPU, float32.

    Raises UserError where a file is missing, is no phi of ours, or does not hold every parameter in its shape.
    """
    described = read_config(directory)
    model = Phi(described.config, described.vocab_size, described.context, dropout)
    try:
        model.load_state_dict(load_file(directory / WEIGHTS))
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise UserError(f"{directory / WEIGHTS}: not the weights of its {CONFIG} ({_line(error)})") from error
    return model.eval()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
