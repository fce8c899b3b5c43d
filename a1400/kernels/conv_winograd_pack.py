"""Filters of 3 x 3 convolutions in Winograd's domain; NumPy, at load time.

After A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks" (2015), with other points of
interpolation: see ``kernels_common/conv_winograd_transform.h``, which holds the two maps of the data.
"""

from __future__ import annotations

import numpy as np

from a1400.kernels.gemm_pack import PANEL

_INNER, _OUTER = 0.5**0.5, 2.0**0.5


def filter_matrix(outputs: int, stride: int = 1) -> np.ndarray:
    """``G`` in float64, ``[coefficients, 3]``; ``outputs`` along a side of a tile are 2 or 4, with ``stride`` 2 just 4.

    A filter ``w`` becomes ``G @ w @ G.T``: its polynomial's values at the points of interpolation.  With stride 2 taps
    0 and 2 make one polynomial; tap 1 stands alone, once for each output.
    """
    if stride == 2:
        even = [[1.0, 0.0, p] for p in (0.5, -0.5, 1.5, -1.5)]
        return np.array([*even, [0.0, 0.0, 1.0], *[[0.0, 1.0, 0.0]] * outputs])
    points = {2: (0.0, 1.0, -1.0), 4: (0.0, _INNER, -_INNER, _OUTER, -_OUTER)}[outputs]
    return np.array([*([1.0, p, p * p] for p in points), [0.0, 0.0, 1.0]])


def _inverse(outputs: int, stride: int) -> np.ndarray:
    """A left inverse of :func:`filter_matrix`, free of rounding where that is."""
    g = filter_matrix(outputs, stride)
    inverse = np.zeros((3, len(g)))
    if stride == 2:
        inverse[0, :2] = 0.5
        inverse[1, 5] = inverse[2, 4] = 1.0
    else:
        inverse[0, 0] = inverse[2, -1] = 1.0
        inverse[1, 1:3] = np.array([0.5, -0.5]) / g[1, 1]
    return inverse


def pack_winograd(w: np.ndarray, outputs: int, groups: int = 1, stride: int = 1) -> np.ndarray:
    """``[OC, C/groups, 3, 3]`` to float32 ``[groups, ceil(OC/groups/32), planes, C/groups, 32]``, zero padded.

    A plane is one coefficient of the filters' two-dimensional transform.
    """
    oc, cg = w.shape[:2]
    og, g = oc // groups, filter_matrix(outputs, stride)
    both = np.kron(g, g)  # [planes, 9]
    panels = -(-og // PANEL)
    packed = np.zeros((groups, panels, len(both), cg, PANEL), np.float32)
    split = w.reshape(groups, og, cg, 9)
    for group in range(groups):
        for p in range(panels):  # a panel at a time: the transformed filters are many times the filters
            part = split[group, p * PANEL : (p + 1) * PANEL].astype(np.float64)
            made = both @ part.transpose(2, 1, 0).reshape(9, -1)
            packed[group, p, :, :, : part.shape[0]] = made.reshape(len(both), cg, -1)
    return packed


def unpack_winograd(packed: np.ndarray, outputs: int, columns: int, stride: int = 1) -> np.ndarray:
    """The filters that :func:`pack_winograd` was given, as float64 ``[groups, 9, C/groups, columns]``."""
    groups, panels, planes, cg, width = packed.shape
    inverse = _inverse(outputs, stride)
    back = np.kron(inverse, inverse)
    flat = packed.astype(np.float64).transpose(0, 2, 3, 1, 4).reshape(groups, planes, cg, panels * width)[..., :columns]
    return np.einsum("tp,gpcn->gtcn", back, flat)
