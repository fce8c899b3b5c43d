"""ONNX's own test-suite through the CUDA sources, the threads of a block in two orders; few cases, or all of them.

``python -m tests.onnx_suite.report --device cuda-on-host`` runs all of them.
"""

from __future__ import annotations

import pytest

from tests.cuda_on_host.backend import HostCudaBackend
from tests.kernels.coverage import takes_all
from tests.onnx_suite import few
from tests.onnx_suite.test_conformance import CASES, PARTS, REAL, check
from tests.onnx_suite.worker import CUDA_ON_HOST


@pytest.mark.parametrize("part", range(PARTS))
def test_the_suite(host_backend: HostCudaBackend, part: int) -> None:
    names = None if takes_all(repeats=True) else few.read("gpu")
    check(CUDA_ON_HOST, part, names, CASES - REAL if names is None else len(names), real=False)
