"""Names for activations that stay pointwise arithmetic: attr ``label`` on the node that is typical of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from a1400.graph.graph import Graph, Node, Value
from a1400.optimizer.recognition.match import either_way, is_number, made_by, operand, scalar_factor
from a1400.optimizer.scalars import split_uniform


def _gelu(node: Node) -> str | None:
    """``erf(x / sqrt 2)``."""
    scaled = operand(node).producer
    found = scalar_factor(scaled) if scaled is not None else None
    return "gelu" if found is not None and abs(found[1] - 0.70710678) < 1e-4 else None


def _tanh(node: Node) -> str | None:
    """``tanh(softplus(x))`` is Mish's, ``tanh(sqrt(2 / pi) (x + 0.044715 x^3))`` is GELU's approximation."""
    x = operand(node)
    if made_by(x, "softplus") is not None:
        return "mish"
    found = scalar_factor(x.producer) if x.producer is not None else None
    return "gelu_tanh" if found is not None and abs(found[1] - 0.79788456) < 1e-4 and made_by(found[0], "add") else None


def _product(node: Node) -> str | None:
    """``x * sigmoid(a x)`` and ``x * hard_sigmoid(x)``."""
    for x, gate in either_way(node):
        sigmoid = made_by(gate, "sigmoid")
        if sigmoid is not None and (sigmoid.inputs[0] is x or _multiple_of(operand(sigmoid), x)):
            return "silu"
        if _is_hard_sigmoid_of(gate, x):
            return "hard_swish"
    return None


def _multiple_of(value: Value, x: Value) -> bool:
    found = scalar_factor(value.producer) if value.producer is not None else None
    return found is not None and found[0] is x


def _is_hard_sigmoid_of(gate: Value, x: Value) -> bool:
    """``clip(x / 6 + 0.5, 0, 1)``, or ``clip(x + 3, 0, 6)`` with or without its division by 6."""
    found = scalar_factor(gate.producer) if gate.producer is not None else None
    if found is not None and abs(found[1] - 1 / 6) < 1e-4:
        gate = found[0]
    limits: dict[str, float] = {}
    for _ in range(2):
        node = made_by(gate, "min", "max")
        part = split_uniform(node) if node is not None else None
        if node is None or part is None:
            return False
        limits[node.op] = part[1]
        gate = part[0]
    top = limits.get("min")
    line = made_by(gate, "add")
    if line is None or limits.get("max") != 0 or top not in (1, 6):
        return False
    for inner, constant in either_way(line):
        if is_number(constant, 0.5 * top):
            return inner is x if top == 6 else _multiple_of(inner, x)
    return False


_DETECTORS: dict[str, Callable[[Node], str | None]] = {"erf": _gelu, "tanh": _tanh, "mul": _product}


def label_activations(graph: Graph) -> Counter[str]:
    """Label what is not labelled yet; gives how many of each."""
    found: Counter[str] = Counter()
    for node in graph.nodes:
        detect = _DETECTORS.get(node.op)
        label = detect(node) if detect is not None and "label" not in node.attrs else None
        if label is not None:
            node.attrs["label"] = label
            found[label] += 1
    return found
