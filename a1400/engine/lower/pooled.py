"""A convolution and the pooling that alone reads it, in one launch on CPUs.

Both handlers ask :func:`pool_behind`: the convolution's leaves everything to the pooling's, whose operands exist by
then.  Nothing is marked in the graph, so a graph whose every value is an output runs node by node.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from a1400.engine.lower.filters import plain_filters
from a1400.engine.lower.images import image_groups, pixel_result, pixel_view
from a1400.engine.lower.slots import with_epilogue
from a1400.engine.lower.winograd import emit_winograd
from a1400.engine.lowering import Lowering, split_inputs
from a1400.graph.graph import Node, Value
from a1400.kernels import conv_pool
from a1400.kernels.conv_shape import conv_scalars
from a1400.kernels.conv_winograd import POOLED
from a1400.kernels.spec import REGISTRY
from a1400.memory.storage import View

_F32 = np.dtype(np.float32)
#: channels that lie apart are gathered one by one
_MOST_GATHERED = 4


def pool_behind(lw: Lowering, conv: Node) -> Node | None:
    """The pooling that computes ``conv`` too; None where they are launched apart."""
    value = conv.output
    pool = next((n for n in lw.graph.nodes if n.op == "pool" and n.inputs[0] is value), None)
    if pool is None or any(output is value for output in lw.graph.outputs.values()):
        return None
    readers = [n for n in lw.graph.nodes if any(v is value for v in n.inputs)]
    alone = len(readers) == 1 and sum(v is value for v in pool.inputs) == 1
    return pool if alone and _side_by_side(pool, value) and _computed(lw, conv, pool) else None


def _side_by_side(pool: Node, value: Value) -> bool:
    """Windows of a picture that neither overlap nor leave it."""
    a = pool.attrs
    if a["kind"] not in ("max", "average") or value.rank != 4 or pool.output.size == 0:
        return False
    if any(a["low"]) or any(d != 1 for d in a["dilations"]) or tuple(a["kernel"]) != tuple(a["strides"]):
        return False
    return all(out == n // k for out, n, k in zip(a["out"], value.shape[1:3], a["kernel"], strict=True))


def _computed(lw: Lowering, conv: Node, pool: Node) -> bool:
    """Whether a kernel for CPUs computes both."""
    x, w = conv.inputs[:2]
    assert x is not None and w is not None
    dtypes = (x.dtype, w.dtype, conv.output.dtype, pool.output.dtype)
    if lw.info.kind != "cpu" or lw.info.backend != "opencl":
        return False
    if any(dtype not in conv_pool.TYPES for dtype in dtypes):
        return False
    if kernel := conv.attrs.get("algorithm"):
        return kernel in POOLED and all(POOLED[kernel].outputs % k == 0 for k in pool.attrs["kernel"])
    products = w.shape[2:] == (1, 1)  # left to the kernels of matrix products
    return not products and int(conv.attrs["groups"]) == 1 and _micro_rows(_scalars(conv, pool)) > 0


def _micro_rows(scalars: Mapping[str, int | float]) -> int:
    """Rows of a micro-kernel that whole windows fill; 0 for none."""
    window = int(scalars["pool_h"]) * int(scalars["pool_w"])
    values = next(t for t in REGISTRY["conv_pool"].variant("cpu").tunables if t.name == "MR").values
    return next((mr for mr in values if mr % window == 0 and conv_pool.fits(scalars, mr)), 0)


def _pooling(pool: Node) -> dict[str, int]:
    high, wide = pool.attrs["kernel"]
    return {"pool_h": high, "pool_w": wide, "average": int(pool.attrs["kind"] == "average")}


def _scalars(conv: Node, pool: Node) -> dict[str, int]:
    """Scalars of ``conv_pool`` but for where the images lie."""
    x, w = conv.inputs[:2]
    assert x is not None and w is not None
    a = conv.attrs
    s = conv_scalars(x.shape, conv.output.shape, w.shape[2:], a["strides"], a["low"], a["dilations"])
    names = ("N", "H", "W", "C", "OH", "OW", "OC", "KH", "KW", "sh", "sw", "ph", "pw", "dh", "dw")
    return {**{name: s[name] for name in names}, **_pooling(pool)}


def emit_pooled(lw: Lowering, pool: Node) -> bool:
    """Launch ``pool`` and the convolution in front of it; False where that is done apart."""
    value = pool.inputs[0]
    assert value is not None
    conv = value.producer
    if conv is None or conv.op != "conv" or pool_behind(lw, conv) is not pool:
        return False
    (x, w), _, _ = split_inputs(conv)
    assert x is not None and w is not None
    target, y_step = pixel_result(lw, pool.output)
    slots: dict[str, Any] = {}
    for name, node in (("EPILOGUE", conv), ("POOLED", pool)):
        if filled := lw.attached(node, "epilogue", node.output.shape, image_groups(4)):
            for slot in with_epilogue({"EPILOGUE": filled}, _F32, node.output.dtype).values():
                slots[name] = slot
    types = {"TA": x.dtype, "TB": w.dtype, "TC": target.dtype}
    if "algorithm" in conv.attrs:
        a = conv.attrs
        view, step = pixel_view(lw, x)
        scalars = conv_scalars(
            x.shape, value.shape, w.shape[2:], a["strides"], a["low"], a["dilations"], int(a["groups"]),
            x_off=view.offset, x_ld=step, y_off=target.offset, y_ld=y_step,
        )  # fmt: skip
        emitted = emit_winograd(
            lw, conv, w, types, {"x": view.ref(), "y": target.ref()}, scalars, slots, _pooling(pool)
        )
        assert emitted, "a marked convolution has a kernel"
    else:
        scalars = _scalars(conv, pool)
        view = _readable(lw, x)
        places = dict(zip(("x_n", "x_h", "x_w", "x_c"), view.strides, strict=True))
        packed = plain_filters(lw, w, 1)
        lw.launch(
            "conv_pool", types, {"x": view.ref(), "w": packed.ref(), "y": target.ref()},
            {**scalars, **places, "x_off": view.offset, "y_off": target.offset, "y_ld": y_step},
            tunables={"MR": _micro_rows(scalars)}, slots=slots,
        )  # fmt: skip
    lw.launches[-1].sources = tuple(dict.fromkeys((*conv.sources, *pool.sources)))
    return True


def _readable(lw: Lowering, x: Value) -> View:
    """The image as it lies where the kernel reads that well: with pixels in one piece, or few channels."""
    view = lw.view(x)
    whole = view.strides[3] == 1 or x.shape[3] <= _MOST_GATHERED
    return view if whole and min(view.strides) >= 0 else lw.dense(x)
