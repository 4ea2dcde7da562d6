"""How much memory of a device training takes at its peak, by part, from the shape of model and batch alone.

No torch here: a plan is made where there is no GPU. The constants below say what our blocks and our loss keep; a test
holds them against the tensors that autograd really keeps. Not counted: what the driver takes for itself (about 0.5 GB
on an NVIDIA GPU) and what the allocator loses between blocks (a few hundredths).

Shapes: L layers, H hidden, N heads, B sequences of a micro-batch, T tokens of a sequence, V rows of embedding and head.
"""

from dataclasses import dataclass, fields, replace
from typing import Literal

from hornbook.model.shape import block_parameters, embedding_rows, parameter_count
from hornbook.step_config import TrainStep

Precision = Literal["float32", "bfloat16", "float16"]

WIDE = 4  # bytes of a float32, in which weights, gradients, moments and the residual stream stand
MOMENTS = 2 * WIDE  # AdamW's two, of a parameter
NARROW = {"float32": 4, "bfloat16": 2, "float16": 2}  # bytes of a number that matrix products read and write

# What one block keeps of one token for the backward pass, in multiples of H.
KEPT_WIDE = 1  # the residual stream before its LayerNorm, float32
KEPT_NARROW = 1 + 3 + 2 + 1 + 4 + 4  # normed; q, k and v; q and k rotated; attention's output; before GELU; after it
KEPT_MASKS = 2  # of dropout on the two branches, one byte each
KEPT_STATISTICS = 2 * 4  # bytes of a token: mean and deviation of its LayerNorm. To each head 4 more: its log-sum-exp
# What the backward pass of one block holds beside that: the gradient of the residual stream, in float32, and those of
# the branches, after and before GELU, narrow.
BACKWARD_WIDE, BACKWARD_NARROW = 1, 2 + 4 + 4

LOGITS_AT_ONCE = 2**28  # of the loss on a GPU (see `train.loss`), narrow, and as many of their gradients
GATHERED_BLOCKS = 2  # of FSDP: the block at work and the one fetched for later


@dataclass(frozen=True, slots=True)
class Layout:
    """How a run lies on its devices."""

    precision: Precision
    shards: int  # devices that share weights, gradients and moments (FSDP); 1: each holds them all
    checkpointing: bool  # blocks keep their input alone and compute the rest again
    accumulates: bool  # a step has more than one micro-batch, so gradients lie beside activations


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one device at the peak of a training step, by part."""

    weights: int  # float32
    gradients: int  # float32
    moments: int  # AdamW's, float32
    copies: int  # of weights, at the precision of the matrix products
    gathered: int  # by FSDP from the other devices
    activations: int  # kept for the backward pass
    working: int  # the loss, or the backward pass of one block, whichever holds more

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(getattr(self, field.name) for field in fields(self))


def peak_memory(config: TrainStep, vocab_size: int, layout: Layout, micro_batch: int) -> Memory:
    """The parts at the moment in a step at which they are most, for micro-batches of `micro_batch` sequences."""
    rows, parameters = embedding_rows(config.model, vocab_size), parameter_count(config.model, vocab_size)
    head = rows * config.model.hidden + rows
    copies = _copies(config, layout)
    loss, block = _loss(config, rows, layout, micro_batch), _backward_of_block(config, layout, micro_batch)
    # Most activations lie there when the backward pass begins.
    begin = Memory(
        weights=_shard(parameters * WIDE, layout),
        gradients=_shard((parameters if layout.accumulates else head) * WIDE, layout),
        moments=_shard(parameters * MOMENTS, layout),
        copies=copies,
        gathered=_gathered(config, vocab_size, layout),
        activations=_activations(config, layout, micro_batch),
        working=max(loss, block),
    )
    end = replace(begin, gradients=_shard(parameters * WIDE, layout), copies=0, activations=0, working=block)
    return max(begin, end, key=lambda memory: memory.total)


def largest_micro_batch(config: TrainStep, vocab_size: int, layout: Layout, memory_bytes: int, most: int) -> int:
    """The most sequences of a micro-batch, up to `most`, that fit into `memory_bytes`; 0 where not one does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if peak_memory(config, vocab_size, layout, middle).total <= memory_bytes:
            low = middle
        else:
            high = middle - 1
    return low


def _shard(size: int, layout: Layout) -> int:
    return -(-size // layout.shards)


def _kept_by_block(config: TrainStep, precision: Precision) -> int:
    """Bytes that one block keeps of one token."""
    hidden, train = config.model.hidden, config.train
    kept = hidden * (KEPT_WIDE * WIDE + KEPT_NARROW * NARROW[precision])
    kept += KEPT_MASKS * hidden if train.dropout else 0
    kept += KEPT_STATISTICS + 4 * config.model.heads
    # A mask of documents becomes a number for every pair of tokens.
    return kept + (config.sequence_length * NARROW[precision] if train.document_mask else 0)


def _activations(config: TrainStep, layout: Layout, micro_batch: int) -> int:
    """Of all blocks, and of the final LayerNorm: its input, and its output at the precision of the head."""
    tokens, layers, hidden = micro_batch * config.sequence_length, config.model.layers, config.model.hidden
    narrow = NARROW[layout.precision]
    block = _kept_by_block(config, layout.precision)
    blocks = layers * hidden * WIDE + block if layout.checkpointing else layers * block
    documents = config.sequence_length if config.train.document_mask else 0  # one byte for every pair of tokens
    return tokens * (blocks + hidden * (WIDE + narrow) + documents)


def _copies(config: TrainStep, layout: Layout) -> int:
    """Autograd keeps the copy of a weight that a matrix product has read until the backward pass has read it too."""
    hidden, narrow = config.model.hidden, NARROW[layout.precision]
    # In float32 there is none, but for queries, keys and values, which are put together anew.
    copied = (3 if narrow == WIDE else 12) * hidden * hidden * narrow
    return copied if layout.checkpointing else config.model.layers * copied


def _gathered(config: TrainStep, vocab_size: int, layout: Layout) -> int:
    """FSDP holds whole weights of some blocks, and those of embedding and head throughout; and the whole gradients of a
    block until each device has its part. All of it in float32."""
    if layout.shards == 1:
        return 0
    block = block_parameters(config.model)
    outside = parameter_count(config.model, vocab_size) - config.model.layers * block
    return WIDE * (GATHERED_BLOCKS * block + block + outside)


def _loss(config: TrainStep, rows: int, layout: Layout, micro_batch: int) -> int:
    """A chunk of logits and its gradient (compiled: nothing of it stands in float32), the gradient of the features, and
    the head's narrow copy and float32 gradient."""
    tokens, hidden, narrow = micro_batch * config.sequence_length, config.model.hidden, NARROW[layout.precision]
    chunk = min(LOGITS_AT_ONCE, tokens * rows) * 2 * narrow
    return chunk + tokens * hidden * narrow + rows * hidden * (WIDE + narrow)


def _backward_of_block(config: TrainStep, layout: Layout, micro_batch: int) -> int:
    """Gradients of one block's activations, and of its largest matrix at both precisions."""
    tokens, hidden, narrow = micro_batch * config.sequence_length, config.model.hidden, NARROW[layout.precision]
    return tokens * hidden * (BACKWARD_WIDE * WIDE + BACKWARD_NARROW * narrow) + 4 * hidden * hidden * (WIDE + narrow)
