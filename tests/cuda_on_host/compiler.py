"""CUDA program text to a shared library that runs it on the CPU, kept on disk by what it was made of."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import subprocess
import tempfile
import threading
from functools import cache
from pathlib import Path

from a1400 import config
from a1400.backends.base import DeviceInfo
from a1400.backends.compile_log import compile_error
from a1400.backends.program_cache import digest
from a1400.errors import KernelCompileError

HERE = Path(__file__).resolve().parent
HEADERS = ("cuda_host.h", *sorted(p.name for p in HERE.glob("cuda_host_*.h")))
SHARED_MEMORY = 48 * 1024  # what a block may declare on every NVIDIA GPU
MOST_DYNAMIC = 228 * 1024  # at least what any device's blocks may ask for by size
MOST_THREADS = 1024
# Integers wrap and floats do not contract, so that results do not depend on the host; barriers are library code.
FLAGS = (
    "-std=c++17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-fno-gnu-unique", "-fwrapv",
    "-fno-strict-aliasing", "-ffp-contract=off", "-Wno-psabi",
)  # fmt: skip

# What the text includes, by a mark in it, and what has cuda_host.h bring that: programs without it compile faster.
_PARTS = (
    ("CUDA_HOST_COOPERATIVE", "-DCUDA_HOST_WITH_TENSOR_CORES"),
    ("CUDA_HOST_HOPPER", "-DCUDA_HOST_WITH_HOPPER"),
)


class Launch(ctypes.Structure):
    """``cuda_host_launch_t`` of ``cuda_host.h``."""

    _fields_ = (
        ("arguments", ctypes.c_void_p),
        ("sizes", ctypes.c_void_p),
        ("count", ctypes.c_uint),
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("reverse", ctypes.c_uint),
        ("stacks", ctypes.c_void_p),
        ("stack_bytes", ctypes.c_ulong),
        ("dynamic", ctypes.c_void_p),
        ("dynamic_bytes", ctypes.c_ulong),
        ("message", ctypes.c_char * 1024),
    )


class Module:
    """A loaded program.  Its shared variables are the library's own, so one launch runs at a time."""

    def __init__(self, path: Path, bound: int) -> None:
        library = ctypes.CDLL(str(path))
        self.launch = library.cuda_host_launch
        self.launch.argtypes = [ctypes.POINTER(Launch)]
        library.cuda_host_shared_bytes.restype = ctypes.c_ulong
        self.shared_bytes = int(library.cuda_host_shared_bytes())
        self.bound = bound
        self.lock = threading.Lock()


def compiler() -> str | None:
    """The C++ compiler; None where there is none."""
    return shutil.which("g++")


@cache
def version() -> str:
    """First line of what the compiler says about itself."""
    command = compiler()
    if command is None:
        return "no g++"
    return subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


@cache
def flags() -> tuple[str, ...]:
    """:data:`FLAGS`, fused multiply-add in hardware where the CPU has it, and what ``A1400_CUDA_HOST_FLAGS`` adds."""
    added = os.environ.get("A1400_CUDA_HOST_FLAGS", "").split()
    with contextlib.suppress(OSError):
        if re.search(r"^flags\s*:.*\bfma\b", Path("/proc/cpuinfo").read_text(), re.M):
            added.insert(0, "-mfma")
    return (*FLAGS, *added)


@cache
def _headers() -> str:
    return "".join((HERE / name).read_text() for name in HEADERS)


_modules: dict[bytes, Module] = {}
_locks: dict[bytes, threading.Lock] = {}
_guard = threading.Lock()


def build(name: str, source: str, entry: str, options: tuple[str, ...], info: DeviceInfo) -> Module:
    """The program's module: loaded already, on disk, or compiled now; one build per program, many in parallel."""
    options = (*options, *(define for mark, define in _PARTS if mark in source))
    key = digest(version(), _headers(), source, entry, *flags(), *options)
    with _guard:
        lock = _locks.setdefault(key, threading.Lock())
    with lock:
        module = _modules.get(key)
        if module is None:
            path = config.cache_dir() / "cuda_on_host" / f"{key.hex()}.so"
            if not path.exists():
                _compile(path, name, source, entry, options, info)
            module = Module(path, launch_bound(source))
            if module.shared_bytes > SHARED_MEMORY:
                raise KernelCompileError(
                    f"kernel {name!r} declares {module.shared_bytes} bytes of shared memory; "
                    f"a block has {SHARED_MEMORY}"
                )
            _modules[key] = module
        return module


def launch_bound(source: str) -> int:
    """The most threads of a block, as the text's ``__launch_bounds__`` says."""
    found = re.search(r"__launch_bounds__\((\d+)", source)
    return min(int(found.group(1)), MOST_THREADS) if found else MOST_THREADS


def _compile(path: Path, name: str, source: str, entry: str, options: tuple[str, ...], info: DeviceInfo) -> None:
    command = compiler()
    if command is None:
        raise KernelCompileError(f"kernel {name!r} cannot be compiled for {info.name}: install g++")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-", suffix=".so")
    os.close(handle)
    text = f"{source}\nCUDA_HOST_PROGRAM({entry})\n"
    line = [command, *flags(), *options, "-x", "c++", "-include", str(HERE / HEADERS[0]), "-o", temporary, "-"]
    try:
        done = subprocess.run(line, input=text, capture_output=True, text=True)
        if done.returncode:
            raise compile_error(name, info, source, done.stderr)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
