"""Boxes in images: choices among them, and what they hold."""

from __future__ import annotations

from a1400.engine.lowering import Lowering, lowers
from a1400.graph.graph import Node
from a1400.kernels import roi_align as roi_kernel


@lowers("non_max_suppression")
def _suppression(lw: Lowering, node: Node) -> None:
    operands = [v for v in node.inputs if v is not None]
    rows, n, _ = operands[0].shape
    names = ("boxes", "valid", "limit", "threshold")
    buffers = {name: lw.bind(lw.dense(value)) for name, value in zip(names, operands)}
    lw.launch(
        "non_max_suppression", {"T": operands[0].dtype}, {**buffers, "keep": lw.bind(lw.result(node.output))},
        {"R": rows, "n": n},
    )  # fmt: skip


@lowers("roi_align")
def _roi_align(lw: Lowering, node: Node) -> None:
    _regions(lw, node, ("x", "rois", "image"), "y")


@lowers("roi_align_gradient")
def _roi_align_gradient(lw: Lowering, node: Node) -> None:
    _regions(lw, node, ("dy", "x", "rois", "image"), "dx")


def _regions(lw: Lowering, node: Node, names: tuple[str, ...], result: str) -> None:
    operands = {name: v for name, v in zip(names, node.inputs) if v is not None}
    x, rois, a = operands["x"], operands["rois"], node.attrs
    scalars = roi_kernel.scalars(
        x.shape, rois.shape[0], a["height"], a["width"], a["scale"], a["samples"], a["largest"], a["half_pixel"]
    )
    buffers = {name: lw.bind(lw.dense(value)) for name, value in operands.items()}
    buffers[result] = lw.bind(lw.result(node.output))
    lw.launch(node.op, {"T": x.dtype, "TR": rois.dtype}, buffers, scalars)
