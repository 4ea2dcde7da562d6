"""The optimizer, the learning-rate schedules, and what becomes of a step's gradient before the optimizer sees it
(phi-1, section 2.3; phi-1.5, section 2.2)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from hornbook.recipe import TrainConfig

MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's, in PyTorch's names
FIRST_SCALE = 2.0**16
GROW_AFTER = 2000  # steps without overflow after which the scale is doubled, as PyTorch's GradScaler does


def learning_rate(config: TrainConfig, step: int) -> float:
    """The rate of step `step`, counted from 0: a linear warmup, then the schedule, down to zero after the last of its
    steps."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(config.schedule_steps - config.warmup_steps, 1)
    if config.schedule == "linear":
        return config.learning_rate * (1.0 - progress)
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))
    return config.learning_rate


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on the matrices of linear layers only: not on embeddings, biases and LayerNorms."""
    matrices = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    decayed = [parameter for parameter in model.parameters() if id(parameter) in matrices]
    others = [parameter for parameter in model.parameters() if id(parameter) not in matrices]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, eps=config.epsilon, fused=True)


def start_moments(optimizer: torch.optim.Optimizer) -> None:
    """Zero moments for every parameter: what AdamW begins with, there before its first step, so that they count in a
    trial of what fits, and a checkpoint has where to load to."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            step = torch.zeros((), dtype=torch.float32, device=parameter.device)
            moments = {moment: torch.zeros_like(parameter) for moment in MOMENTS}
            optimizer.state[parameter] = {"step": step, **moments}


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The rate of the next step, for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


@dataclass(frozen=True, slots=True)
class LossScale:
    """By how much a float16 loss is multiplied, so that small gradients do not vanish; 1 in other precisions."""

    value: float
    good_steps: int = 0  # since it last changed

    def after(self, finite: bool) -> "LossScale":
        """The scale of the next step: halved where this one overflowed."""
        if not finite:
            return LossScale(self.value / 2)
        grown = replace(self, good_steps=self.good_steps + 1)
        return LossScale(self.value * 2) if grown.good_steps == GROW_AFTER else grown


def gradient_norm(parameters: Iterable[nn.Parameter]) -> float:
    """The norm of the whole gradient, over all processes that hold parts of it."""
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


def scale_gradient(parameters: Iterable[nn.Parameter], norm: float, loss_scale: float, clip: float | None) -> float:
    """Take the loss scale out of a gradient of norm `norm`, and shorten it to `clip`. Gives the norm before."""
    true_norm = norm / loss_scale
    factor = 1.0 / loss_scale if clip is None else min(1.0, clip / (true_norm + 1e-6)) / loss_scale
    gradients: list[Tensor] = [p.grad for p in parameters if p.grad is not None]
    if factor != 1.0:
        torch._foreach_mul_(gradients, factor)
    return true_norm
