"""What moves the weights: AdamW, and for the matrices within layers, where the settings ask for it, Muon.

AdamW scales each weight's step by itself. Muon (Jordan et al. 2024) takes a matrix as one thing: its step is the gradient's
momentum with all singular values made nearly equal, so that no direction is learnt much later than others.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from minirag.training.settings import Settings


def optimizers(objective: nn.Module, settings: Settings) -> list[Optimizer]:
    """AdamW over what of `objective` learns, and with a `matrix_rate` Muon over its linear layers' matrices in AdamW's stead.

    Embeddings, biases and LayerNorms are AdamW's always. Muon's rate is in AdamW's units: the root mean square of a step is
    that of AdamW with a fifth of the rate.

    >>> layer = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4))
    >>> [type(one).__name__ for one in optimizers(layer, Settings(steps=1, rate=0.1, matrix_rate=0.2))]
    ['AdamW', 'Muon']
    """
    learning = [weight for weight in objective.parameters() if weight.requires_grad]
    linear = {part.weight for part in objective.modules() if isinstance(part, nn.Linear)}
    matrices = [weight for weight in learning if settings.matrix_rate is not None and weight in linear]
    rest = [weight for weight in learning if settings.matrix_rate is None or weight not in linear]
    made: list[Optimizer] = []
    if rest:
        groups = [
            {"params": [weight for weight in rest if weight.dim() > 1], "weight_decay": settings.weight_decay},
            {"params": [weight for weight in rest if weight.dim() < 2], "weight_decay": 0.0},
        ]
        fused = rest[0].device.type in ("cpu", "cuda")
        made.append(torch.optim.AdamW(groups, lr=settings.rate, betas=settings.betas, eps=settings.epsilon, fused=fused))
    if matrices and settings.matrix_rate is not None:
        decay, rate = settings.weight_decay, settings.matrix_rate
        made.append(torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
    for optimizer in made:
        for group in optimizer.param_groups:
            group["highest"] = group["lr"]
    return made


def set_rate(optimizers: Sequence[Optimizer], share: float) -> None:
    """Give every weight `share` of its highest rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = share * group["highest"]
