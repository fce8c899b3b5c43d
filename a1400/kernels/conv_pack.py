"""Weights of convolutions in the layouts that the kernels read; NumPy, at load time.

All take any number of spatial dimensions (1 to 3) and keep the dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from a1400.kernels.gemm_pack import pack_b, unpack_b


def pack_conv(w: np.ndarray, groups: int = 1) -> np.ndarray:
    """``[OC, C/groups, *kernel]`` to ``[groups, ceil(OC/groups/32), taps, C/groups, 32]``, zero padded."""
    oc, cg = w.shape[:2]
    taps = int(np.prod(w.shape[2:]))
    matrices = w.reshape(groups, oc // groups, cg, taps).transpose(0, 3, 2, 1)  # group, tap, channel, output
    packed = pack_b(np.ascontiguousarray(matrices).reshape(groups, taps * cg, oc // groups))
    return packed.reshape(groups, -1, taps, cg, 32)


def unpack_conv(packed: np.ndarray, outputs: int) -> np.ndarray:
    """Inverse of :func:`pack_conv`: packed weights to ``[groups, taps, C/groups, outputs]``."""
    groups, panels, taps, cg, width = packed.shape
    return unpack_b(packed.reshape(groups, panels, taps * cg, width), outputs).reshape(groups, taps, cg, outputs)


def pack_depthwise(w: np.ndarray) -> np.ndarray:
    """``[OC, 1, *kernel]`` to ``[taps, OC]``."""
    return np.ascontiguousarray(w.reshape(w.shape[0], -1).T)


def transpose_tap_order(kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """Taps of a transposed convolution ordered by the output phase that they contribute to.

    A tap ``k`` reaches the outputs ``o`` with ``(o + pad) % stride == k * dilation % stride``; taps of one phase
    stand together, phases in lexicographic order.
    """
    taps = list(product(*(range(k) for k in kernel)))
    phase = [tuple(k * d % s for k, d, s in zip(tap, dilations, strides)) for tap in taps]
    return sorted(range(len(taps)), key=lambda i: (phase[i], taps[i]))


def pack_conv_transpose(
    w: np.ndarray, groups: int = 1, strides: Sequence[int] = (1,), dilations: Sequence[int] = (1,)
) -> np.ndarray:
    """``[C, OC/groups, *kernel]`` to ``[groups, ceil(OC/groups/32), taps, C/groups, 32]``, taps ordered by phase."""
    c, og = w.shape[:2]
    kernel = w.shape[2:]
    order = transpose_tap_order(kernel, strides, dilations)
    matrices = w.reshape(groups, c // groups, og, -1)[..., order].transpose(0, 3, 1, 2)  # group, tap, channel, output
    packed = pack_b(np.ascontiguousarray(matrices).reshape(groups, -1, og))
    return packed.reshape(groups, -1, len(order), c // groups, 32)


def pack_conv_spread(w: np.ndarray) -> np.ndarray:
    """``[C, OC, *kernel]`` to ``[ceil(taps * OC / 32), C, 32]``: a column per tap and output channel, zeros behind."""
    c, oc = w.shape[:2]
    return pack_b(np.ascontiguousarray(w.reshape(c, oc, -1).transpose(0, 2, 1)).reshape(c, -1))
