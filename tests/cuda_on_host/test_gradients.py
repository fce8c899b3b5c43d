"""Gradients of whole graphs through the CUDA sources: their kernels' own cases run in test_specs.py."""

from __future__ import annotations

import pytest

from tests.autodiff.check import Case, check_device
from tests.autodiff.test_gradients import CASES
from tests.cuda_on_host.backend import HostCudaDevice

#: by the kernels that they need: normalisation, gathered rows, attention, sampling, convolution, pooling, recurrence
_NAMES = {
    "layer_norm_residual", "embedding", "attention_grouped_causal", "grid_sample_linear_zeros", "conv_all",
    "pool_max_uneven", "lstm_coupled",
}  # fmt: skip


@pytest.mark.parametrize("case", [case for case in CASES if case.name in _NAMES], ids=str)
def test_gradients(case: Case, host_device: HostCudaDevice) -> None:
    check_device(case, host_device)
