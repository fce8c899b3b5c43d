"""Which device is chosen, and what is said when there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from a1400.backends import registry
from a1400.backends.base import Backend, DeviceInfo
from a1400.errors import BackendNotFoundError

BASE = DeviceInfo(
    "opencl", 0, "AMD EPYC", "v", "Portable Computing Language", "1", "cpu", 1, 1, 1, 1, 1, 128,
    fp16=False, fp64=True, subgroups=False, integer_dot=False, unified_memory=True,
)  # fmt: skip
POCL = BASE
INTEL = replace(BASE, index=1, platform="Intel(R) OpenCL")
LLVMPIPE = replace(BASE, index=2, name="llvmpipe (LLVM 15)", platform="rusticl", kind="gpu")
RADEON = replace(BASE, index=3, name="AMD Radeon RX 7900", platform="AMD APP", kind="gpu")
NVIDIA = replace(BASE, backend="cuda", name="NVIDIA H200", platform="NVIDIA CUDA", kind="gpu")


class Fake(Backend):
    def __init__(self, name: str, found: list[DeviceInfo]) -> None:
        self.name = name
        self.found = found

    def devices(self) -> list[DeviceInfo]:
        return self.found

    def open(self, index: int):
        return next(info for info in self.found if info.index == index)

    def problems(self) -> list[str]:
        return [] if self.found else [f"nothing for {self.name}: pip install {self.name}-thing"]


@pytest.fixture
def machine(monkeypatch):
    for name in ("A1400_BACKEND", "A1400_DEVICE"):
        monkeypatch.delenv(name, raising=False)

    def install(*infos: DeviceInfo) -> None:
        backends = tuple(Fake(name, [i for i in infos if i.backend == name]) for name in ("cuda", "opencl"))
        monkeypatch.setattr(registry, "_instances", lambda: backends)

    return install


@pytest.mark.parametrize(
    ("present", "best", "why"),
    [
        ([POCL, INTEL, LLVMPIPE, RADEON, NVIDIA], NVIDIA, "CUDA GPU"),
        ([POCL, INTEL, LLVMPIPE, RADEON], RADEON, "OpenCL GPU"),
        ([POCL, INTEL, LLVMPIPE], INTEL, "Intel's runtime"),
        ([POCL, LLVMPIPE], POCL, "no Intel runtime"),
        ([LLVMPIPE], LLVMPIPE, "software"),
    ],
)
def test_default(machine, present, best, why):
    machine(*present)
    assert registry.choose() is best
    assert why in registry.why_default()
    assert best.id in registry.why_default()


@pytest.mark.parametrize(
    ("backend", "device", "expected"),
    [
        ("opencl", None, RADEON),
        ("OpenCL", None, RADEON),
        ("cuda", None, NVIDIA),
        (None, "opencl:0", POCL),
        (None, "OPENCL:2", LLVMPIPE),
        ("opencl", 1, INTEL),
        ("opencl", "1", INTEL),
        (None, "radeon", RADEON),
        (None, "portable", POCL),
        (None, "epyc", INTEL),  # ambiguous: the better of the two
        (None, 0, NVIDIA),
    ],
)
def test_named(machine, backend, device, expected):
    machine(POCL, INTEL, LLVMPIPE, RADEON, NVIDIA)
    assert registry.choose(backend, device) is expected


def test_environment(machine, monkeypatch):
    machine(POCL, INTEL, LLVMPIPE, RADEON, NVIDIA)
    monkeypatch.setenv("A1400_BACKEND", "opencl")
    assert registry.choose() is RADEON
    monkeypatch.setenv("A1400_DEVICE", "intel")
    assert registry.choose() is INTEL
    assert "A1400_DEVICE=intel" in registry.why_default()
    assert registry.choose(device="opencl:0") is POCL  # an argument beats the environment
    assert registry.choose(device="cuda:0") is NVIDIA


def test_errors_say_what_is_there(machine):
    machine(POCL)
    with pytest.raises(BackendNotFoundError, match=r"opencl:0 = AMD EPYC.*pip install cuda-thing"):
        registry.choose("cuda")
    with pytest.raises(BackendNotFoundError, match="no device 'radeon'"):
        registry.choose(device="radeon")
    with pytest.raises(BackendNotFoundError, match="cuda, opencl"):
        registry.choose("rocm")
    machine()
    with pytest.raises(BackendNotFoundError, match=r"no devices at all.*pip install opencl-thing"):
        registry.choose()
    assert "no devices at all" in registry.why_default()


def test_real_backends_list_without_raising():
    for backend in registry.all_backends().values():
        assert isinstance(backend.devices(), list)
        assert all(isinstance(text, str) for text in backend.problems())
    assert registry.all_backends()["cuda"] is registry.all_backends()["cuda"]
