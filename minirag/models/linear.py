"""x Wᵀ + b, which is nearly all that a Transformer computes, by the library that does it fastest.

On a CPU, PyTorch gives float32 products to MKL, which runs at half speed on AMD's processors. oneDNN, which comes with PyTorch
as well, does not, and is as exact; its product is reached through an operator without a derivative, so that is given here.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

LARGE = 2**18  # weights; for smaller ones oneDNN gains less than it loses by preparing itself for every new shape,
MANY = 2**24  # unless there are so many products of two numbers, and in training, where texts are padded to few lengths


class Linear(nn.Linear):
    """`nn.Linear`, computed by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x Wᵀ + b for x `[…, D]`, W `[E, D]` and b `[E]`, with its derivatives.

    >>> linear(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([0.5, 0.0]))
    tensor([[11.5000,  2.0000]])
    """
    fitting = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and x.dim() > 1 and x.numel() > 0
    enough = weight.numel() >= LARGE or (torch.is_grad_enabled() and x.numel() * len(weight) >= MANY)
    if not (fitting and enough and torch.backends.mkldnn.is_available()) or torch.is_autocast_enabled("cpu"):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled():
        flat: Tensor = _Linear.apply(x.flatten(0, -2), weight, bias)
        return flat.unflatten(0, x.shape[:-1])
    return _product(x, weight, bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), grad = ctx.saved_tensors, grads[0]
        return (
            _product(grad, weight.T, None) if ctx.needs_input_grad[0] else None,
            _product(grad.T, x.T, None) if ctx.needs_input_grad[1] else None,
            grad.sum(0) if ctx.needs_input_grad[2] else None,
        )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product
