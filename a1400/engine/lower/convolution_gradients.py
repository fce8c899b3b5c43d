"""Gradients of convolutions' filters and of pooling."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from a1400.engine.lower.images import image_groups, pixel_result, pixel_view, three
from a1400.engine.lower.slots import with_epilogue
from a1400.engine.lowering import Lowering, lowers, split_inputs
from a1400.graph.graph import Node
from a1400.kernels import conv_filter_winograd
from a1400.kernels.conv_filter import part_types, plan_filter
from a1400.kernels.conv_shape import conv_scalars
from a1400.kernels.conv_winograd import TYPES
from a1400.memory.storage import View


@lowers("conv_filter_gradient")
def _filter_gradient(lw: Lowering, node: Node) -> None:
    x, g = node.inputs
    assert x is not None and g is not None
    attrs, value = node.attrs, node.output
    target = lw.result(value, lambda view: view.is_dense)
    if target.size == 0:
        return
    groups, kernel = int(attrs["groups"]), attrs["kernel"]
    (view, step), (coming, coming_step) = pixel_view(lw, x), pixel_view(lw, g)
    scalars = conv_scalars(
        x.shape, g.shape, kernel, attrs["strides"], attrs["low"], attrs["dilations"], groups,
        x_off=view.offset, x_ld=step, y_off=coming.offset, y_ld=coming_step,
    )  # fmt: skip
    types = part_types(x.dtype, g.dtype)
    if attrs.get("algorithm") == conv_filter_winograd.NAME and {x.dtype, g.dtype, target.dtype} <= set(TYPES):
        _by_winograd(lw, view, coming, target, scalars)
        return
    plan = plan_filter(lw.info, scalars)
    oc, cg, taps, splits = value.shape[0], value.shape[1], prod(kernel), plan["splits"]
    sizes = {"splits": splits, "groups": groups, "taps": taps, "cg": cg, "og": oc // groups, "w_ld": plan["w_ld"]}
    depthwise = cg == 1 and groups > 1
    if depthwise:
        sizes |= {"groups": 1, "og": oc, "w_ld": oc}
        del scalars["groups"]
        scalars |= {"splits": splits}
    else:
        scalars |= plan
    parts = lw.temporary((splits, sizes["groups"], taps, cg, sizes["w_ld"]), types["ACC"])
    buffers = {"x": view.ref(), "dy": coming.ref(), "parts": parts.ref()}
    lw.launch("conv_filter_depthwise" if depthwise else "conv_filter_gradient", types, buffers, scalars)
    lw.launch(
        "conv_filter_sum", {"T": target.dtype, "ACC": types["ACC"]}, {"parts": parts.ref(), "dw": target.ref()},
        {**sizes, "dw_off": target.offset},
    )  # fmt: skip


def _by_winograd(lw: Lowering, x: View, dy: View, target: View, scalars: Mapping[str, int]) -> None:
    plan = conv_filter_winograd.plan_filter_winograd(lw.info, scalars)
    groups, c, oc = scalars["groups"], scalars["C"], scalars["OC"]
    shape = (plan["splits"], groups, conv_filter_winograd.PLANES, c // groups, plan["w_ld"])
    parts = lw.temporary(shape, np.dtype(np.float32))
    lw.launch(
        conv_filter_winograd.NAME, {"TA": x.dtype, "TB": dy.dtype},
        {"x": x.ref(), "dy": dy.ref(), "parts": parts.ref()}, {**conv_filter_winograd.filter_scalars(scalars), **plan},
    )  # fmt: skip
    lw.launch(
        conv_filter_winograd.SUM.name, {"T": target.dtype}, {"parts": parts.ref(), "dw": target.ref()},
        {**plan, "groups": groups, "C": c, "OC": oc, "dw_off": target.offset},
    )  # fmt: skip


@lowers("pool_gradient")
def _pool_gradient(lw: Lowering, node: Node) -> None:
    own, _, _ = split_inputs(node)
    g, x, y = own
    assert g is not None
    a, kind, channels = node.attrs, node.attrs["kind"], node.output.shape[-1]
    target, target_step = pixel_result(lw, node.output)
    if target.size == 0:
        return
    coming, coming_step = pixel_view(lw, g)
    scalars: dict[str, int | float] = {"N": g.shape[0], "C": channels}
    for names, numbers in (
        ("D H W", three(a["size"])), ("OD OH OW", three(a["out"])), ("KD KH KW", three(a["kernel"])),
        ("SD SH SW", three(a["strides"])), ("LD LH LW", three(a["dilations"])), ("PD PH PW", three(a["low"], 0)),
    ):  # fmt: skip
        scalars |= dict(zip(names.split(), numbers, strict=True))
    scalars |= {"dy_off": coming.offset, "dy_ld": coming_step, "dx_off": target.offset, "dx_ld": target_step}
    buffers = {"dy": coming.ref(), "dx": target.ref()}
    for name, value in (("x", x), ("y", y)):
        if value is not None:
            view, step = pixel_view(lw, value)
            buffers[name] = view.ref()
            scalars |= {f"{name}_off": view.offset, f"{name}_ld": step}
    if kind == "average":
        limits = three(tuple(n + h for n, h in zip(a["size"], a["high"], strict=True)))
        scalars |= dict(zip(("lim_d", "lim_h", "lim_w"), limits, strict=True))
        scalars["include_pad"] = int(bool(a.get("count_include_pad")))
    elif kind == "lp":
        scalars["p"] = float(a.get("p", 2))
    epilogue = lw.attached(node, "epilogue", node.output.shape, image_groups(node.output.rank))
    slots = with_epilogue({"EPILOGUE": epilogue} if epilogue else {}, g.dtype, target.dtype)
    lw.launch(f"pool_gradient_{kind}", {"T": g.dtype, "OUT": target.dtype}, buffers, scalars, slots=slots)
