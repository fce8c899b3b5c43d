"""Filters of convolutions in the layouts of their kernels: packed on the host once where they are constant, by launches
where they are computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from a1400.engine.lowering import Lowering
from a1400.graph.graph import Value
from a1400.kernels import conv_pack, gemm_pack
from a1400.kernels.conv_winograd import Algorithm
from a1400.kernels.conv_winograd_filters import pack_name, packed_shape
from a1400.kernels.conv_winograd_pack import pack_winograd
from a1400.memory.storage import View


def plain_filters(lw: Lowering, w: Value, groups: int) -> View:
    """``conv_pack.pack_conv``: group, tap, channel, output in packed panels."""

    def run_time() -> View:
        oc, cg, taps = w.shape[0] // groups, w.shape[1], prod(w.shape[2:])
        split = lw.dense(w).reshape((groups, oc, cg, taps))
        assert split is not None
        matrices = lw.temporary((groups, taps, cg, oc), w.dtype)
        lw.copy(split.transpose((0, 3, 2, 1)), matrices)
        return _packed_matrices(lw, matrices, groups, taps * cg, oc)

    return _weights(lw, w, ("pack_conv", groups), lambda a: conv_pack.pack_conv(a, groups), run_time)


def depthwise_filters(lw: Lowering, w: Value) -> View:
    """``conv_pack.pack_depthwise``: tap, output."""

    def run_time() -> View:
        flat = lw.dense(w).reshape((w.shape[0], prod(w.shape[2:])))
        assert flat is not None
        out = lw.temporary(tuple(reversed(flat.shape)), w.dtype)
        lw.copy(flat.transpose((1, 0)), out)
        return out

    return _weights(lw, w, ("pack_depthwise",), conv_pack.pack_depthwise, run_time)


def transposed_filters(
    lw: Lowering, w: Value, groups: int, strides: Sequence[int], dilations: Sequence[int]
) -> View:
    """``conv_pack.pack_conv_transpose``: taps ordered by the outputs that they reach."""

    def run_time() -> View:
        cg, og, taps = w.shape[0] // groups, w.shape[1], prod(w.shape[2:])
        split = lw.dense(w).reshape((groups, cg, og, taps))
        assert split is not None
        matrices = lw.temporary((groups, taps, cg, og), w.dtype)
        for place, tap in enumerate(conv_pack.transpose_tap_order(w.shape[2:], strides, dilations)):
            source = split.slice((0, 0, 0, tap), (groups, cg, og, 1), (1, 1, 1, 1)).transpose((0, 3, 1, 2))
            lw.copy(source, matrices.slice((0, place, 0, 0), (groups, 1, cg, og), (1, 1, 1, 1)))
        return _packed_matrices(lw, matrices, groups, taps * cg, og)

    return _weights(
        lw, w, ("pack_conv_transpose", groups, tuple(strides), tuple(dilations)),
        lambda a: conv_pack.pack_conv_transpose(a, groups, strides, dilations), run_time,
    )  # fmt: skip


def winograd_filters(lw: Lowering, w: Value, algorithm: Algorithm, groups: int) -> View:
    """Filters of 3 x 3 taps as the kernel of ``algorithm`` takes them: transformed, or plain for one that does that."""
    if algorithm.raw:
        return plain_filters(lw, w, groups)

    def run_time() -> View:
        og, cg = w.shape[0] // groups, w.shape[1]
        view = lw.view(w)
        packed = lw.temporary(packed_shape(algorithm, groups, og, cg), np.dtype(np.float32))
        o, c, h, wide = view.strides
        lw.launch(
            pack_name(algorithm), {"T": w.dtype}, {"w": view.ref(), "packed": packed.ref()},
            {"groups": groups, "og": og, "cg": cg, "w_off": view.offset, "w_o": o, "w_c": c, "w_h": h, "w_w": wide},
        )  # fmt: skip
        return packed

    key = ("pack_winograd", algorithm.outputs, algorithm.stride, groups)
    return _weights(lw, w, key, lambda a: pack_winograd(a, algorithm.outputs, groups, algorithm.stride), run_time)


def _weights(
    lw: Lowering, w: Value, key: tuple[Any, ...], pack: Callable[[np.ndarray], np.ndarray], run_time: Callable[[], View]
) -> View:
    return lw.packed(w, key, pack) if w.is_constant else lw.derived(w, repr(key), run_time)


def _packed_matrices(lw: Lowering, matrices: View, groups: int, k: int, n: int) -> View:
    size = gemm_pack.packed_size(k, n)
    packed = lw.temporary((groups, size), matrices.dtype)
    lw.launch(
        "gemm_pack", {"T": matrices.dtype}, {"b": matrices.ref(), "packed": packed.ref()},
        {"K": k, "N": n, "nb0": 1, "nb1": groups, "b_off": matrices.offset, "b_b0": 0, "b_b1": k * n, "b_k": n,
         "b_n": 1, "p_off": 0, "p_b0": 0, "p_b1": size},
    )  # fmt: skip
    return packed
