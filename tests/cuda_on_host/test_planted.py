"""Planted mistakes in tiled kernels are found: each barrier in turn is taken out, and some order of threads tells.

Here are kernels each of whose barriers every launch needs; one that runs a reduction once has a last one to spare.
"""

from __future__ import annotations

import re

import pytest

from a1400.errors import A1400Error
from a1400.kernels import check, load_all, source
from a1400.kernels.check import can_run
from a1400.kernels.spec import KernelCall
from tests.cuda_on_host.backend import ORDERS, HostCudaBackend

TILED = [
    ("gemm", "gpu"), ("gemm", "tensor_t"), ("gemm", "tensor_any"), ("gemm", "hopper_n"), ("conv", "gpu"),
    ("conv", "tensor"), ("conv", "tensor_1"), ("conv", "hopper"), ("conv_transpose", "tensor"),
    ("transpose", "gpu"), ("attention", "gpu_d64"), ("cumsum", "team"),
]  # fmt: skip
#: kernels whose warps wait for each other, and for the copy engine, at memory barriers
PIPELINED = [("gemm", "hopper_n"), ("conv", "hopper"), ("attention", "hopper_d64")]


def without_barrier(text: str, which: int, pattern: str) -> str:
    """The program with one barrier of its source file, as found by ``pattern``, removed."""
    head, mark, body = text.rpartition("\n#line 1 ")
    places = [m.span() for m in re.finditer(pattern, body)]
    start, end = places[which]
    return head + mark + body[:start] + body[end:]


def findings(backend: HostCudaBackend, name: str, variant_name: str) -> list[str]:
    """What the spec's cases report on the executor, until the first case that reports anything."""
    spec = load_all()[name]
    variant = spec.variant(variant_name)
    for case in spec.cases():
        for index in ORDERS:
            device = backend.open(index)
            if not can_run(spec, variant, case, device.info):
                continue
            try:
                found = check.run_case(spec, variant, case, device, exact=spec.exact and case.exact)
            except A1400Error as error:
                return [f"{case.name}: {error}"]
            if found:
                return [f"{case.name}: {f.kind}: {f.message}" for f in found]
    return []


@pytest.mark.parametrize(("name", "variant"), TILED, ids=[f"{n}-{v}" for n, v in TILED])
def test_each_removed_barrier_is_found(
    name: str, variant: str, host_backend: HostCudaBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    _check_that_each_is_found(name, variant, r"local_barrier\(\);", host_backend, monkeypatch)


@pytest.mark.parametrize(("name", "variant"), PIPELINED, ids=[f"{n}-{v}" for n, v in PIPELINED])
def test_each_removed_wait_is_found(
    name: str, variant: str, host_backend: HostCudaBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    _check_that_each_is_found(name, variant, r"mbarrier_wait\([^;]*\);", host_backend, monkeypatch)


def _check_that_each_is_found(
    name: str, variant: str, pattern: str, backend: HostCudaBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_all()[name]
    own = source.source_text(spec, spec.variant(variant), "cuda").rpartition("\n#line 1 ")[2]
    count = len(re.findall(pattern, own))
    assert count
    missed = []
    for which in range(count):

        def tampered(call: KernelCall, language: str, which: int = which) -> str:
            return without_barrier(source.program_text(call, language), which, pattern)

        monkeypatch.setattr(check, "program_text", tampered)
        found = findings(backend, name, variant)
        print(f"{name}/{variant} without barrier {which}: {found[:1]}")
        if not found:
            missed.append(which)
    assert not missed, f"{name}/{variant} passes without its barriers {missed} of {count}"
