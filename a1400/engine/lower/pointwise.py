"""Pointwise nodes and copies: one launch of a pointwise kernel over strided views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from a1400 import dtypes
from a1400.engine.lower.slots import without_rounding
from a1400.engine.lowering import Lowering, lowers, operand_buffer
from a1400.graph.graph import Node
from a1400.kernels import expr as expressions
from a1400.kernels import pointwise as kernel
from a1400.kernels import transpose as transpose_kernel
from a1400.kernels.expr import Expr
from a1400.kernels.pointwise_ops import OPS
from a1400.kernels.spec import Operand, SlotArgument, SlotCode
from a1400.memory.storage import View
from a1400.ops.pointwise import expressions as fused_expressions


def emit_pointwise(lw: Lowering, expr: Expr, views: Sequence[View], target: View) -> None:
    """Launch ``target[...] = expr(views...)``; views broadcast to the target's shape."""
    emit_results(lw, [expr], views, [target])


def emit_results(lw: Lowering, exprs: Sequence[Expr], views: Sequence[View], targets: Sequence[View]) -> None:
    """Launch ``targets[i][...] = exprs[i](views...)`` for all i at once; the targets have one shape."""
    shape = targets[0].shape
    if targets[0].size == 0:
        return
    expanded = [v.expand(shape) for v in views]
    strides = [v.strides for v in (*targets, *expanded)]
    try:
        sizes, walks = kernel.collapse(shape, strides, kernel.RANKS if len(targets) == 1 else kernel.RANKS_MANY)
    except ValueError:
        # more than six irregular dimensions: one launch for each position along the shortest of them
        _, axis = min((n, d) for d, n in enumerate(shape) if n > 1)
        for i in range(shape[axis]):
            emit_results(lw, exprs, [_at(v, axis, i) for v in expanded], [_at(t, axis, i) for t in targets])
        return
    operands, arguments = [], []
    for view, walk in zip(expanded, walks[len(targets) :], strict=True):
        inner = walk[-1] if walk[-1] in (0, 1) else 2
        operands.append(Operand(view.dtype, inner, view.storage.kind == "position"))
        arguments.append(SlotArgument(operand_buffer(view), view.offset, tuple(walk)))
    numbers = {i: expressions.arg(i + 1, v.dtype) for i, v in enumerate(views)}
    bodies = expressions.substitute_all(exprs, numbers)
    bodies = [without_rounding(body, target.dtype) for body, target in zip(bodies, targets)]
    code = SlotCode(bodies[0], tuple(operands), tuple(bodies[1:]))
    rank, kinds = len(sizes), [t.dtype for t in targets]
    variant = kernel.choose_pointwise_variant(lw.info, code, *kinds, rank=rank)
    names = kernel.output_names(len(targets))
    lw.launch(
        kernel.spec_name(rank, len(targets)), {name: dtype for (_, name), dtype in zip(names, kinds)},
        {name: target.ref() for (name, _), target in zip(names, targets)},
        kernel.scalars(lw.info, sizes, [(t.offset, walk) for t, walk in zip(targets, walks)]),
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
    if source.dtype == target.dtype and dtypes.is_low(source.dtype):  # no kernel of its own for bytes that only move
        source, target = (replace(view, dtype=dtypes.word(view.dtype)) for view in (source, target))
    if source.dtype == target.dtype and (scalars := _transposition(source, target)) is not None:
        scalars |= {"x_off": source.offset, "y_off": target.offset}
        buffers = {"x": source.ref(), "y": target.ref()}
        lw.launch("transpose", {"T": transpose_kernel.word(source.dtype)}, buffers, scalars)
        return
    emit_pointwise(lw, expressions.arg(0, source.dtype), [source], target)


def _transposition(source: View, target: View) -> dict[str, int] | None:
    """The scalars of the ``transpose`` kernel where it suits the copy, else None."""
    if source.storage.kind == "position":
        return None
    try:
        sizes, (out, into) = kernel.collapse(target.shape, [target.strides, source.expand(target.shape).strides])
    except ValueError:
        return None
    return transpose_kernel.match(sizes, out, into)


def node_expressions(node: Node) -> tuple[Expr, ...]:
    """The node's results as expressions over its inputs."""
    if node.op == "pointwise":
        return fused_expressions(node.attrs)
    args = [expressions.arg(i, v.dtype) for i, v in enumerate(node.inputs) if v is not None]
    if node.op == "cast":
        return (expressions.cast(args[0], node.attrs["to"]),)
    return (expressions.apply(node.op, *args),)


def _lower(lw: Lowering, node: Node) -> None:
    views = [lw.operand(v) for v in node.inputs if v is not None]
    targets = [lw.result(value, lambda _: True) for value in node.outputs]
    emit_results(lw, node_expressions(node), views, targets)


lowers("pointwise", "cast", *OPS)(_lower)
