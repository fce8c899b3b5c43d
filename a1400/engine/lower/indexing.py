"""Gathers and scatters: elements move as words of their size; scatters copy the data first and update it in place."""

from __future__ import annotations

import numpy as np

from a1400.engine.lowering import Lowering, lowers
from a1400.graph.graph import Node, Value
from a1400.kernels import gather as gather_kernel
from a1400.kernels import scatter as scatter_kernel
from a1400.memory.storage import View


def _values(node: Node) -> list[Value]:
    return [v for v in node.inputs if v is not None]


@lowers("gather")
def _gather(lw: Lowering, node: Node) -> None:
    x, index = _values(node)
    axis = node.attrs["axis"]
    view, places, target = lw.contiguous(x), lw.dense(index), lw.result(node.output)
    outer = int(np.prod(x.shape[:axis], dtype=np.int64))
    inner = int(np.prod(x.shape[axis + 1 :], dtype=np.int64))
    n, count = x.shape[axis], index.size
    lw.launch(
        "gather", {"T": gather_kernel.word(x.dtype), "TI": index.dtype},
        {"x": view.ref(), "idx": places.ref(), "y": target.ref()},
        {"O": outer, "N": n, "J": count, "I": inner, "x_off": view.offset, "x_o": n * inner, "x_n": inner,
         "idx_off": places.offset, "y_off": target.offset, "y_o": count * inner, "y_j": inner},
    )  # fmt: skip


@lowers("gather_elements")
def _gather_elements(lw: Lowering, node: Node) -> None:
    x, index = _values(node)
    scalars = gather_kernel.elements_scalars(x.shape, index.shape, node.attrs["axis"])
    lw.launch(
        "gather_elements", {"T": gather_kernel.word(x.dtype), "TI": index.dtype},
        {"x": lw.bind(lw.dense(x)), "idx": lw.bind(lw.dense(index)), "y": lw.bind(lw.result(node.output))}, scalars,
    )  # fmt: skip


@lowers("gather_nd")
def _gather_nd(lw: Lowering, node: Node) -> None:
    x, index = _values(node)
    scalars = gather_kernel.nd_scalars(x.shape, index.shape, node.attrs["batch_dims"])
    lw.launch(
        "gather_nd", {"T": gather_kernel.word(x.dtype), "TI": index.dtype},
        {"x": lw.bind(lw.dense(x)), "idx": lw.bind(lw.dense(index)), "y": lw.bind(lw.result(node.output))}, scalars,
    )  # fmt: skip


def _copied(lw: Lowering, node: Node, x: Value) -> View:
    target = lw.result(node.output, lambda view: view.is_dense)
    lw.copy(lw.view(x), target)
    return target


@lowers("scatter_elements")
def _scatter_elements(lw: Lowering, node: Node) -> None:
    x, index, updates = _values(node)
    target = _copied(lw, node, x)
    a = node.attrs
    scalars = scatter_kernel.elements_scalars(x.shape, index.shape, a["axis"], a["reduction"], a.get("clamp", False))
    scalars["y_off"] = target.offset
    lw.launch(
        "scatter_elements", {"T": x.dtype, "TI": index.dtype},
        {"idx": lw.bind(lw.dense(index)), "updates": lw.bind(lw.dense(updates)), "y": target.ref()}, scalars,
    )  # fmt: skip


@lowers("scatter_nd")
def _scatter_nd(lw: Lowering, node: Node) -> None:
    x, index, updates = _values(node)
    target = _copied(lw, node, x)
    a = node.attrs
    scalars = scatter_kernel.nd_scalars(x.shape, index.shape, a["reduction"], a.get("clamp", False))
    scalars["y_off"] = target.offset
    lw.launch(
        "scatter_nd", {"T": x.dtype, "TI": index.dtype},
        {"idx": lw.bind(lw.dense(index)), "updates": lw.bind(lw.dense(updates)), "y": target.ref()}, scalars,
    )  # fmt: skip
