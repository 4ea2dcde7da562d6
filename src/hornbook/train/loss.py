"""Cross-entropy of the language-model head without ever holding all logits."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CPU_ROWS = 512  # logits of 512 tokens × 2,048 entries stay in a core's cache
DEVICE_LOGITS = 2**28  # of a chunk on a GPU: 512 MiB, and its gradient as much; large enough to fill its units

ChunkGradient = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def chunk_rows(vocab_size: int, device: torch.device) -> int:
    """Tokens whose logits are held at once."""
    return CPU_ROWS if device.type == "cpu" else max(CPU_ROWS, DEVICE_LOGITS // vocab_size // 256 * 256)


def chunk_gradient(logits: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of cross-entropies of logits (C, V) at `target` (C, 1), and the gradient of `weight` times that sum, (C, V)
    at the precision of the logits."""
    wide = logits.float()
    normalizer = torch.logsumexp(wide, dim=1, keepdim=True)
    loss = (normalizer - wide.gather(1, target)).sum()
    # The target's one by comparison: compiled, all of the gradient is one pass, which scattering would cut in two
    is_target = torch.arange(logits.shape[1], device=logits.device) == target
    gradient = (torch.exp(wide - normalizer) - is_target.float()) * weight
    return loss, gradient.to(logits.dtype)


class _HeadLoss(torch.autograd.Function):
    """Computes loss and gradients together, chunk by chunk, and keeps only the gradients for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, scale: float, chunk: ChunkGradient
    ) -> Tensor:
        rows, step = len(features), chunk_rows(len(weight), features.device)
        narrow_weight, narrow_bias = weight.to(features.dtype), bias.to(features.dtype)
        features_gradient = torch.empty_like(features)
        weight_gradient, bias_gradient = torch.zeros_like(weight), torch.zeros_like(bias)
        total = torch.zeros((), dtype=torch.float32, device=features.device)
        share = torch.tensor(scale / rows, device=features.device)
        for first in range(0, rows, step):
            piece, target = features[first : first + step], targets[first : first + step, None]
            loss, gradient = chunk(torch.addmm(narrow_bias, piece, narrow_weight.t()), target, share)
            total += loss
            features_gradient[first : first + step] = gradient @ narrow_weight
            _add_product(weight_gradient, gradient.t(), piece)
            bias_gradient += gradient.sum(0, dtype=torch.float32)
        ctx.save_for_backward(features_gradient, weight_gradient, bias_gradient)
        return total * share

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features_gradient, weight_gradient, bias_gradient = ctx.saved_tensors
        narrow = gradient.to(features_gradient.dtype)
        return features_gradient * narrow, weight_gradient * gradient, bias_gradient * gradient, None, None, None


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a product of narrow matrices to a float32 total; a GPU does both in one pass."""
    if total.is_cuda and left.dtype != total.dtype:
        torch.addmm(total, left, right, out_dtype=total.dtype, out=total)
    else:
        total += left @ right


def head_loss(
    features: Tensor,
    head: torch.nn.Linear,
    targets: Tensor,
    scale: float = 1.0,
    chunk: ChunkGradient = chunk_gradient,
) -> Tensor:
    """`scale` times the mean cross-entropy in nats of `targets` (M,) under the head's logits of `features` (M, H).

    The scale is part of the gradients as they are computed: in float16, one divided by a batch's tokens would vanish.
    `chunk` may be a compiled `chunk_gradient`.
    """
    loss: Tensor = _HeadLoss.apply(  # type: ignore[no-untyped-call]
        features, head.weight, head.bias, targets, scale, chunk
    )
    return loss
