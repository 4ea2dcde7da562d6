"""The memory of a training step: what autograd really keeps, and on a GPU what its allocator really gave."""

import pytest
import torch

from hornbook.model.transformer import Phi
from hornbook.recipe import ModelConfig, TrainConfig
from hornbook.step_config import TrainStep
from hornbook.train.loss import DEVICE_LOGITS, head_loss
from hornbook.train.memory import LOGITS_AT_ONCE, Layout, largest_micro_batch, peak_memory
from hornbook.train.optim import make_optimizer

PARAMETERS = 1_418_270_720  # of phi-1
ALONE = Layout("bfloat16", shards=1, checkpointing=False, accumulates=True)


def step(model, sequence_length, **changes):
    train = {
        "label": "m",
        "start": "scratch",
        "mixture": {"raw": 1.0},
        "steps": 10,
        "schedule_steps": 10,
        "batch_sequences": 1024,
        "learning_rate": 1e-3,
        "schedule": "linear",
        "warmup_steps": 1,
        "weight_decay": 0.1,
        "betas": (0.9, 0.95),
        "epsilon": 1e-8,
        "clip": 1.0,
        "dropout": 0.0,
        "document_mask": False,
        "checkpoint_every": 10,
        "held_out_sequences": 0,
        "select": "last",
    }
    return TrainStep(model=model, train=TrainConfig(**{**train, **changes}), sequence_length=sequence_length, seed=1)


PHI_1 = step(ModelConfig.model_validate({"preset": "phi-1"}), 2048, dropout=0.1)


def small(layers):
    return ModelConfig(layers=layers, hidden=256, heads=4, rotary_share=0.5, padded_vocab_size=None)


def kept_bytes(layers, length, sequences):
    """Bytes of all that the forward pass of a model keeps for the backward pass, parameters aside."""
    model = Phi(small(layers), 128, length)
    model.initialize(1)
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = tensor  # held, so that no other takes its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.train().features(torch.zeros(sequences, length, dtype=torch.long), torch.bfloat16)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_a_block_keeps_what_autograd_keeps():
    length, sequences = 1024, 2  # longer than what a CPU attends to by plain products
    real = kept_bytes(3, length, sequences) - kept_bytes(1, length, sequences)
    one, three = (peak_memory(step(small(layers), length), 128, ALONE, sequences) for layers in (1, 3))
    told = three.activations - one.activations + three.copies - one.copies
    assert told == pytest.approx(real, rel=0.1)  # a CPU keeps attention's output a second time, 2 of 36 bytes


def test_the_chunk_of_the_loss_is_the_one_the_loss_takes():
    assert LOGITS_AT_ONCE == DEVICE_LOGITS


def test_the_state_of_phi_1_is_16_bytes_a_parameter():
    memory = peak_memory(PHI_1, 50_295, ALONE, 1)
    assert memory.weights == memory.gradients == 4 * PARAMETERS
    assert memory.moments == 8 * PARAMETERS
    assert memory.gathered == 0
    shared = peak_memory(PHI_1, 50_295, Layout("bfloat16", 8, False, True), 1)
    assert shared.weights + shared.moments == 12 * PARAMETERS / 8
    assert shared.gathered > 0


def test_activations_grow_with_sequences_and_checkpointing_cuts_them():
    one, two = (peak_memory(PHI_1, 50_295, ALONE, sequences).activations for sequences in (1, 2))
    assert two == 2 * one
    assert 3.2e9 < one < 4e9  # 24 layers × 2,048 tokens × 36 × 2,048 bytes, and a little
    cut = peak_memory(PHI_1, 50_295, Layout("bfloat16", 1, True, True), 1).activations
    assert 24 * 2048 * 2048 * 4 < cut < one / 4


def test_gradients_of_a_single_micro_batch_come_when_activations_go():
    whole = peak_memory(PHI_1, 50_295, ALONE, 4)
    alone = peak_memory(PHI_1, 50_295, Layout("bfloat16", 1, False, False), 4)
    assert alone.total < whole.total
    assert alone.total >= 16 * PARAMETERS


@pytest.mark.parametrize("shards", [1, 8])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_largest_micro_batch_fits_and_the_next_does_not(shards, checkpointing):
    layout, memory = Layout("bfloat16", shards, checkpointing, True), 40 * 10**9
    found = largest_micro_batch(PHI_1, 50_295, layout, memory, 1024)
    assert 1 <= found < 1024
    assert peak_memory(PHI_1, 50_295, layout, found).total <= memory
    assert peak_memory(PHI_1, 50_295, layout, found + 1).total > memory


def test_nothing_fits_where_the_state_does_not():
    assert largest_micro_batch(PHI_1, 50_295, ALONE, 16 * 10**9, 1024) == 0
    assert largest_micro_batch(PHI_1, 50_295, ALONE, 10**15, 128) == 128


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_peak_on_a_gpu_is_within_a_tenth(checkpointing):
    shape = ModelConfig.model_validate({"preset": "phi-1-small"})
    config, sequences = step(shape, 2048, dropout=0.1), 4
    model = Phi(shape, 50_295, 2048, 0.1).cuda().train()
    for block in model.model.layers:
        block.recompute = checkpointing
    optimizer = make_optimizer(model, config.train)
    tokens = torch.randint(0, 50_000, (sequences, 2049), device="cuda")
    for _ in range(2):
        optimizer.zero_grad(set_to_none=True)
        for _ in range(2):
            features = model.features(tokens[:, :-1], torch.bfloat16)
            head_loss(features.flatten(0, 1), model.lm_head, tokens[:, 1:].flatten()).backward()
        optimizer.step()
    told = peak_memory(config, 50_295, Layout("bfloat16", 1, checkpointing, True), sequences)
    assert torch.cuda.max_memory_allocated() == pytest.approx(told.total, rel=0.1)
