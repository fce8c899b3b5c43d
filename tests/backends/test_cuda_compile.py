"""The CUDA backend's compiler with the real NVRTC, and its use of CuPy against the CuPy that is installed."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from a1400.backends import cuda
from a1400.backends.cuda_compile import Compiler
from a1400.errors import KernelCompileError
from tests.backends.fake_cupy import FakeCupy
from tests.nvrtc.compiler import nvrtc

# wgmma exists for sm_90a, not for plain sm_90
HOPPER = 'extern "C" __global__ void k(float *x) { asm volatile("wgmma.fence.sync.aligned;"); x[0] = 1; }'
BROKEN = '#line 1 "gemm.cu"\nextern "C" __global__ void k(float *x) {\n  x[0] = wrong;\n}'


@pytest.fixture(autouse=True)
def fresh_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("A1400_CACHE_DIR", str(tmp_path))


def compiler(capability: int) -> Compiler:
    info = replace(cuda.describe(FakeCupy(), 0), extensions=frozenset({f"sm_{capability}"}))
    return Compiler(nvrtc(), info)


def test_code_of_exactly_the_device() -> None:
    hopper = compiler(90)
    key = hopper.key(HOPPER, ())
    assert hopper.cached(key) is None
    code = hopper.build(key, "k", HOPPER, ())
    assert code.startswith(b"\x7fELF") and compiler(90).cached(key) == code
    for other in (80, 100):
        assert compiler(other).key(HOPPER, ()) != key
    with pytest.raises(KernelCompileError, match=r"wgmma.fence.*not supported|not supported.*wgmma|wgmma"):
        compiler(89).build(key, "k", HOPPER, ())


def test_code_for_what_is_newer_than_nvrtc() -> None:
    plain = HOPPER.replace('asm volatile("wgmma.fence.sync.aligned;");', "")
    newer = compiler(999)
    code = newer.build(newer.key(plain, ()), "k", plain, ())
    assert b".target sm_" in code and b".entry k(" in code  # PTX, which the driver compiles


def test_an_error_names_the_line() -> None:
    broken = compiler(80)
    with pytest.raises(KernelCompileError) as caught:
        broken.build(broken.key(BROKEN, ()), "gemm/tensor", BROKEN, ())
    text = str(caught.value)
    assert "kernel 'gemm/tensor' did not compile on NVIDIA H200" in text
    assert 'at gemm.cu line 2: `x[0] = wrong;`' in text and 'identifier "wrong" is undefined' in text


def test_the_look_alike_has_nothing_that_cupy_lacks() -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")

    def compare(fake: Any, real: Any, where: str) -> None:
        for name, value in vars(fake).items():
            if name.startswith("_"):
                continue
            assert hasattr(real, name), f"{where}.{name}"
            if type(value).__name__ == "SimpleNamespace":
                compare(value, getattr(real, name), f"{where}.{name}")

    compare(FakeCupy().cuda, cupy.cuda, "cupy.cuda")
    for method in ("synchronize", "begin_capture", "end_capture", "wait_event", "ptr"):
        assert hasattr(cupy.cuda.Stream, method) or method == "ptr"
    for method in ("launch", "upload"):
        assert hasattr(cupy.cuda.Graph, method)
    for name in ("done", "record", "synchronize"):
        assert hasattr(cupy.cuda.Event, name)
    for pool in (cupy.cuda.MemoryPool, cupy.cuda.PinnedMemoryPool):
        assert hasattr(pool, "malloc") and hasattr(pool, "free_all_blocks")
    assert hasattr(cupy.cuda.MemoryPool, "total_bytes") and hasattr(cupy, "get_default_memory_pool")
    assert hasattr(cupy.cuda.Module, "load") and hasattr(cupy.cuda.Module, "ptr")


@pytest.mark.parametrize(
    ("where", "function", "parameters"),
    [
        ("driver", "launchKernel", "f grid_dim_x grid_dim_y grid_dim_z block_dim_x block_dim_y block_dim_z "
         "shared_mem_bytes stream kernel_params extra"),
        ("driver", "funcSetAttribute", "f attribute value"),
        ("driver", "funcGetAttribute", "attribute f"),
        ("driver", "moduleGetFunction", "module funcname"),
        ("runtime", "memcpyAsync", "dst src size kind stream"),
        ("runtime", "eventRecord", "event stream"),
        ("nvrtc", "createProgram", "src name headers include_names"),
        ("nvrtc", "compileProgram", "prog options"),
    ],
)  # fmt: skip
def test_cupy_takes_what_it_is_given(where: str, function: str, parameters: str) -> None:
    """The binding's own signatures, which Cython writes into the docstrings."""
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    signature = getattr(getattr(cupy.cuda, where), function).__doc__.partition("\n")[0]
    listed = signature[signature.index("(") + 1 : signature.rindex(")")]
    found = [re.split(r"\s", p.partition("=")[0].strip())[-1] for p in listed.split(",")]
    assert found == parameters.split()
