"""Drawing cases: tensors of a NumPy generator, so that a seed gives the same cases on every machine."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def normal(rng: np.random.Generator, *shape: int) -> Tensor:
    """Standard normal values, float32."""
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def positive(rng: np.random.Generator, *shape: int) -> Tensor:
    """Exponential values with mean 1, float32: what −log p looks like."""
    return torch.from_numpy(rng.standard_exponential(shape, dtype=np.float32))


def whole(rng: np.random.Generator, low: int, high: int, *shape: int) -> Tensor:
    """Whole numbers from `low` to below `high`, int64."""
    return torch.from_numpy(rng.integers(low, high, shape, dtype=np.int64))
