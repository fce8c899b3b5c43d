"""Convolutions that the ``winograd`` pass marked: one launch of the kernel that the mark names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from a1400.engine.lower.filters import winograd_filters
from a1400.engine.lowering import Lowering
from a1400.graph.graph import Node, Value
from a1400.kernels import conv_winograd_choice as choice
from a1400.kernels.conv_winograd import ALGORITHMS, POOLED, TYPES
from a1400.memory.storage import Ref


def emit_winograd(
    lw: Lowering, node: Node, w: Value, types: Mapping[str, np.dtype], buffers: Mapping[str, Ref],
    scalars: Mapping[str, int | float], slots: Mapping[str, Any], pooling: Mapping[str, int] | None = None,
) -> bool:  # fmt: skip
    """Launch a marked convolution given what ``conv`` would get (``buffers`` without w); False without a mark.

    ``pooling`` are the further scalars of a kernel that pools as well: ``y`` is then the pooled image.
    """
    kernel = node.attrs.get("algorithm")
    # a later pass may have changed dtypes
    if kernel is None or types["TA"] not in TYPES or types["TC"] not in TYPES:
        return False
    shared = choice.share(lw.info, kernel, scalars)
    if shared is None:
        return False
    groups, a = int(scalars["groups"]), ALGORITHMS[kernel]
    packed = winograd_filters(lw, w, a, groups)
    kinds = {name: types[name] for name in (("TA", "TB", "TC") if a.raw else ("TA", "TC"))}
    name = POOLED[kernel].name if pooling else kernel
    sizes = {**choice.winograd_scalars(scalars, shared), **(pooling or {})}
    lw.launch(name, kinds, {**buffers, "w": packed.ref()}, sizes, slots=slots)
    return True
