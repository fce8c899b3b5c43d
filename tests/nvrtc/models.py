"""The distinct CUDA programs that whole models need."""

from __future__ import annotations

from functools import cache

from a1400.engine import lower  # noqa: F401 - registers the handlers
from a1400.engine.lowering import Lowering
from a1400.engine.weight_store import WeightStore
from a1400.frontends.errors import NeedsValue
from a1400.frontends.onnx import load_onnx
from a1400.kernels import load_all
from a1400.kernels.spec import KernelCall
from a1400.optimizer import optimize
from tests.models.export import export
from tests.nvrtc.compiler import device

#: what the programs of whole models are compiled for; bf16's differ from fp16's in the type's name alone
PRECISIONS = ("fp32", "fp16", "tf32")


@cache
def model_calls(name: str, architecture: str, precision: str) -> tuple[KernelCall, ...]:
    """One call for each distinct program that a model of ``tests.models.export`` needs on ``architecture``."""
    load_all()
    path, feeds = export(name)
    source, shapes = load_onnx(path), {n: a.shape for n, a in feeds.items()}
    try:
        graph = source.graph(shapes)
    except NeedsValue as need:
        graph = source.graph(shapes, {n: feeds[n] for n in need.inputs})
    info = device(architecture)
    optimize(graph, info=info, precision=precision)
    lowering = Lowering(graph, info, WeightStore(), frozenset({precision}))
    lowering.run()
    return tuple({x.call.program_key: x.call for x in lowering.launches}.values())
