"""``winograd``: 3 x 3 convolutions (and their filters' gradients) that are faster with fewer multiplications get the
attribute ``algorithm``.

The attribute names the kernel (:mod:`a1400.kernels.conv_winograd`) and does not change what the node means; the
lowering obeys it.  Chosen for the shapes and the device at hand, by :mod:`a1400.kernels.conv_winograd_choice`.

A convolution that a largest element is sought in while training stays as it is: where a picture is flat, elements are
equal, and Winograd's rounding, which hangs on the place in its tile, would say which of them takes the gradient.
"""

from __future__ import annotations

from collections import Counter

from a1400.graph.graph import Node
from a1400.kernels import conv_filter_winograd
from a1400.kernels.conv_shape import conv_scalars
from a1400.kernels.conv_winograd import TYPES
from a1400.kernels.conv_winograd_choice import choose
from a1400.ops import OPS
from a1400.optimizer.rewriter import Context


def winograd(ctx: Context) -> None:
    """Run the pass; nothing happens where the device is not known."""
    if ctx.info is None:
        return
    found: Counter[str] = Counter()
    users = ctx.graph.users() if any(node.op == "pool_gradient" for node in ctx.graph.nodes) else {}
    for node in ctx.graph.nodes:
        find = {"conv": _kernel, "conv_filter_gradient": _filter_kernel}.get(node.op)
        if find is not None and not _sought_in(node, users) and (kernel := find(ctx, node)):
            node.attrs = {**node.attrs, "algorithm": kernel}
            found[kernel] += 1
    ctx.count(found.total())
    ctx.result.notes += [f"{kernel} x {count}" for kernel, count in found.items()]


def _sought_in(node: Node, users: dict[int, list[Node]]) -> bool:
    """Whether the result of ``node``, through elementwise ops, is what a pool's gradient seeks the largest in."""
    seen, waiting = set(), [node.output]
    while waiting:
        value = waiting.pop()
        for user in users.get(id(value), ()):
            if user.op == "pool_gradient" and user.inputs[1] is value:
                return True
            if OPS[user.op].pointwise and id(user) not in seen:
                seen.add(id(user))
                waiting += user.outputs
    return False


def _kernel(ctx: Context, node: Node) -> str | None:
    x, w = node.inputs[:2]
    assert ctx.info is not None and x is not None and w is not None
    floats = all(value.dtype in TYPES for value in (x, w, node.output))
    if not floats or w.shape[2:] != (3, 3) or node.output.size == 0:
        return None
    a = node.attrs
    scalars = conv_scalars(
        x.shape, node.output.shape, w.shape[2:], a["strides"], a["low"], a["dilations"], int(a["groups"])
    )
    chosen = choose(ctx.info, scalars)
    return chosen.kernel if chosen is not None else None


def _filter_kernel(ctx: Context, node: Node) -> str | None:
    x, g = node.inputs
    assert ctx.info is not None and x is not None and g is not None
    floats = all(value.dtype in TYPES for value in (x, g, node.output))
    a = node.attrs
    if not floats or a["kernel"] != (3, 3) or node.output.size == 0:
        return None
    scalars = conv_scalars(x.shape, g.shape, a["kernel"], a["strides"], a["low"], a["dilations"], int(a["groups"]))
    return conv_filter_winograd.NAME if conv_filter_winograd.choose_filter(ctx.info, scalars) else None
