"""Cross-entropy of the language-model head without ever holding all logits."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_ROWS = 512  # logits of 512 tokens × 2,048 entries stay in a core's cache


class _HeadLoss(torch.autograd.Function):
    """Computes loss and gradients together, chunk by chunk, and keeps only the gradients for the backward pass."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        rows = len(features)
        narrow_weight, narrow_bias = weight.to(features.dtype), bias.to(features.dtype)
        features_gradient = torch.empty_like(features)
        weight_gradient, bias_gradient = torch.zeros_like(weight), torch.zeros_like(bias)
        total = torch.zeros((), dtype=torch.float32, device=features.device)
        for first in range(0, rows, CHUNK_ROWS):
            chunk, target = features[first : first + CHUNK_ROWS], targets[first : first + CHUNK_ROWS, None]
            logits = torch.addmm(narrow_bias, chunk, narrow_weight.t()).float()
            normalizer = torch.logsumexp(logits, dim=1, keepdim=True)
            total += (normalizer - logits.gather(1, target)).sum()
            wide = logits.sub_(normalizer).exp_()  # the probabilities, and less the target's one: the gradient
            wide.scatter_add_(1, target, torch.full_like(normalizer, -1.0))
            gradient = wide.div_(rows).to(features.dtype)
            features_gradient[first : first + CHUNK_ROWS] = gradient @ narrow_weight
            weight_gradient += gradient.t() @ chunk
            bias_gradient += gradient.sum(0, dtype=torch.float32)
        ctx.save_for_backward(features_gradient, weight_gradient, bias_gradient)
        return total / rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        features_gradient, weight_gradient, bias_gradient = ctx.saved_tensors
        return features_gradient * gradient, weight_gradient * gradient, bias_gradient * gradient, None


def head_loss(features: Tensor, head: torch.nn.Linear, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats of `targets` (M,) under the head's logits of `features` (M, H)."""
    loss: Tensor = _HeadLoss.apply(features, head.weight, head.bias, targets)  # type: ignore[no-untyped-call]
    return loss
