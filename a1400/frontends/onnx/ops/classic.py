"""``ai.onnx.ml`` by composition: features picked, thresholds."""

from __future__ import annotations

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value

DOMAIN = "ai.onnx.ml"


@translates("ArrayFeatureExtractor", domain=DOMAIN)
def array_feature_extractor(c: Ctx) -> Value:
    """Columns of the last axis."""
    x, index = c[0], c[1]
    if x.rank == 0 or index.size == 0:
        raise GraphError(f"no columns of {list(x.shape)} are picked")
    picked = c.op("gather", x, c.reshape(index, (index.size,)), axis=x.rank - 1)
    return c.reshape(picked, (1, index.size)) if x.rank == 1 else picked


@translates("Binarizer", domain=DOMAIN)
def binarizer(c: Ctx) -> Value:
    """1 above the threshold, else 0."""
    x = c[0]
    above = c.op("gt", x, c.scalar(c.number("threshold", 0.0), x))
    return c.cast(above, x.dtype)
