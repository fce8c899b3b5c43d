"""Devices that run the CUDA sources on the CPU, and programs compiled ahead of the tests that need them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from a1400.errors import KernelCompileError
from a1400.kernels.check import can_run
from a1400.kernels.source import program_text
from a1400.kernels.spec import KernelSpec, Variant
from tests.cuda_on_host.backend import MODELS, ORDERS, HostCudaBackend, HostCudaDevice
from tests.kernels.coverage import Programs, case_call, takes_all


@pytest.fixture(scope="session")
def host_backend() -> HostCudaBackend:
    """The executor, or a skip that says what it needs."""
    backend = HostCudaBackend()
    if problems := backend.problems():
        pytest.skip("the CUDA sources cannot run on this host: " + " ".join(problems))
    return backend


@pytest.fixture(params=ORDERS, ids=[str(MODELS[i]) for i in ORDERS])
def host_device(request: pytest.FixtureRequest, host_backend: HostCudaBackend) -> HostCudaDevice:
    """The executor as the newest architecture, in either order of threads."""
    return host_backend.open(request.param)


def programs(spec: KernelSpec, variant: Variant, device: HostCudaDevice) -> Iterator[str]:
    """Each distinct program text that the conformance test of a variant needs."""
    chosen, seen = Programs(takes_all(repeats=True)), set[object]()
    for case in spec.cases():
        if not can_run(spec, variant, case, device.info):
            continue
        for tunables in (None, *variant.test_tunables):
            fitted = variant.fit(device.info, case.types, case.scalars, tunables)
            if fitted is None:
                continue
            made = case_call(spec, variant, case, fitted)
            if chosen.takes(made) and made.program_key not in seen:
                seen.add(made.program_key)
                yield program_text(made, "cuda")


@pytest.fixture(scope="session")
def compiled_ahead(request: pytest.FixtureRequest, host_backend: HostCudaBackend) -> Iterator[None]:
    """Compile what the chosen tests of specs need, in their order, on all cores while they run.

    Where several processes share the tests (pytest-xdist), the cores are busy as it is.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        yield
        return
    device = host_backend.open(0)

    def build(name: str, text: str, entry: str) -> None:
        with suppress(KernelCompileError):  # the test that needs it tells
            device.compile(name, text, entry)

    pool = ThreadPoolExecutor(os.cpu_count())
    seen: set[tuple[str, str]] = set()
    for item in request.session.items:
        chosen = getattr(item, "callspec", None)
        if chosen is None or "spec" not in chosen.params or "compiled_ahead" not in getattr(item, "fixturenames", ()):
            continue
        spec, variant = chosen.params["spec"], chosen.params["variant"]
        if (spec.name, variant.name) not in seen:
            seen.add((spec.name, variant.name))
            for text in programs(spec, variant, device):
                pool.submit(build, f"{spec.name}/{variant.name}", text, spec.name)
    yield
    pool.shutdown(cancel_futures=True)
