"""What follows from a model's shape alone: rows, parameters, floating-point operations. No torch here.

Shapes: L layers, H hidden, T tokens of a sequence, V rows of the embedding and of the head.
"""

from hornbook.errors import UserError
from hornbook.recipe import ModelConfig


def embedding_rows(config: ModelConfig, vocab_size: int) -> int:
    """V, the rows of embedding and head, for a tokenizer of `vocab_size` entries.

    Raises UserError where the recipe pads to fewer rows than the tokenizer has entries.
    """
    rows = config.padded_vocab_size
    if rows is None:
        return vocab_size
    if rows < vocab_size:
        raise UserError(
            f"model.padded_vocab_size: {rows:,} rows are fewer than the tokenizer's {vocab_size:,} entries; "
            f"give at least {vocab_size}, or null"
        )
    return rows


def parameter_count(config: ModelConfig, vocab_size: int) -> int:
    """The exact number of parameters: 1,418,270,720 for phi-1 (24 layers of 2,048, 51,200 rows)."""
    rows, hidden = embedding_rows(config, vocab_size), config.hidden
    embedding, head, final_norm = rows * hidden, rows * hidden + rows, 2 * hidden
    return embedding + config.layers * block_parameters(config) + final_norm + head


def block_parameters(config: ModelConfig) -> int:
    """Parameters of one block: 12 H² in matrices, 13 H in biases and LayerNorm."""
    hidden = config.hidden
    attention = 4 * (hidden * hidden + hidden)
    mlp = (4 * hidden * hidden + 4 * hidden) + (4 * hidden * hidden + hidden)
    norm = 2 * hidden
    return norm + attention + mlp


def flops_per_token(config: ModelConfig, vocab_size: int, sequence_length: int) -> float:
    """Floating-point operations of one trained token: 6 for each weight of a matrix (the embedding is none), and
    6 L H T for causal attention, forward and backward."""
    return 6.0 * _matrix_weights(config, vocab_size) + 6.0 * config.layers * config.hidden * sequence_length


def palm_flops_per_token(config: ModelConfig, vocab_size: int, sequence_length: int) -> float:
    """The same by PaLM's formula (appendix B), which counts attention as if it were not causal: 12 L H T."""
    return 6.0 * _matrix_weights(config, vocab_size) + 12.0 * config.layers * config.hidden * sequence_length


def _matrix_weights(config: ModelConfig, vocab_size: int) -> int:
    hidden = config.hidden
    return config.layers * 12 * hidden * hidden + embedding_rows(config, vocab_size) * hidden
