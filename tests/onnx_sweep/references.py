"""Who says what is right: ONNX Runtime, or where it does not run a case ONNX's NumPy reference or the case's own."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx

from tests.onnx_sweep.case import HALVES, Draw, Node, Sweep, model_of

#: how references are called in the table
ORT, ORT_WIDE, ONNX, OWN = "ONNX Runtime", "ONNX Runtime in float32", "onnx.reference", "NumPy"
#: float64 computed in float32, where nobody does better: the answer is held to float32's precision
ORT_NARROW = "ONNX Runtime in float32 (for float64)"


class NoReferenceError(Exception):
    """Nobody answers: the case has to be drawn otherwise."""


@cache
def _options() -> Any:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return options


def _runtime(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), _options(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def _reference(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    from onnx.reference import ReferenceEvaluator

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return [np.asarray(a) for a in ReferenceEvaluator(model).run(None, feeds)]


def expected(declared: Sweep, draw: Draw, node: Node) -> tuple[list[np.ndarray], str]:
    """The outputs, and who computed them."""
    if node.expected is not None:
        return node.expected(), OWN
    types = {np.asarray(a).dtype for a in node.inputs if a is not None}
    how = "wide" if declared.widen and types & set(HALVES) else "narrow" if np.dtype(np.float64) in types else ""
    wide = "" if how == "narrow" else how
    earlier = draw.earlier()
    attempts: list[tuple[str, Callable[..., list[np.ndarray]], str, int]] = [(ORT, _runtime, wide, draw.opset)]
    if earlier:
        attempts.append((ORT, _runtime, wide, earlier))
    attempts.append((ONNX, _reference, wide, draw.opset))
    if how == "narrow":
        attempts += [(ORT, _runtime, "narrow", opset) for opset in (draw.opset, earlier) if opset]
    if node.doubt:  # ONNX Runtime is wrong here
        attempts = [a for a in attempts if a[0] == ONNX]
    elif declared.doubt:  # the NumPy reference is wrong here
        attempts = [a for a in attempts if a[0] == ORT]
    errors = []
    for name, run, how, opset in attempts:
        model, feeds = model_of(declared, draw, node, how, opset)
        try:
            answer = run(model, feeds)
        except Exception as error:
            errors.append(f"{name}-{opset}: {' '.join(str(error).split())[:150]}")
        else:
            return answer, {"wide": ORT_WIDE, "narrow": ORT_NARROW}.get(how, name) if name == ORT else name
    raise NoReferenceError("; ".join(errors))
