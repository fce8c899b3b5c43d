"""Arithmetic of a network: two operations for each multiply-add of products, convolutions and recurrent layers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count(network: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> float:
    """Operations of one run.

    Counted as the textbook does it: zeros of padding and masked scores too, and no algorithm that needs fewer
    (Winograd).  Fused attention and recurrent layers would go uncounted, so they are taken apart.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        apart = torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH)
        with torch.no_grad(), apart[0], apart[1], FlopCounterMode(display=False) as counter:
            network(*inputs)
    return float(counter.get_total_flops())
