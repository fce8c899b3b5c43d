"""What is done to the joint graph of forward and backward before it is cut in two."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import GraphModule, Node

_ATEN = torch.ops.aten
#: backward operators, and which of their arguments our gradients make themselves: they need not be kept for them
_UNREAD = {
    _ATEN.max_pool2d_with_indices_backward.default: (7,),
    _ATEN.max_pool3d_with_indices_backward.default: (7,),
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward.default: (5,),
}
#: backward operators that get the layer's epsilon in the place of its statistics: (mean, 1 / deviation, epsilon)
_STATISTICS = {
    _ATEN.native_layer_norm_backward.default: (3, 4, 4),
    _ATEN.native_group_norm_backward.default: (2, 3, 8),
}


def drop_unread(module: GraphModule) -> None:
    """Take away arguments of backward operators that nobody will read, so that nothing is kept for them."""
    for node in module.graph.nodes:
        if node.op != "call_function":
            continue
        arguments = list(node.args)
        for place in _UNREAD.get(node.target, ()):
            if place < len(arguments):
                arguments[place] = None
        if node.target in _STATISTICS:
            mean, inverse, place = _STATISTICS[node.target]
            layer = _made_by(arguments[inverse])
            if layer is not None:
                arguments[mean], arguments[inverse] = None, float(layer.args[place])  # type: ignore[arg-type]
        node.args = tuple(arguments)
    module.graph.eliminate_dead_code()
    module.recompile()


def _made_by(node: Any) -> Node | None:
    """The layer whose third result ``node`` is."""
    if isinstance(node, Node) and node.target is operator.getitem and node.args[1] == 2:
        layer = node.args[0]
        if isinstance(layer, Node) and str(layer.target).startswith("aten.native_"):
            return layer
    return None
