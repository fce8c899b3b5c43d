"""Convolutions, softmax, layer norm and attention against PyTorch's (cuDNN, its own kernels, flash attention)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from a1400.graph import Graph
from benchmarks.gpu_parts.bench import Bench, Problem, Row, figures, floats, reference

#: size, channels in, channels out, kernel, stride: every kind of convolution of ResNet-50
RESNET50 = (
    (224, 3, 64, 7, 2), (56, 64, 64, 1, 1), (56, 64, 64, 3, 1), (56, 64, 256, 1, 1), (56, 256, 128, 1, 1),
    (56, 128, 128, 3, 2), (28, 128, 128, 3, 1), (28, 128, 512, 1, 1), (28, 256, 256, 3, 2), (14, 256, 256, 3, 1),
    (14, 256, 1024, 1, 1), (14, 512, 512, 3, 2), (7, 512, 512, 3, 1), (7, 512, 2048, 1, 1),
)  # fmt: skip
QUICK_CONVS = ((56, 64, 64, 3, 1), (28, 128, 128, 3, 1), (14, 256, 256, 3, 1), (14, 256, 1024, 1, 1))
#: rows and their length: large enough that no cache holds them
MATRICES = ((65536, 512), (65536, 1024), (32768, 4096), (4096, 32768))
ATTENTION_LENGTHS = (512, 1024, 2048, 4096, 8192)
_TOKENS, _WIDTH = 16384, 2048  # tokens of a batch, and heads times head size


def convolution(bench: Bench, kind: str, batch: int, size: int, c: int, oc: int, k: int, stride: int) -> dict[str, Any]:
    """A padded convolution on channels-last images, weights constant."""
    pad = k // 2
    x, w = bench.random((batch, size, size, c), kind, 1), bench.random((oc, c, k, k), kind, 2)
    attrs = {"strides": (stride,) * 2, "dilations": (1, 1), "low": (pad,) * 2, "high": (pad,) * 2, "groups": 1}

    def build(graph: Graph) -> None:
        graph.output("y", graph.op("conv", graph.input("x", x.shape, x.dtype), graph.constant(w), **attrs))

    peers: dict[str, Callable[[], Any]] = {}
    torch = bench.torch
    if torch is not None:
        torch.backends.cudnn.benchmark = True
        images = bench.tensor(x).permute(0, 3, 1, 2)  # channels-last in memory, as ours
        weights = bench.tensor(w).contiguous(memory_format=torch.channels_last)
        peers["PyTorch"] = lambda: torch.nn.functional.conv2d(images, weights, stride=stride, padding=pad)

    def want() -> Any:
        given = floats(bench, x).permute(0, 3, 1, 2)
        made = torch.nn.functional.conv2d(given, floats(bench, w), stride=stride, padding=pad)
        return made.permute(0, 2, 3, 1).contiguous()

    out = (size + 2 * pad - k) // stride + 1
    values = x.size + w.size + batch * out * out * oc
    return figures(bench, Problem(
        kind, build, {"x": x}, reference(bench, want), peers, flops=2.0 * batch * out * out * oc * c * k * k,
        bytes=float(x.dtype.itemsize) * values,
    ))  # fmt: skip


def conv_rows(bench: Bench) -> Iterator[Row]:
    """ResNet-50's layers at batch 32 and 1."""
    for batch in (32, 1):
        for shape in QUICK_CONVS if bench.quick else RESNET50:
            size, c, oc, k, stride = shape
            for kind in ("fp16", "tf32", "fp32"):
                name = f"{batch} images {size} x {size}, {c} to {oc} channels, {k} x {k}, stride {stride}, {kind}"
                yield name, lambda d=kind, n=batch, s=shape: convolution(bench, d, n, *s)


def softmax(bench: Bench, kind: str, count: int, n: int) -> dict[str, Any]:
    """Softmax of each row."""
    x = bench.random((count, n), kind, 1)

    def build(graph: Graph) -> None:
        graph.output("y", graph.op("softmax", graph.input("x", x.shape, x.dtype), axis=1))

    return _rowwise(bench, kind, x, build, {}, lambda torch, t: torch.softmax(t, 1))


def layer_norm(bench: Bench, kind: str, count: int, n: int) -> dict[str, Any]:
    """Layer normalisation of each row with scale and bias."""
    x, scale, bias = bench.random((count, n), kind, 1), bench.random((n,), kind, 2), bench.random((n,), kind, 3)

    def build(graph: Graph) -> None:
        value = graph.input("x", x.shape, x.dtype)
        graph.output("y", graph.op("layer_norm", value, graph.constant(scale), graph.constant(bias), axis=1, eps=1e-5))

    def theirs(torch: Any, t: Any) -> Any:
        given = {s: bench.tensor(s_array).to(t.dtype) for s, s_array in (("weight", scale), ("bias", bias))}
        return lambda: torch.nn.functional.layer_norm(t, (n,), **given, eps=1e-5)

    return _rowwise(bench, kind, x, build, {}, theirs, made=True)


def _rowwise(
    bench: Bench, kind: str, x: np.ndarray, build: Callable[[Graph], None], feeds: dict[str, np.ndarray],
    theirs: Callable[[Any, Any], Any], made: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """A kernel that reads and writes a matrix once; ``theirs`` computes it, or with ``made`` makes what does."""
    torch = bench.torch

    def call_on(t: Any) -> Callable[[], Any]:
        return theirs(torch, t) if made else lambda: theirs(torch, t)

    peers: dict[str, Callable[[], Any]] = {}
    if torch is not None:
        peers["PyTorch"] = call_on(bench.tensor(x))
    return figures(bench, Problem(
        kind, build, {"x": x, **feeds}, reference(bench, lambda: call_on(floats(bench, x))()), peers,
        bytes=2.0 * x.nbytes, bound="memory", tolerance=1e-5 if kind == "fp32" else None,
    ))  # fmt: skip


def memory_rows(bench: Bench) -> Iterator[Row]:
    """Softmax and layer normalisation."""
    for count, n in MATRICES[1:2] if bench.quick else MATRICES:
        for kind in ("fp16", "fp32"):
            yield f"softmax of {count} rows of {n}, {kind}", lambda d=kind, r=count, n=n: softmax(bench, d, r, n)
            yield f"layer norm of {count} rows of {n}, {kind}", lambda d=kind, r=count, n=n: layer_norm(bench, d, r, n)


def attention(
    bench: Bench, kind: str, length: int, head: int, causal: bool, tokens: int = _TOKENS, width: int = _WIDTH
) -> dict[str, Any]:
    """Scaled dot-product attention of ``[batch, heads, length, head]`` tensors."""
    shape = (max(1, tokens // length), width // head, length, head)
    q, k, v = (bench.random(shape, kind, seed) for seed in (1, 2, 3))

    def build(graph: Graph) -> None:
        given = [graph.input(name, x.shape, x.dtype) for name, x in (("q", q), ("k", k), ("v", v))]
        graph.output("y", graph.op("attention", *given, scale=head**-0.5, causal=causal, causal_offset=0))

    torch = bench.torch
    peers: dict[str, Callable[[], Any]] = {}
    if torch is not None:
        tensors = [bench.tensor(x) for x in (q, k, v)]
        attend = torch.nn.functional.scaled_dot_product_attention
        peers["PyTorch"] = lambda: attend(*tensors, is_causal=causal)

    def want() -> Any:
        """Head by head in float32, so that no score matrix of the whole batch is needed."""
        parts = []
        for image in range(shape[0]):
            one = [floats(bench, x[image : image + 1]) for x in (q, k, v)]
            heads = [_plain_attention(torch, *(t[:, i : i + 1] for t in one), causal) for i in range(shape[1])]
            parts.append(torch.cat(heads, 1))
        return torch.cat(parts)

    flops = 4.0 * shape[0] * shape[1] * length * length * head * (0.5 if causal else 1.0)
    return figures(bench, Problem(
        kind, build, {"q": q, "k": k, "v": v}, reference(bench, want), peers, flops=flops, bytes=4.0 * q.nbytes,
    ))  # fmt: skip


def _plain_attention(torch: Any, q: Any, k: Any, v: Any, causal: bool) -> Any:
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(hidden, float("-inf"))
    return torch.softmax(scores, -1) @ v


def attention_rows(bench: Bench) -> Iterator[Row]:
    """Head sizes 64 and 128, short to long, plain and causal."""
    for length in (4096, 1024) if bench.quick else tuple(reversed(ATTENTION_LENGTHS)):
        for head in (64, 128):
            for causal in (False, True):
                for kind in ("fp16", "bf16"):
                    name = f"length {length}, head {head}, {'causal' if causal else 'full'}, {kind}"
                    yield name, lambda d=kind, s=length, h=head, c=causal: attention(bench, d, s, h, c)
