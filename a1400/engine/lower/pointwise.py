"""Pointwise nodes and copies: one launch of the pointwise kernel over strided views."""

from __future__ import annotations

from collections.abc import Sequence

from a1400.engine.lower.slots import without_rounding
from a1400.engine.lowering import Lowering, lowers
from a1400.graph.graph import Node
from a1400.kernels import expr as expressions
from a1400.kernels import pointwise as kernel
from a1400.kernels import transpose as transpose_kernel
from a1400.kernels.expr import Expr
from a1400.kernels.pointwise_ops import OPS
from a1400.kernels.spec import Operand, SlotArgument, SlotCode
from a1400.memory.storage import View


def emit_pointwise(lw: Lowering, expr: Expr, views: Sequence[View], target: View) -> None:
    """Launch ``target[...] = expr(views...)``; views broadcast to the target's shape."""
    if target.size == 0:
        return
    expanded = [v.expand(target.shape) for v in views]
    strides = [target.strides, *(v.strides for v in expanded)]
    try:
        sizes, walks = kernel.collapse(target.shape, strides)
    except ValueError:
        # more than six irregular dimensions: one launch for each position along the shortest of them
        _, axis = min((n, d) for d, n in enumerate(target.shape) if n > 1)
        for i in range(target.shape[axis]):
            emit_pointwise(lw, expr, [_at(v, axis, i) for v in expanded], _at(target, axis, i))
        return
    rank = len(sizes)
    operands, arguments = [], []
    for view, walk in zip(expanded, walks[1:], strict=True):
        inner = walk[-1] if walk[-1] in (0, 1) else 2
        operands.append(Operand(view.dtype, inner))
        arguments.append(SlotArgument(view.ref(), view.offset, tuple(walk)))
    body = expressions.substitute(expr, {i: expressions.arg(i + 1, v.dtype) for i, v in enumerate(views)})
    code = SlotCode(without_rounding(body, target.dtype), tuple(operands))
    variant = kernel.choose_pointwise_variant(lw.info, code, target.dtype, rank)
    lw.launch(
        f"pointwise_{rank}", {"T": target.dtype}, {"y": target.ref()},
        kernel.scalars(lw.info, sizes, target.offset, walks[0]),
        variant=variant.name, slots={"BODY": (code, arguments)},
    )  # fmt: skip


def _at(view: View, axis: int, position: int) -> View:
    """The view at one position of an axis, which is kept with size 1."""
    starts, shape = [0] * len(view.shape), list(view.shape)
    starts[axis], shape[axis] = position, 1
    return view.slice(tuple(starts), tuple(shape), (1,) * len(shape))


def emit_copy(lw: Lowering, source: View, target: View) -> None:
    """Launch a plain copy between two views of one shape; transpositions have a kernel of their own."""
    if target.size == 0:
        return
    if source.dtype == target.dtype and (scalars := _transposition(source, target)) is not None:
        scalars |= {"x_off": source.offset, "y_off": target.offset}
        buffers = {"x": source.ref(), "y": target.ref()}
        lw.launch("transpose", {"T": transpose_kernel.word(source.dtype)}, buffers, scalars)
        return
    emit_pointwise(lw, expressions.arg(0, source.dtype), [source], target)


def _transposition(source: View, target: View) -> dict[str, int] | None:
    """The scalars of the ``transpose`` kernel where it suits the copy, else None."""
    try:
        sizes, (out, into) = kernel.collapse(target.shape, [target.strides, source.expand(target.shape).strides])
    except ValueError:
        return None
    return transpose_kernel.match(sizes, out, into)


def node_expression(node: Node) -> Expr:
    """The node as an expression over its inputs."""
    if node.op == "pointwise":
        return node.attrs["expr"]
    args = [expressions.arg(i, v.dtype) for i, v in enumerate(node.inputs) if v is not None]
    if node.op == "cast":
        return expressions.cast(args[0], node.attrs["to"])
    return expressions.apply(node.op, *args)


def _lower(lw: Lowering, node: Node) -> None:
    expr = node_expression(node)
    views = [lw.view(v) for v in node.inputs if v is not None]
    target = lw.result(node.output, lambda _: True)
    emit_pointwise(lw, expr, views, target)


lowers("pointwise", "cast", *OPS)(_lower)
