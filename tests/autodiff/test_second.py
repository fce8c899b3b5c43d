"""Gradients of gradients, where the first are made of ordinary ops; elsewhere the op that ends the way is named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from a1400.autodiff import gradients
from a1400.errors import GradientError
from a1400.graph import Graph
from a1400.graph.tensor import Tensor
from tests.autodiff.check import Case, check_reference
from tests.autodiff.test_gradients import CASES

_BY_NAME = {case.name: case for case in CASES}
#: one or two of each family
_TWICE = (
    "tanh", "gelu", "pow", "div", "cumulate_prod", "reduce_logsumexp", "reduce_prod", "softmax", "softmax_last",
    "log_softmax", "slice_steps", "pad_reflect", "concat", "matmul_batches", "conv_strides", "conv_groups",
    "conv_transpose_strides", "group_norm", "gather", "gather_nd", "scatter_elements_mul", "resize_linear",
    "two_layers",
)  # fmt: skip
#: a gradient that is a kernel of its own, and the op's name
_ONCE = {
    "layer_norm": "layer_norm_gradient", "rms_norm": "rms_norm_gradient", "attention": "attention_gradient",
    "pool_max_overlapping": "pool_gradient", "grid_sample_linear_zeros": "grid_sample_gradient",
    "lstm": "recurrent_gradient", "roi_align_mean": "roi_align_gradient",
}  # fmt: skip


def _gradient_of(case: Case) -> Callable[..., Tensor]:
    """All gradients of a case's floating inputs, each times a constant, in one sum."""

    def build(*inputs: Tensor) -> Tensor:
        y = case.build(*inputs)
        floating = [x for x in inputs if x.dtype.kind == "f"]
        rng = np.random.default_rng(5)
        seed = Tensor(y.graph, y.graph.constant(rng.standard_normal(y.shape), y.dtype))
        total = y.filled(0.0, ())
        for x, d in zip(floating, gradients(y.graph, y.value, [x.value for x in floating], seed.value)):
            if d is not None:
                factor = Tensor(y.graph, y.graph.constant(rng.standard_normal(x.shape), x.dtype))
                total = total + (Tensor(y.graph, d) * factor).sum()
        return total

    return build


@pytest.mark.parametrize("name", _TWICE)
def test_second_derivative(name: str) -> None:
    case = _BY_NAME[name]
    check_reference(Case(name, _gradient_of(case), case.arrays, None))


@pytest.mark.parametrize("name", _ONCE)
def test_the_op_without_a_second_is_named(name: str) -> None:
    case = _BY_NAME[name]
    graph = Graph("g")
    inputs = [Tensor(graph, graph.input(f"x{i}", a.shape, a.dtype)) for i, a in enumerate(case.arrays)]
    twice = _gradient_of(case)(*inputs)
    with pytest.raises(GradientError, match=_ONCE[name]):
        gradients(graph, twice.value, [inputs[0].value])
