"""``winograd``: 3 x 3 convolutions that are faster with fewer multiplications get the attribute ``algorithm``.

The attribute names the kernel (:mod:`a1400.kernels.conv_winograd`) and does not change what the node means; the
lowering obeys it.  Chosen for the shapes and the device at hand, by :mod:`a1400.kernels.conv_winograd_choice`.
"""

from __future__ import annotations

from collections import Counter

from a1400.graph.graph import Node
from a1400.kernels.conv_shape import conv_scalars
from a1400.kernels.conv_winograd import TYPES
from a1400.kernels.conv_winograd_choice import choose
from a1400.optimizer.rewriter import Context


def winograd(ctx: Context) -> None:
    """Run the pass; nothing happens where the device is not known."""
    if ctx.info is None:
        return
    found: Counter[str] = Counter()
    for node in ctx.graph.nodes:
        if node.op == "conv" and (kernel := _kernel(ctx, node)):
            node.attrs = {**node.attrs, "algorithm": kernel}
            found[kernel] += 1
    ctx.count(found.total())
    ctx.result.notes += [f"{kernel} x {count}" for kernel, count in found.items()]


def _kernel(ctx: Context, node: Node) -> str | None:
    x, w = node.inputs[:2]
    assert ctx.info is not None and x is not None and w is not None
    floats = all(value.dtype in TYPES for value in (x, w, node.output))
    if not w.is_constant or not floats or w.shape[2:] != (3, 3) or node.output.size == 0:
        return None
    a = node.attrs
    scalars = conv_scalars(
        x.shape, node.output.shape, w.shape[2:], a["strides"], a["low"], a["dilations"], int(a["groups"])
    )
    chosen = choose(ctx.info, scalars)
    return chosen.kernel if chosen is not None else None
