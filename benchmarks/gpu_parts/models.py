"""Whole models against PyTorch (eager and compiled) and ONNX Runtime's CUDA provider, data staying on the GPU.

Times are by the host's clock, from the call to the moment when the results are there.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import a1400
from benchmarks.gpu_parts.bench import Bench, Row, error
from benchmarks.gpu_parts.timing import WallWork, Work, measure, reason

#: name -> architecture in tests/models
NETWORKS = {"ResNet-50": "resnet50", "BERT-base": "bert", "ViT-B/16": "vit", "U-Net": "unet"}
#: largest error of any output relative to its largest value
TOLERANCE = {"fp32": 1e-3, "tf32": 2e-2, "fp16": 3e-2, "bf16": 2e-1}
BATCHES = (1, 32)


def rows(bench: Bench, size: str = "full", batches: tuple[int, ...] = BATCHES) -> Iterator[Row]:
    """Each network at each batch in each precision."""
    try:
        from tests.models.export import export  # noqa: F401 - needs PyTorch and transformers
    except ImportError as missing:
        bench.notes.append(f"models are left out: their files cannot be made here ({missing})")
        return
    for batch in batches:
        for title, name in NETWORKS.items():
            for precision in ("fp16", "fp32") if bench.quick else ("fp16", "tf32", "fp32"):
                row = f"{title}, batch {batch}, {precision}"
                yield row, lambda n=name, b=batch, p=precision: network(bench, n, size, b, p)


def network(bench: Bench, name: str, size: str, batch: int, precision: str) -> dict[str, Any]:
    """One network: a1400's outputs against PyTorch's in true float32, then all engines in turn."""
    from tests.models.export import export, recipe

    path, one = export(name, size)
    feeds = {k: np.concatenate([v] * -(-batch // v.shape[0]))[:batch] for k, v in one.items()}
    row: dict[str, Any] = {"dtype": precision, "batch": batch, "bound": "model", "flops": 0.0, "bytes": 0.0}
    model = a1400.load(path, device=bench.device.info.id, precision=precision)
    outputs = model.run(feeds)
    module = recipe(name, size).network.eval()
    row["tolerance"] = TOLERANCE[precision]
    want = _eager_outputs(bench, module, feeds)
    row["error"] = max(error(got, w) for got, w in zip(outputs.values(), want, strict=True))
    if not row["error"] <= row["tolerance"]:
        row["failure"] = f"wrong answer: error {row['error']:.2e} of the largest value, allowed {row['tolerance']:.0e}"
        return row
    row["launches"] = model.explain().to_dict()["launches"]
    row["hot"] = _hot(model, feeds)
    works, notes = _works(bench, model, module, path, feeds, precision)
    timings, failures = measure(works, 3 * bench.seconds)
    row["seconds"] = {engine: timing.to_dict() for engine, timing in timings.items()}
    row["per_second"] = {engine: batch / timing.median for engine, timing in timings.items()}
    row["not_timed"] = {**notes, **failures}
    if "a1400" in failures:
        row["failure"] = failures["a1400"]
    return row


def _tensors(bench: Bench, feeds: dict[str, np.ndarray]) -> list[Any]:
    import torch

    return [torch.from_numpy(v) if bench.torch is None else bench.tensor(v) for v in feeds.values()]


def _eager_outputs(bench: Bench, module: Any, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """PyTorch's answer in float32: on the GPU where PyTorch sees it, else on the CPU."""
    import torch

    if bench.torch is not None:
        bench.allow_tf32(False)
        module = module.cuda()
    with torch.no_grad():
        made = module(*_tensors(bench, feeds))
    return [t.float().cpu().numpy() for t in (made if isinstance(made, tuple) else (made,))]


def _hot(model: a1400.Model, feeds: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """The kernels that take most of the device's time."""
    seconds: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for name, value in model.time_launches(feeds):
        seconds[name] += value
        counts[name] += 1
    largest = sorted(seconds, key=lambda name: -seconds[name])[:6]
    return [{"kernel": name, "launches": counts[name], "seconds": seconds[name]} for name in largest]


def _works(
    bench: Bench, model: a1400.Model, module: Any, path: Path, feeds: dict[str, np.ndarray], precision: str
) -> tuple[dict[str, Work], dict[str, str]]:
    """Engines that can run this, and why others cannot."""
    works: dict[str, Work] = {"a1400, host arrays": WallWork(lambda: model.run(feeds))}
    notes: dict[str, str] = {}
    torch = bench.torch
    if torch is None:
        works = {"a1400": works["a1400, host arrays"]}
        notes["PyTorch"] = "PyTorch sees no GPU here"
    else:
        on_device = dict(zip(feeds, _tensors(bench, feeds)))
        works = {"a1400": WallWork(lambda: model.run(on_device, outputs="device")), **works}
        bench.allow_tf32(precision == "tf32")
        torch.backends.cudnn.benchmark = True
        stored = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)
        theirs = copy.deepcopy(module).to(stored)
        given = [t.to(stored) if t.is_floating_point() else t for t in on_device.values()]
        if precision != "fp32":  # where cuDNN has tensor cores, it is fastest on channels-last images
            theirs = theirs.to(memory_format=torch.channels_last)
            given = [t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t for t in given]
        works["PyTorch eager"] = WallWork(_synchronized(torch, theirs, given))
        try:
            compiled = torch.compile(copy.deepcopy(theirs), mode="reduce-overhead")
            call = _synchronized(torch, compiled, given)
            call()
            works["torch.compile"] = WallWork(call)
        except Exception as failed:
            notes["torch.compile"] = reason(failed)
    if precision in ("fp32", "tf32"):
        try:
            works["ONNX Runtime CUDA"] = WallWork(_onnxruntime(path, feeds, precision == "tf32"))
        except Exception as failed:
            notes["ONNX Runtime CUDA"] = reason(failed)
    else:
        notes["ONNX Runtime CUDA"] = f"the file is float32; it has no {precision} option"
    return works, notes


def _synchronized(torch: Any, module: Any, inputs: list[Any]) -> Callable[[], Any]:
    def call() -> Any:
        with torch.no_grad():
            made = module(*inputs)
        torch.cuda.synchronize()
        return made

    return call


def _onnxruntime(path: Path, feeds: dict[str, np.ndarray], tf32: bool) -> Callable[[], Any]:
    """A run with inputs and outputs on the GPU; raises where ONNX Runtime cannot."""
    import onnxruntime as ort

    provider = "CUDAExecutionProvider"
    if provider not in ort.get_available_providers():
        raise RuntimeError("ONNX Runtime is installed without its CUDA provider")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=[(provider, {"use_tf32": int(tf32)})])
    if session.get_providers()[0] != provider:
        raise RuntimeError("ONNX Runtime's CUDA provider does not start")
    binding = session.io_binding()
    for name, array in feeds.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array, "cuda", 0))
    for output in session.get_outputs():
        binding.bind_output(output.name, "cuda")

    def call() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return call
