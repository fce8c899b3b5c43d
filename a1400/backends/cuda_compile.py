"""CUDA C++ to a program the driver loads: NVRTC through CuPy's binding, kept in our own cache on disk.

CuPy's own ``RawModule`` always compiles for the plain architecture (``sm_90``), which has no ``wgmma``, and flushes
denormals (``-ftz=true``), which no other backend does.
"""

from __future__ import annotations

from typing import Any

from a1400.backends.base import DeviceInfo
from a1400.backends.compile_log import compile_error
from a1400.backends.program_cache import ProgramCache, digest
from a1400.errors import KernelCompileError

#: architectures with instructions that only code for exactly them may use (``sm_90a``: ``wgmma``, TMA with clusters);
#: such code runs on nothing else, and is never kept for anything else
_SPECIFIC = frozenset({90, 100, 103})


def target(capability: int, supported: list[int]) -> tuple[str, bool] | None:
    """What to compile for: the value of ``-arch``, and whether that gives machine code (else PTX for the driver).

    None where the compiler knows nothing that the device can run.
    """
    if capability in supported:
        return f"sm_{capability}{'a' if capability in _SPECIFIC else ''}", True
    older = [known for known in supported if known < capability]
    return (f"compute_{max(older)}", False) if older else None


class Compiler:
    """Compiles for one device."""

    def __init__(self, nvrtc: Any, info: DeviceInfo) -> None:
        self._nvrtc = nvrtc
        self._info = info
        self._cache = ProgramCache()
        self.version = ".".join(str(part) for part in nvrtc.getVersion())
        found = target(info.capability, [int(a) for a in nvrtc.getSupportedArchs()])
        if found is None:
            raise KernelCompileError(
                f"NVRTC {self.version} does not compile for {info.name} (sm_{info.capability}); "
                'install an older CuPy: `pip install "cupy-cuda12x[ctk]"`'
            )
        self.architecture, self._machine_code = found

    def key(self, source: str, options: tuple[str, ...]) -> bytes:
        """The program's name in the cache."""
        return digest("cuda", self.version, self.architecture, "\0".join(options), source)

    def cached(self, key: bytes) -> bytes | None:
        """The program from the disk cache, or None."""
        return self._cache.load(key)

    def discard(self, key: bytes) -> None:
        """Forget a cached program that the driver refused."""
        self._cache.discard(key)

    def build(self, key: bytes, name: str, source: str, options: tuple[str, ...]) -> bytes:
        """Compile ``source`` and cache it; raises :class:`KernelCompileError` with the offending line."""
        nvrtc = self._nvrtc
        program = nvrtc.createProgram(source, f"{name.replace('/', '_')}.cu", (), ())
        try:
            try:
                nvrtc.compileProgram(program, (f"-arch={self.architecture}", *options))
            except nvrtc.NVRTCError as error:
                log = str(nvrtc.getProgramLog(program)).strip("\0 \n") or str(error)
                raise compile_error(name, self._info, source, log) from error
            made: bytes = nvrtc.getCUBIN(program) if self._machine_code else nvrtc.getPTX(program)
        finally:
            nvrtc.destroyProgram(program)
        self._cache.store(key, made)
        return made
