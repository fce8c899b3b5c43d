"""How each engine opens a model: runs in that engine's own process, which has done nothing before.

An opener takes the job - ``path`` and ``name`` of the model, ``feeds``, ``threads`` - and is a generator of two steps:
it yields once its imports are done, then yields the :class:`Opened` model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Feeds = Mapping[str, np.ndarray]


@dataclass
class Opened:
    """A loaded model.  ``run`` runs it once on the feeds, waits, and returns the outputs in the file's order.

    ``flops``: operations of one run where the model's own count does not tell; ``facts`` are asked after the first run.
    """

    run: Callable[[], Any]
    facts: Callable[[], dict[str, Any]] = field(default=dict)
    flops: float | None = None


Opening = Iterator[Opened | None]


def a1400_intel(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """a1400 on Intel's OpenCL runtime."""
    yield from _a1400(job, feeds, "intel")


def a1400_pocl(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """a1400 on PoCL."""
    yield from _a1400(job, feeds, "pocl")


def _a1400(job: Mapping[str, Any], feeds: Feeds, platform: str) -> Opening:
    import a1400

    yield None
    model = a1400.load(job["path"], device=_device(platform))

    def facts() -> dict[str, Any]:
        told = model.explain().to_dict()
        return {"launches": told["launches"], "programs": told["programs"]}

    yield Opened(lambda: list(model.run(feeds).values()), facts)


def _device(platform: str) -> str:
    from a1400.backends import registry
    from benchmarks.cpu_parts.engines import is_of

    infos = [i for i in registry.all_backends()["opencl"].devices() if i.kind == "cpu"]
    return next(info.id for info in infos if is_of(_label(info), platform))


def _label(info: Any) -> str:
    return f"{info.name} {info.platform}".lower()


def onnxruntime(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """ONNX Runtime's CPU provider."""
    import onnxruntime

    yield None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(job["path"], options, providers=["CPUExecutionProvider"])
    inputs = dict(feeds)
    yield Opened(lambda: session.run(None, inputs))


def openvino(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """OpenVINO's CPU device, in float32, set for latency."""
    import openvino

    yield None
    core = openvino.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    settings["INFERENCE_NUM_THREADS"] = job["threads"]
    request = core.compile_model(core.read_model(job["path"]), "CPU", settings).create_infer_request()
    inputs = dict(feeds)
    yield Opened(lambda: list(request.infer(inputs, share_inputs=True, share_outputs=True).values()))


def torch_eager(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """PyTorch as it comes."""
    yield from _torch(job, feeds, compiled=False)


def torch_compile(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """``torch.compile`` with its default settings."""
    yield from _torch(job, feeds, compiled=True)


def _torch(job: Mapping[str, Any], feeds: Feeds, compiled: bool) -> Opening:
    import torch

    from benchmarks.zoo import recipe

    torch.set_num_threads(job["threads"])
    network = recipe(job["name"]).network  # made up, not loaded: no part of the start
    yield None
    call: Any = torch.compile(network) if compiled else network
    inputs = [torch.from_numpy(array) for array in feeds.values()]

    def run() -> list[np.ndarray]:
        with torch.inference_mode():
            made = call(*inputs)
        return [t.numpy() for t in (made if isinstance(made, tuple) else (made,))]

    yield Opened(run)


def tinygrad(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """tinygrad's ONNX runner under its TinyJit."""
    from tinygrad import Tensor, TinyJit
    from tinygrad.nn.onnx import OnnxRunner

    yield None
    runner = OnnxRunner(job["path"])

    @TinyJit
    def step(**inputs: Any) -> list[Any]:
        return [out.contiguous().realize() for out in runner(inputs).values()]

    yield Opened(lambda: [out.numpy() for out in step(**{k: Tensor(v).realize() for k, v in feeds.items()})])


def peak(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """The faster one of the loops of multiply-adds on whatever OpenCL CPU device there is, Intel's first."""
    import time

    from a1400.backends import registry
    from benchmarks.common.peak import WIDTHS, loop
    from benchmarks.cpu_parts.engines import is_of

    yield None
    infos = [i for i in registry.all_backends()["opencl"].devices() if i.kind == "cpu"]
    infos.sort(key=lambda info: (not is_of(_label(info), "intel"), not is_of(_label(info), "pocl")))
    device = registry.choose("opencl", infos[0].id)
    best: tuple[float, Callable[[], None], float] | None = None
    for width in WIDTHS:
        run, flops = loop(device, width)
        seconds = []
        for _ in range(5):
            begin = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - begin)
        if best is None or flops / min(seconds) > best[0]:
            best = flops / min(seconds), run, flops
    assert best is not None
    _, chosen, flops = best

    def once() -> list[np.ndarray]:
        chosen()
        return []

    yield Opened(once, flops=flops)
