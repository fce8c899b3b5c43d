"""Convolutions and pooling of channels-last images; a 1x1 convolution of stride 1 is a matrix product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from a1400 import tuning
from a1400.engine.lower.filters import depthwise_filters, plain_filters, transposed_filters
from a1400.engine.lower.images import image_groups, pixel_result, pixel_view, three
from a1400.engine.lower.linear import Product, emit_product, uses_packed
from a1400.engine.lower.pooled import emit_pooled, pool_behind
from a1400.engine.lower.slots import with_epilogue
from a1400.engine.lower.winograd import emit_winograd
from a1400.engine.lowering import Lowering, lowers, split_inputs
from a1400.graph.graph import Node, Value
from a1400.kernels import conv as conv_kernel
from a1400.kernels import conv_hopper, conv_pack, conv_spread, conv_tensor, gemm_pack
from a1400.kernels import pool as pool_kernel
from a1400.kernels.conv_shape import conv_scalars, with_image_strides
from a1400.kernels.gemm import accumulator
from a1400.kernels.spec import REGISTRY
from a1400.memory.storage import View, collapse_group


def _image_slots(lw: Lowering, node: Node, stored: np.dtype, acc: np.dtype) -> dict[str, Any]:
    epilogue = lw.attached(node, "epilogue", node.output.shape, image_groups(node.output.rank))
    return with_epilogue({"EPILOGUE": epilogue} if epilogue else {}, acc, stored)


@lowers("conv")
def _conv(lw: Lowering, node: Node) -> None:
    own, _, _ = split_inputs(node)
    x, w = own
    assert x is not None and w is not None
    attrs = node.attrs
    groups = int(attrs["groups"])
    if pool_behind(lw, node) is not None:
        return
    target, y_step = pixel_result(lw, node.output)
    if target.size == 0:
        return
    kernel = w.shape[2:]
    plain = all(k == 1 for k in kernel) and all(s == 1 for s in attrs["strides"])
    plain = plain and groups == 1 and not any(attrs["low"] + attrs["high"])
    if plain:
        _pointwise_conv(lw, node, x, w, target, y_step)
        return
    apart = _planes(lw, node, x, w)
    view, step = (apart.view, apart.step) if apart else pixel_view(lw, x)
    scalars = conv_scalars(
        x.shape, node.output.shape, kernel, attrs["strides"], attrs["low"], attrs["dilations"], groups,
        x_off=view.offset, x_ld=step, y_off=target.offset, y_ld=y_step,
    )  # fmt: skip
    acc = accumulator(x.dtype)
    types = {"TA": x.dtype, "TB": w.dtype, "TC": target.dtype, "ACC": acc}
    slots = _image_slots(lw, node, target.dtype, acc)
    buffers = {"x": view.ref(), "y": target.ref()}
    if w.shape[1] == 1 and groups > 1:
        buffers["w"] = depthwise_filters(lw, w).ref()
        del scalars["groups"]  # depthwise means one input channel per group
        lw.launch("conv_depthwise", types, buffers, scalars, slots=slots)
        return
    if apart is None and emit_winograd(lw, node, w, types, buffers, scalars, slots):
        return
    scalars = with_image_strides(scalars, apart.image, apart.channel) if apart else with_image_strides(scalars)
    buffers["w"] = plain_filters(lw, w, groups).ref()
    lw.launch("conv", types, buffers, scalars, tunables=_conv_tunables(lw, types, scalars, slots), slots=slots)


@dataclass(frozen=True)
class _Planes:
    """An image whose channels lie apart: elements from pixel to pixel, image to image and channel to channel."""

    view: View
    step: int
    image: int
    channel: int


def _planes(lw: Lowering, node: Node, x: Value, w: Value) -> _Planes | None:
    """The input as planes of few channels, such as a picture [N, C, H, W], where the kernel for CPUs reads it in place;
    None: as :func:`pixel_view` gives it."""
    view, channels = lw.view(x), x.shape[-1]
    few = 1 < channels <= 4 and channels * prod(w.shape[2:]) <= 256 and w.shape[1] == channels
    step = collapse_group(view.shape, view.strides, list(range(1, x.rank - 1)))
    if not few or step != 1 or view.strides[-1] <= 1 or view.strides[0] < 0 or "algorithm" in node.attrs:
        return None
    types = {"TA": x.dtype, "TB": w.dtype, "TC": node.output.dtype, "ACC": accumulator(x.dtype)}
    return _Planes(view, step, view.strides[0], view.strides[-1]) if _on_cpu(lw, types) else None


def _on_cpu(lw: Lowering, types: Mapping[str, np.dtype]) -> bool:
    """Whether ``conv`` runs in its variant for CPUs."""
    variant = REGISTRY["conv"].variant("cpu")
    return lw.info.kind == "cpu" and lw.info.backend in variant.backends and variant.requires(lw.info, types)


def _conv_tunables(
    lw: Lowering, types: Mapping[str, np.dtype], scalars: Mapping[str, int | float], slots: Mapping[str, Any]
) -> Mapping[str, int]:
    """Settings by shape for the variants that want them, unless a tuning table has measured ones; empty: defaults."""
    spec = REGISTRY["conv"]
    chosen = spec.choose(lw.info, types, scalars, slots, lw.allow)
    if chosen.name == "cpu":
        return conv_kernel.choose_tunables(lw.info, scalars)
    measured = tuning.lookup(lw.info, spec, chosen, types, scalars)
    if chosen == conv_hopper.VARIANT:
        return measured or conv_hopper.choose_tunables(lw.info, scalars)
    if chosen in conv_tensor.VARIANTS:
        return measured or conv_tensor.choose_tunables(lw.info, scalars)
    return measured


def _pointwise_conv(lw: Lowering, node: Node, x: Value, w: Value, target: View, y_step: int) -> None:
    view, step = pixel_view(lw, x)
    rows, c, oc = x.size // x.shape[-1], x.shape[-1], w.shape[0]
    rank = node.output.rank
    epilogue = lw.attached(node, "epilogue", node.output.shape, image_groups(rank))
    flat = View(view.storage, view.dtype, (rows, c), (step, 1), view.offset)
    out = View(target.storage, target.dtype, (rows, oc), (y_step, 1), target.offset)
    if epilogue is not None:
        # the product's rows are (image, pixel): strides must walk both at once
        epilogue = lw.attached(node, "epilogue", node.output.shape, [[], list(range(rank - 1)), [rank - 1]])
    slots = {"EPILOGUE": epilogue} if epilogue else {}
    if w.is_constant and uses_packed(lw, x.dtype):
        packed = lw.packed(w, ("pack_1x1",), lambda a: gemm_pack.pack_b(np.ascontiguousarray(a.reshape(a.shape[:2]).T)))
        matrix = View(packed.storage, packed.dtype, (c, oc), (oc, 1))
        emit_product(lw, Product(flat, matrix, out, None, slots), packed=packed)
        return
    weights = lw.dense(w)
    matrix = View(weights.storage, weights.dtype, (c, oc), (1, c), weights.offset)
    emit_product(lw, Product(flat, matrix, out, None, slots))


@lowers("conv_transpose")
def _conv_transpose(lw: Lowering, node: Node) -> None:
    own, _, _ = split_inputs(node)
    x, w = own
    assert x is not None and w is not None
    attrs = node.attrs
    groups = int(attrs["groups"])
    target, y_step = pixel_result(lw, node.output)
    if target.size == 0:
        return
    view, step = pixel_view(lw, x)
    scalars = conv_scalars(
        x.shape, node.output.shape, w.shape[2:], attrs["strides"], attrs["low"], attrs["dilations"], groups,
        x_off=view.offset, x_ld=step, y_off=target.offset, y_ld=y_step,
    )  # fmt: skip
    acc = accumulator(x.dtype)
    types = {"TA": x.dtype, "TB": w.dtype, "TC": target.dtype, "ACC": acc}
    slots = _image_slots(lw, node, target.dtype, acc)
    if w.is_constant and conv_spread.pays(scalars):
        few = {k: v for k, v in scalars.items() if k != "groups"}
        if REGISTRY["conv_spread"].choose(lw.info, types, few, slots, lw.allow).kind == "cpu":
            weights = lw.packed(w, ("pack_conv_spread",), conv_pack.pack_conv_spread)
            lw.launch("conv_spread", types, {"x": view.ref(), "w": weights.ref(), "y": target.ref()}, few, slots=slots)
            return
    packed = transposed_filters(lw, w, groups, attrs["strides"], attrs["dilations"])
    buffers = {"x": view.ref(), "w": packed.ref(), "y": target.ref()}
    chosen = REGISTRY["conv_transpose"].choose(lw.info, types, scalars, slots, lw.allow)
    tunables = tuning.lookup(lw.info, REGISTRY["conv_transpose"], chosen, types, scalars)
    if chosen in conv_tensor.TRANSPOSED and not tunables:
        tunables = conv_tensor.choose_tunables(lw.info, scalars, transposed=True)
    lw.launch("conv_transpose", types, buffers, scalars, tunables=tunables, slots=slots)


def _pool_scalars(node: Node, x: Value, view: View, step: int, target: View, y_step: int) -> dict[str, int | float]:
    a = node.attrs
    scalars: dict[str, int | float] = {"N": x.shape[0], "C": x.shape[-1]}
    for names, numbers in (
        ("D H W", three(x.shape[1:-1])), ("OD OH OW", three(a["out"])), ("KD KH KW", three(a["kernel"])),
        ("SD SH SW", three(a["strides"])), ("LD LH LW", three(a["dilations"])), ("PD PH PW", three(a["low"], 0)),
    ):  # fmt: skip
        scalars.update(zip(names.split(), numbers, strict=True))
    scalars |= {"x_off": view.offset, "x_ld": step, "y_off": target.offset, "y_ld": y_step}
    return scalars


@lowers("pool")
def _pool(lw: Lowering, node: Node) -> None:
    own, _, _ = split_inputs(node)
    x = own[0]
    assert x is not None
    if emit_pooled(lw, node):
        return
    view, step = pixel_view(lw, x)
    target, y_step = pixel_result(lw, node.output)
    scalars = _pool_scalars(node, x, view, step, target, y_step)
    kind = node.attrs["kind"]
    if kind == "average":
        limits = three(tuple(n + h for n, h in zip(x.shape[1:-1], node.attrs["high"], strict=True)))
        scalars |= dict(zip(("lim_d", "lim_h", "lim_w"), limits, strict=True))
        scalars["include_pad"] = int(bool(node.attrs.get("count_include_pad")))
    elif kind == "lp":
        scalars["p"] = float(node.attrs.get("p", 2))
    slots = _image_slots(lw, node, target.dtype, x.dtype)
    lw.launch(
        f"pool_{kind}", {"T": x.dtype, "OUT": target.dtype}, {"x": view.ref(), "y": target.ref()}, scalars, slots=slots
    )


@lowers("max_pool_indices")
def _max_pool_indices(lw: Lowering, node: Node) -> None:
    x = node.inputs[0]
    assert x is not None
    view, step = pixel_view(lw, x)
    values, indices = (lw.result(v) for v in node.outputs)
    scalars = _pool_scalars(node, x, view, step, values, x.shape[-1])
    strides = pool_kernel.index_strides(x.shape[-1], *three(x.shape[1:-1]), int(node.attrs.get("storage_order", 0)))
    scalars |= strides
    lw.launch(
        "pool_max_index", {"T": x.dtype}, {"x": view.ref(), "y": values.ref(), "index": lw.bind(indices)}, scalars
    )
