"""The decoder of phi-1 and phi-1.5 (phi-1, section 2.3; phi-1.5, section 2.1).

Parameters carry the names they have in transformers' `PhiForCausalLM`, so a saved directory is already that format.
Shapes: B sequences, T tokens, H hidden, N heads, D dimensions of a head, V entries of the vocabulary.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from hornbook.errors import UserError
from hornbook.recipe import ModelConfig

ROTARY_BASE = 10000.0
NORM_EPSILON = 1e-5
INIT_STD = 0.02
EXPLICIT_LENGTH = 512  # tokens up to which attention on a CPU is written out
END_OF_TEXT_ID = 0  # `<|endoftext|>`, the first entry of the vocabulary
WEIGHTS = "model.safetensors"
CONFIG = "config.json"


def parameter_count(config: ModelConfig, vocab_size: int) -> int:
    """The exact number of parameters: 1,418,270,720 for phi-1 (24 layers of 2048, 51,200 entries)."""
    hidden = config.hidden
    attention = 4 * (hidden * hidden + hidden)
    mlp = (4 * hidden * hidden + 4 * hidden) + (4 * hidden * hidden + hidden)
    norm = 2 * hidden
    embedding, head = vocab_size * hidden, vocab_size * hidden + vocab_size
    return embedding + config.layers * (norm + attention + mlp) + norm + head


@dataclass(slots=True)
class Cache:
    """Keys and values of the tokens a model has read, for batched generation.

    Every row writes at the same slot, so ragged prompts stand flush right; `start` says where each row begins.
    """

    keys: Tensor  # (layers, B, N, slots, D)
    values: Tensor  # (layers, B, N, slots, D)
    start: Tensor  # (B,): slots before it are padding
    used: int = 0  # slots filled

    def keep(self, rows: Tensor) -> "Cache":
        """The same cache with only these rows, in this order."""
        return Cache(self.keys[:, rows], self.values[:, rows], self.start[rows], self.used)


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

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Attention inside whole sequences: (B, T, H) to (B, T, H)."""
        query, key, value = self.project(x, cosine, sine)
        dropout = self.dropout if self.training else 0.0
        if x.device.type == "cpu" and x.shape[1] <= EXPLICIT_LENGTH:
            return self.merge(explicit_attention(query, key, value, dropout))
        return self.merge(functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True))

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

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """(B, T, H) to (B, T, H). Both branches compute in the precision of the rotary tables."""
        normed = self.input_layernorm(x).to(cosine.dtype)
        attended, fed = self.self_attn(normed, cosine, sine), self.mlp(normed)
        out: Tensor = x + self.residual_dropout(attended) + self.residual_dropout(fed)
        return out

    def step(self, x: Tensor, cosine: Tensor, sine: Tensor, cache: Cache, layer: int, mask: Tensor) -> Tensor:
        """The same for T new tokens after those in the cache, whose layer it extends. `mask` is (B, 1, T, slots)."""
        normed = self.input_layernorm(x)
        query, key, value = self.self_attn.project(normed, cosine, sine)
        first, last = cache.used, cache.used + x.shape[1]
        cache.keys[layer, :, :, first:last] = key
        cache.values[layer, :, :, first:last] = value
        keys, values = cache.keys[layer, :, :, :last], cache.values[layer, :, :, :last]
        mixed = functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        out: Tensor = x + self.self_attn.merge(mixed) + self.mlp(normed)
        return out


def run_block(block: Block, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """`block` as a function: compiled once, it serves every block of every model of its shape."""
    return block.forward(x, cosine, sine)


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


def explicit_attention(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
    """Causal attention by two matrix products: (B, N, T, D) each.

    On a CPU with bfloat16 units its backward pass takes a quarter of the time of PyTorch's flash attention (9 ms beside
    38 ms for 36 sequences of 256 tokens, 4 heads of 64, on 2 cores). It holds all T × T weights: for short sequences.
    """
    length = query.shape[2]
    later = torch.full((length, length), float("-inf"), dtype=query.dtype, device=query.device).triu(1)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2) + later
    return functional.dropout(torch.softmax(scores, dim=-1), dropout) @ value


class Decoder(nn.Module):
    """Embedding, blocks and final LayerNorm: token ids (B, T) to (B, T, H)."""

    def __init__(self, config: ModelConfig, vocab_size: int, dropout: float) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(vocab_size, config.hidden)
        self.layers = nn.ModuleList(Block(config.hidden, config.heads, dropout) for _ in range(config.layers))
        self.final_layernorm = nn.LayerNorm(config.hidden, eps=NORM_EPSILON)


class Phi(nn.Module):
    """A phi: untied head with bias over a decoder of parallel blocks.

    `context` is the longest sequence it reads. `dropout` acts on attention weights and on both branches before the
    residual sum, in training mode only.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, config: ModelConfig, vocab_size: int, context: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.config, self.vocab_size, self.context = config, vocab_size, context
        self.model = Decoder(config, vocab_size, dropout)
        self.lm_head = nn.Linear(config.hidden, vocab_size)
        cosine, sine = rotary_tables(int(config.hidden // config.heads * config.rotary_share), context)
        self.run_block: Callable[[Block, Tensor, Tensor, Tensor], Tensor] = run_block  # training may compile it
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

    def features(self, tokens: Tensor, precision: torch.dtype) -> Tensor:
        """What the head reads, for whole sequences: (B, T) to (B, T, H).

        The matrix products compute in `precision`; the residual stream and the LayerNorms keep that of the weights.
        """
        length = tokens.shape[1]
        cosine, sine = self.cosine[:length].to(precision), self.sine[:length].to(precision)
        x = self.model.embed_tokens(tokens)
        for block in self.model.layers:
            assert isinstance(block, Block)
            x = self.run_block(block, x, cosine, sine)
        out: Tensor = self.model.final_layernorm(x)
        return out.to(precision)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of every next token, at the precision of the weights: (B, T) to (B, T, V)."""
        logits: Tensor = self.lm_head(self.features(tokens, self.lm_head.weight.dtype))
        return logits

    def new_cache(self, lengths: Tensor, prompt_slots: int, slots: int) -> Cache:
        """An empty cache for rows whose prompts of `lengths` (B,) end at slot `prompt_slots`."""
        head = self.config.hidden // self.config.heads
        shape = (self.config.layers, len(lengths), self.config.heads, slots, head)
        like = self.lm_head.weight
        return Cache(like.new_zeros(shape), like.new_zeros(shape), prompt_slots - lengths)

    def extend(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Read T more tokens per row (B, T) and give the logits after the last of them: (B, V)."""
        first, last = cache.used, cache.used + tokens.shape[1]
        slots = torch.arange(last, device=tokens.device)
        positions = (slots[first:] - cache.start[:, None]).clamp(min=0)
        cosine, sine = self.cosine[positions][:, None], self.sine[positions][:, None]
        causal = slots <= slots[first:, None]
        # Padding sees only itself: a row of the mask without any key would make NaN of the softmax.
        mask = causal & ((slots >= cache.start[:, None])[:, None] | (slots == slots[first:, None]))
        x = self.model.embed_tokens(tokens)
        for layer, block in enumerate(self.model.layers):
            assert isinstance(block, Block)
            x = block.step(x, cosine, sine, cache, layer, mask[:, None])
        cache.used = last
        logits: Tensor = self.lm_head(self.model.final_layernorm(x[:, -1]))
        return logits

    def save(self, directory: Path) -> None:
        """Write `model.safetensors` and `config.json` (the fields of transformers' PhiConfig)."""
        save_file(self.state_dict(), directory / WEIGHTS, metadata={"format": "pt"})
        text = json.dumps(phi_config(self.config, self.vocab_size, self.context), indent=2)
        (directory / CONFIG).write_text(text + "\n", encoding="utf-8")


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


def phi_config(config: ModelConfig, vocab_size: int, context: int) -> dict[str, Any]:
    """`config.json` in the field names of transformers' `PhiForCausalLM`."""
    return {
        "architectures": ["PhiForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": END_OF_TEXT_ID,
        "embd_pdrop": 0.0,
        "eos_token_id": END_OF_TEXT_ID,
        "hidden_act": "gelu_new",
        "hidden_size": config.hidden,
        "initializer_range": INIT_STD,
        "intermediate_size": 4 * config.hidden,
        "layer_norm_eps": NORM_EPSILON,
        "max_position_embeddings": context,
        "model_type": "phi",
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "num_key_value_heads": config.heads,
        "partial_rotary_factor": config.rotary_share,
        "qk_layernorm": False,
        "resid_pdrop": 0.0,
        "rope_theta": ROTARY_BASE,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "vocab_size": vocab_size,
    }


def load_model(directory: Path, dropout: float = 0.0) -> Phi:
    """A model from the directory `Phi.save` wrote, in evaluation mode on the CPU, float32.

    Raises UserError where a file is missing, is no phi of ours, or does not hold every parameter in its shape.
    """
    try:
        fields = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
        config = ModelConfig(
            layers=fields["num_hidden_layers"],
            hidden=fields["hidden_size"],
            heads=fields["num_attention_heads"],
            rotary_share=fields["partial_rotary_factor"],
        )
        vocab_size, context = fields["vocab_size"], fields["max_position_embeddings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{directory / CONFIG}: not a phi's configuration ({_line(error)})") from error
    model = Phi(config, vocab_size, context, dropout)
    try:
        model.load_state_dict(load_file(directory / WEIGHTS))
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise UserError(f"{directory / WEIGHTS}: not the weights of its {CONFIG} ({_line(error)})") from error
    return model.eval()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
