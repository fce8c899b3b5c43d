"""PyTorch's tensors in the host's memory as NumPy arrays over the same memory, and back."""

from __future__ import annotations

import numpy as np
import torch

from a1400.frontends.torch.dtypes import to_numpy, to_torch


def array_of(tensor: torch.Tensor) -> np.ndarray:
    """The memory of a dense CPU tensor as an array of its shape; it keeps the tensor alive."""
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.uint16).numpy().view(to_numpy(tensor.dtype))
    return tensor.numpy()


def tensor_of(array: np.ndarray) -> torch.Tensor:
    """A tensor over the memory of an array, which it keeps alive."""
    dtype = to_torch(array.dtype)
    if dtype == torch.bfloat16:
        return torch.from_numpy(array.view(np.uint16)).view(dtype)
    return torch.from_numpy(array)
