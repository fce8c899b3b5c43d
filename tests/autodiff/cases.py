"""Cases for every op that has a gradient."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from a1400.graph.tensor import Tensor
from a1400.kernels.resize_tables import axis_tables
from a1400.ops.batch_norm import batch_norm_training, channel_statistics, channel_sums
from a1400.ops.cross_entropy import softmax_cross_entropy
from a1400.ops.ctc import ctc_loss
from tests.autodiff.check import Case

CASES: list[Case] = []
_made = itertools.count(1)


def normal(*shape: int, low: float | None = None, high: float | None = None) -> np.ndarray:
    """Normal numbers, or uniform ones between ``low`` and ``high``."""
    rng = np.random.default_rng(next(_made))
    return rng.standard_normal(shape) if low is None or high is None else rng.uniform(low, high, shape)


def case(
    name: str, build: Callable[..., Tensor], *arrays: np.ndarray, torch: Callable[..., Any] | None = None,
    smooth: bool = True,
) -> None:  # fmt: skip
    CASES.append(Case(name, build, arrays, torch, smooth))


def T() -> Any:
    import torch

    return torch


def via(op: str, **attrs: Any) -> Callable[..., Tensor]:
    """The op itself, applied to the inputs in order."""
    return lambda x, *rest: x.op(op, *rest, **dict(attrs))


# ---- elementwise ------------------------------------------------------------------------------------
_UNARY = {
    "neg": (-2, 2), "abs": (-2, 2), "reciprocal": (0.5, 2), "sqrt": (0.5, 3), "rsqrt": (0.5, 3), "exp": (-2, 2),
    "log": (0.3, 3), "tanh": (-2, 2), "sigmoid": (-3, 3), "erf": (-2, 2), "softplus": (-3, 3), "sin": (-3, 3),
    "cos": (-3, 3), "tan": (-1, 1), "asin": (-0.9, 0.9), "acos": (-0.9, 0.9), "atan": (-2, 2), "sinh": (-2, 2),
    "cosh": (-2, 2), "asinh": (-2, 2), "acosh": (1.2, 3), "atanh": (-0.9, 0.9),
}  # fmt: skip
for _name, (_low, _high) in _UNARY.items():
    _theirs = {"neg": "negative", "softplus": "nn.functional.softplus"}.get(_name, _name)

    def _call(x: Any, path: str = _theirs) -> Any:
        found: Any = T()
        for part in path.split("."):
            found = getattr(found, part)
        return found(x)

    case(_name, via(_name), normal(3, 5, low=_low, high=_high), torch=_call)

case("add", via("add"), normal(2, 3, 4), normal(3, 1), torch=lambda x, y: x + y)
case("add_scalar_operand", via("add"), normal(2, 3), normal(), torch=lambda x, y: x + y)
case("sub", via("sub"), normal(3, 1), normal(2, 3, 4), torch=lambda x, y: x - y)
case("mul", via("mul"), normal(4, 1, 5), normal(3, 5), torch=lambda x, y: x * y)
case("mul_itself", lambda x: x * x, normal(4), torch=lambda x: x * x)
case("div", via("div"), normal(4, 3), normal(3, low=0.5, high=2), torch=lambda x, y: x / y)
case("max", via("max"), normal(4, 3), normal(3), torch=lambda x, y: T().maximum(x, y))
case("min", via("min"), normal(4, 3), normal(3), torch=lambda x, y: T().minimum(x, y))
_ties = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
case("max_ties", via("max"), _ties, _ties[::-1].copy(), torch=lambda x, y: T().maximum(x, y), smooth=False)
case("min_ties", via("min"), _ties, _ties[::-1].copy(), torch=lambda x, y: T().minimum(x, y), smooth=False)
case("relu_at_zero", lambda x: x.op("max", 0.0), np.array([-1.0, 2.0]), torch=lambda x: T().relu(x))
case("relu_of_zeros", lambda x: x.op("max", 0.0) + x.op("min", 0.0) * 2.0, np.array([-1.0, 0.0, 2.0]),
     torch=lambda x: x.relu() - (-x).relu() * 2.0, smooth=False)  # fmt: skip
case("mod", via("mod"), normal(6, low=3, high=9), normal(6, low=2, high=2.9), torch=lambda x, y: T().remainder(x, y))
case("fmod", via("fmod"), normal(6, low=-9, high=-3), normal(6, low=2, high=2.9), torch=lambda x, y: T().fmod(x, y))
case("pow", via("pow"), normal(4, 3, low=0.3, high=2), normal(3), torch=lambda x, y: x**y)
case("pow_square_of_negative", lambda x: x**2.0, normal(5, low=-2, high=-0.5), torch=lambda x: x**2)
case("pow_at_zero", lambda x: x**2.0, np.zeros(3), torch=lambda x: x**2)
case("pow_exponent_zero", lambda x: x**0.0, np.array([0.0, 1.5]), torch=lambda x: x**0)
case("atan2", via("atan2"), normal(7), normal(7), torch=lambda x, y: T().atan2(x, y))
_mask = np.array([True, False, True])
case("where", via("where"), _mask, normal(4, 3), normal(3), torch=lambda c, x, y: T().where(c, x, y))
case("cast_and_back", lambda x: x.cast(np.float32).cast(x.dtype) * 2.0, normal(5), smooth=False)
case("stepwise", lambda x: x.op("floor") + x.sign() + 3.0 * x, normal(5), torch=lambda x: x.floor() + x.sign() + 3 * x)
case("comparison", lambda x: (x > 0.5).where(x * x, -x), normal(8), torch=lambda x: T().where(x > 0.5, x * x, -x))

case("stop_gradient", lambda x: x * x.op("stop_gradient"), np.array([0.5, -2.0, 3.0]), torch=lambda x: x * x.detach(),
     smooth=False)  # fmt: skip

# ---- movement ---------------------------------------------------------------------------------------
case("reshape", lambda x: x.reshape((6, 2)) * 2.0, normal(3, 4), torch=lambda x: x.reshape(6, 2) * 2)
case("transpose", lambda x: x.transpose((2, 0, 1)).exp(), normal(2, 3, 4), torch=lambda x: x.permute(2, 0, 1).exp())
case("expand", lambda x: x.expand((4, 3, 5)), normal(3, 1), torch=lambda x: x.expand(4, 3, 5))
case("slice", lambda x: x.slice((1, 2), (2, 3)), normal(4, 6), torch=lambda x: x[1:3, 2:5])
case("slice_steps", lambda x: x.slice((0, 1), (2, 3), (2, 2)), normal(4, 7), torch=lambda x: x[::2, 1:6:2])
case("slice_to_the_end", lambda x: x.slice((1,), (3,), (3,)), normal(8), torch=lambda x: x[1::3])
case("slice_reversed", lambda x: x.slice((5,), (3,), (-2,)), normal(6), torch=lambda x: x[1::2].flip(0))
case("slice_of_one", lambda x: x.slice((2,), (1,), (4,)), normal(5), torch=lambda x: x[2:3])
case("slice_of_none", lambda x: x.slice((2,), (0,)), normal(5), torch=lambda x: x[2:2])
case("pad", lambda x: x.pad((1, 0), (2, 3)), normal(2, 3), torch=lambda x: T().nn.functional.pad(x, (0, 3, 1, 2)))
case(
    "pad_crops", lambda x: x.pad((-1, 1), (0, -2)), normal(3, 4),
    torch=lambda x: T().nn.functional.pad(x, (1, -2, -1, 0)),
)  # fmt: skip
case(
    "pad_value", lambda x, v: x.op("pad", v, low=(1, 2), high=(0, 1), mode="constant"), normal(2, 3), normal(),
)  # fmt: skip
for _mode, _their_mode in (("reflect", "reflect"), ("edge", "replicate"), ("wrap", "circular")):

    def _pad(x: Any, mode: str = _their_mode) -> Any:
        return T().nn.functional.pad(x[None], (2, 1, 1, 2), mode=mode)[0]

    case(
        f"pad_{_mode}", via("pad", low=(0, 1, 2), high=(0, 2, 1), mode=_mode), normal(2, 4, 5), torch=_pad,
    )  # fmt: skip
case("pad_reflect_far", via("pad", low=(7,), high=(9,), mode="reflect"), normal(3))
case("pad_wrap_far", via("pad", low=(7,), high=(9,), mode="wrap"), normal(3))
case(
    "concat", lambda x, y: x.op("concat", y, x, axis=1), normal(2, 3), normal(2, 1),
    torch=lambda x, y: T().cat([x, y, x], 1),
)  # fmt: skip

# ---- products ---------------------------------------------------------------------------------------
for _name, _a, _b in (
    ("matmul", (4, 3), (3, 5)), ("matmul_rows", (2, 4, 3), (3, 5)), ("matmul_batches", (2, 1, 4, 3), (6, 3, 5)),
    ("matmul_vector_left", (3,), (2, 3, 5)), ("matmul_vector_right", (2, 4, 3), (3,)), ("matmul_dot", (3,), (3,)),
    ("matmul_batch_right", (4, 3), (2, 3, 5)),
):  # fmt: skip
    case(_name, via("matmul"), normal(*_a), normal(*_b), torch=lambda x, y: x @ y)

# ---- reductions -------------------------------------------------------------------------------------
_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": lambda x, d: x.sum(d),
    "mean": lambda x, d: x.mean(d),
    "max": lambda x, d: x.amax(d),
    "min": lambda x, d: x.amin(d),
    "l1": lambda x, d: x.abs().sum(d),
    "l2": lambda x, d: x.square().sum(d).sqrt(),
    "sum_square": lambda x, d: x.square().sum(d),
    "logsumexp": lambda x, d: x.logsumexp(d),
}
for _kind, _function in _REDUCTIONS.items():
    case(
        f"reduce_{_kind}", via("reduce", kind=_kind, axes=(0, 2), keepdims=False), normal(2, 3, 4),
        torch=lambda x, f=_function: f(x, (0, 2)),
    )  # fmt: skip
case(
    "reduce_keepdims", via("reduce", kind="mean", axes=(1,), keepdims=True), normal(2, 3),
    torch=lambda x: x.mean(1, True),
)  # fmt: skip
case("reduce_nothing", via("reduce", kind="sum", axes=(), keepdims=False), normal(2, 3), torch=lambda x: x * 1)
case(
    "reduce_log_sum", via("reduce", kind="log_sum", axes=(1,), keepdims=False), normal(3, 4, low=0.2, high=2),
    torch=lambda x: x.sum(1).log(),
)  # fmt: skip
_repeated = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
case(
    "reduce_max_ties", via("reduce", kind="max", axes=(1,), keepdims=False), _repeated, torch=lambda x: x.amax(1),
    smooth=False,
)  # fmt: skip
_zeros = np.array([[1.0, 2.0, 3.0], [0.0, 2.0, 3.0], [0.0, 2.0, 0.0]])
case("reduce_prod", via("reduce", kind="prod", axes=(1,), keepdims=False), _zeros, torch=lambda x: x.prod(1))
case("reduce_l2_of_zeros", via("reduce", kind="l2", axes=(0,), keepdims=False), np.zeros(3), smooth=False)
case("softmax", via("softmax", axis=1), normal(2, 4, 3), torch=lambda x: x.softmax(1))
case("log_softmax", via("log_softmax", axis=-1), normal(3, 5), torch=lambda x: x.log_softmax(-1))
case("softmax_last", via("softmax", axis=-1), normal(3, 19), torch=lambda x: x.softmax(-1))
case("softmax_scaled", lambda x: (x * 0.5).op("softmax", axis=1) * 3.0, normal(3, 5))
for _exclusive, _reverse in itertools.product((False, True), repeat=2):
    _label = ("_exclusive" if _exclusive else "") + ("_reverse" if _reverse else "")

    def _cumulated(x: Any, kind: str, exclusive: bool = _exclusive, reverse: bool = _reverse) -> Any:
        x = x.flip(1) if reverse else x
        if exclusive:
            first = T().full_like(x[:, :1], 1.0 if kind == "prod" else 0.0)
            x = T().cat([first, x[:, :-1]], 1)
        y = x.cumprod(1) if kind == "prod" else x.cumsum(1)
        return y.flip(1) if reverse else y

    for _kind, _array in (("sum", normal(2, 4)), ("prod", _zeros)):
        case(
            f"cumulate_{_kind}{_label}",
            via("cumulate", kind=_kind, axis=1, exclusive=_exclusive, reverse=_reverse), _array,
            torch=lambda x, f=_cumulated, k=_kind: f(x, k),
        )  # fmt: skip
case("topk", via("topk", k=2, axis=1, largest=True, sorted=True), normal(3, 5), torch=lambda x: x.topk(2, 1).values)

# ---- cross-entropy ---------------------------------------------------------------------------------
_classes = np.array([[1, 0, -1], [4, 3, 4]])


def _cross_entropy(x: Any, t: Any) -> Any:
    return T().nn.functional.cross_entropy(x.movedim(-1, 1), t, ignore_index=-1, reduction="none")


def _weighted(x: Tensor, t: Tensor) -> Tensor:
    loss, lse, weight = softmax_cross_entropy(x, t)
    return loss + 0.3 * lse * weight


case("cross_entropy", lambda x, t: softmax_cross_entropy(x, t, ignore=-1)[0], normal(2, 3, 5), _classes,
     torch=_cross_entropy)  # fmt: skip
case("cross_entropy_i32", lambda x, t: softmax_cross_entropy(x, t)[0].sum() * 0.25, normal(4, 19),
     np.array([18, 0, 3, 3], np.int32))  # fmt: skip
case("cross_entropy_dense", lambda x, t: softmax_cross_entropy(x, t)[0], normal(3, 19), normal(3, 19, low=0.1, high=1),
     torch=lambda x, t: T().nn.functional.cross_entropy(x, t, reduction="none"))  # fmt: skip
case("cross_entropy_all_results", _weighted, normal(3, 4), normal(3, 4, low=0.1, high=1))
case("cross_entropy_sparse_results", _weighted, normal(3, 4), np.array([3, 1, 0]))


def _ctc(x: Any, labels: Any, times: Any, lengths: Any) -> Any:
    functional = T().nn.functional
    return functional.ctc_loss(x.log_softmax(-1).movedim(1, 0), labels, times, lengths, blank=2, reduction="none")


# a row with all of its labels, one with a label twice, one of a single path, and one without labels
case("ctc", lambda x, labels, times, lengths: ctc_loss(x, labels, times, lengths, blank=2),
     np.random.default_rng(1).standard_normal((4, 6, 5)), np.array([[1, 0, 3], [4, 4, 1], [0, 0, 1], [9, -1, 9]]),
     np.array([6, 5, 3, 4]), np.array([3, 2, 2, 0]), torch=_ctc)  # fmt: skip

# ---- normalisation ----------------------------------------------------------------------------------
_EPS = 1e-3
case(
    "layer_norm", via("layer_norm", axis=-1, eps=_EPS), normal(3, 6), normal(6), normal(6),
    torch=lambda x, s, b: T().nn.functional.layer_norm(x, (6,), s, b, _EPS),
)  # fmt: skip
case(
    "layer_norm_plain", via("layer_norm", axis=1, eps=_EPS), normal(3, 2, 4),
    torch=lambda x: T().nn.functional.layer_norm(x, (2, 4), None, None, _EPS),
)  # fmt: skip
case("layer_norm_no_scale", lambda x, b: x.op("layer_norm", None, b, axis=-1, eps=_EPS), normal(3, 6), normal(6))
case(
    "rms_norm", via("rms_norm", axis=-1, eps=_EPS), normal(3, 6), normal(6),
    torch=lambda x, s: T().nn.functional.rms_norm(x, (6,), s, _EPS),
)  # fmt: skip
case(
    "group_norm", via("group_norm", groups=2, eps=_EPS), normal(2, 3, 4, 6), normal(6), normal(6),
    torch=lambda x, s, b: T().nn.functional.group_norm(x.permute(0, 3, 1, 2), 2, s, b, _EPS).permute(0, 2, 3, 1),
)  # fmt: skip

case(
    "layer_norm_rows", via("layer_norm", axis=-1, eps=_EPS), normal(9, 21), normal(21), normal(21),
    torch=lambda x, s, b: T().nn.functional.layer_norm(x, (21,), s, b, _EPS),
)  # fmt: skip
case("layer_norm_residual", lambda x, s: x + x.op("layer_norm", s, axis=-1, eps=_EPS) * 0.5, normal(5, 18), normal(18))
case("rms_norm_plain", via("rms_norm", axis=1, eps=_EPS), normal(3, 2, 4))
case("group_norm_plain", via("group_norm", groups=1, eps=_EPS), normal(2, 5, 4))
case("instance_norm", via("group_norm", groups=3, eps=_EPS), normal(2, 5, 3), normal(3), normal(3))


def _batch_norm(x: Any, s: Any, b: Any) -> Any:
    x = x.movedim(-1, 1)
    y = T().nn.functional.batch_norm(x, None, None, s, b, True, 0.1, _EPS).movedim(1, -1)
    d = (0, *range(2, x.ndim))
    return y + 0.3 * x.mean(d) + x.var(d, unbiased=False)


def _our_batch_norm(x: Tensor, s: Tensor, b: Tensor) -> Tensor:
    y, mean, variance = batch_norm_training(x, s, b, _EPS)
    return y + 0.3 * mean + variance


case("batch_norm", _our_batch_norm, normal(3, 2, 4, 17), normal(17), normal(17), torch=_batch_norm)
case("batch_norm_of_rows", lambda x: batch_norm_training(x, epsilon=_EPS)[0].op("max", 0.1), normal(6, 3))
case("channel_variance", lambda x: channel_statistics(x, True)[1], normal(2, 3, 4), torch=lambda x: x.var(1, False))
case("channel_mean", lambda x: channel_statistics(x)[0], normal(2, 3, 4), torch=lambda x: x.mean((0, 1)))
case("channel_sums", lambda x, g, m: channel_sums(x, g, m)[0] * 2.0 + channel_sums(x, g, m)[1], normal(2, 3, 4),
     normal(2, 3, 4), normal(4), torch=lambda x, g, m: (2 * g + g * (x - m)).sum((0, 1)))  # fmt: skip
case("normalize", via("normalize"), normal(2, 3), normal(3), normal(2, 1), normal(),
     torch=lambda x, m, f, s: (x - m) * f + s)  # fmt: skip

# ---- indexing ---------------------------------------------------------------------------------------
_index = np.array([[0, 2], [2, -1]])
case("gather", via("gather", axis=1), normal(2, 4, 3), _index, torch=lambda x, i: x[:, i])
case("gather_first_axis", via("gather", axis=0), normal(5, 3), np.array([1, 1, 4, 1]), torch=lambda x, i: x[i])
case("gather_outside", via("gather", axis=0), normal(4, 3), np.array([9, -9, 3]))
case("gather_elements_outside", via("gather_elements", axis=0), normal(4, 3), np.array([[9, -9, 3]]))
case("embedding", via("gather", axis=0), normal(6, 20), np.array([[4, 1, 4], [-2, 0, 1]]), torch=lambda x, i: x[i])
case("gather_one", via("gather", axis=-1), normal(2, 3), np.array(1), torch=lambda x, i: x[:, i])
case(
    "gather_elements", via("gather_elements", axis=1), normal(2, 4), np.array([[0, 0, 3], [1, 2, 1]]),
    torch=lambda x, i: x.gather(1, i),
)  # fmt: skip
case("gather_nd", via("gather_nd", batch_dims=0), normal(3, 4, 2), np.array([[0, 1], [2, 3], [0, 1]]),
     torch=lambda x, i: x[i[:, 0], i[:, 1]])  # fmt: skip
case("gather_nd_batch", via("gather_nd", batch_dims=1), normal(2, 4, 3), np.array([[[1], [1]], [[3], [0]]]),
     torch=lambda x, i: T().stack([x[n][i[n, :, 0]] for n in range(2)]))  # fmt: skip
_rows = np.array([[1], [3], [1]])
for _kind in ("add", "mul", "max", "min"):
    _their = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}[_kind]
    case(
        f"scatter_elements_{_kind}", via("scatter_elements", axis=0, reduction=_kind), normal(4, 2),
        np.array([[1, 0], [3, 0], [1, 2]]), normal(3, 2),
        torch=lambda x, i, u, r=_their: x.scatter_reduce(0, i, u, r),
    )  # fmt: skip
    case(f"scatter_nd_{_kind}", via("scatter_nd", reduction=_kind), normal(4, 2), _rows, normal(3, 2))
case(
    "scatter_elements", via("scatter_elements", axis=1, reduction="none"), normal(2, 4), np.array([[0, 3], [1, 2]]),
    normal(2, 2), torch=lambda x, i, u: x.scatter(1, i, u),
)  # fmt: skip
case("scatter_nd", via("scatter_nd", reduction="none"), normal(4, 2), np.array([[1], [3]]), normal(2, 2))

# ---- no elements, and axes from behind -----------------------------------------------------------------
_none = np.zeros(0, np.int64)
case("empty_product", via("matmul"), normal(0, 3), normal(3, 2), torch=lambda x, w: x @ w)
case("empty_inner_product", via("matmul"), normal(3, 0), normal(0, 2), torch=lambda x, w: x @ w)
case("empty_sum", lambda x, y: x.sum((0,)) + y, normal(0, 3), normal(3), torch=lambda x, y: x.sum(0) + y)
case("empty_gather", via("gather", axis=0), normal(4, 3), _none, torch=lambda x, i: x[i])
case("empty_scatter", via("scatter_nd", reduction="add"), normal(4, 3), _none.reshape(0, 1), normal(0, 3))
case("empty_part", lambda x, y: x.op("concat", y, axis=-1).exp(), normal(2, 0), normal(2, 3),
     torch=lambda x, y: T().cat([x, y], -1).exp())  # fmt: skip
case("empty_rows", lambda x, s: x.op("layer_norm", s, axis=-1, eps=_EPS).softmax() * 2.0, normal(0, 4), normal(4),
     torch=lambda x, s: T().nn.functional.layer_norm(x, (4,), s, None, _EPS).softmax(-1) * 2)  # fmt: skip
case("reduce_from_behind", via("reduce", kind="max", axes=(-2,), keepdims=True), normal(2, 3, 4),
     torch=lambda x: x.amax(-2, True))  # fmt: skip
case("cumulate_from_behind", via("cumulate", kind="sum", axis=-2, exclusive=False, reverse=False), normal(2, 3, 4),
     torch=lambda x: x.cumsum(-2))  # fmt: skip
case("broadcast_all", lambda x, y, z: (x * y).op("pow", z) + (x > 1.2).where(y, z), normal(2, 1, 3, low=1, high=2),
     normal(4, 1, low=1, high=2), normal(1, low=1, high=2),
     torch=lambda x, y, z: (x * y) ** z + T().where(x > 1.2, y, z))  # fmt: skip

# ---- resampling -------------------------------------------------------------------------------------
def _interpolate(x: Any, **options: Any) -> Any:  # PyTorch has channels first
    return T().nn.functional.interpolate(x.movedim(-1, 1), scale_factor=2, **options).movedim(1, -1)


def _resized(name: str, shape: tuple[int, ...], out: tuple[int, ...], torch: Any = None, **options: Any) -> None:
    tables = [None if n == o else axis_tables(n, o, **options) for n, o in zip(shape[1:-1], out)]
    case(name, via("resize", tables=tables), normal(*shape), torch=torch)


_resized("resize_nearest", (1, 3, 4, 2), (6, 8), _interpolate)
_resized("resize_linear", (2, 3, 4, 2), (6, 8), lambda x: _interpolate(x, mode="bilinear"), mode="linear")
_resized("resize_smaller", (1, 7, 8, 3), (3, 5), mode="linear", antialias=True)
_resized("resize_cubic_one_axis", (1, 5, 4, 1), (9, 4), mode="cubic")
_resized(
    "resize_cropped", (1, 5, 6, 2), (4, 4), mode="linear", coordinate_mode="tf_crop_and_resize", roi=(-0.3, 0.8),
)  # fmt: skip

# ---- together ---------------------------------------------------------------------------------------
case(
    "two_layers", lambda x, w, v: ((x @ w).op("tanh") @ v).sum((1,)), normal(4, 3), normal(3, 5), normal(5, 2),
    torch=lambda x, w, v: ((x @ w).tanh() @ v).sum(1),
)  # fmt: skip
case(
    "gelu", lambda x: x * 0.5 * (1.0 + (x * math.sqrt(0.5)).op("erf")), normal(9),
    torch=lambda x: T().nn.functional.gelu(x),
)  # fmt: skip
case("one_of_two_outputs", lambda x: x.op("topk", k=2, axis=0, largest=False, sorted=True) * x.sum(), normal(5),
     torch=lambda x: x.topk(2, 0, largest=False).values * x.sum())  # fmt: skip

# ---- packed weights -------------------------------------------------------------------------------
_codes = np.random.default_rng(3).integers(0, 256, (5, 2, 2)).astype(np.uint8)  # 5 columns, 2 blocks of 4 weights


def _nbits(x: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    codes = Tensor(x.graph, x.graph.constant(_codes))
    return x.op("matmul_nbits", codes, scales, zeros, bits=4, block=4)


def _of_codes() -> Any:
    """The 4-bit weights of ``_codes``, low bits first."""
    return T().from_numpy(np.stack([_codes & 15, _codes >> 4], -1).reshape(5, 2, 4).astype(np.float64))


case(
    "matmul_nbits", _nbits, normal(2, 4, 6), normal(5, 2), normal(5, 2),
    torch=lambda x, s, z: x @ ((_of_codes() - z[..., None]) * s[..., None]).reshape(5, 8)[:, :6].T,
)  # fmt: skip
