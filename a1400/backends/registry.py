"""Find devices and choose one."""

from __future__ import annotations

from functools import lru_cache

from a1400 import config
from a1400.backends.base import Backend, Device, DeviceInfo
from a1400.backends.cuda import CUDABackend
from a1400.backends.opencl import OpenCLBackend
from a1400.errors import BackendNotFoundError

# GPUs simulated in software: there to test with, never a good default.
_SOFTWARE = ("llvmpipe", "oclgrind", "softpipe", "swiftshader")


_added: dict[str, Backend] = {}


@lru_cache(maxsize=1)
def _own() -> tuple[Backend, ...]:
    return (CUDABackend(), OpenCLBackend())


def _instances() -> tuple[Backend, ...]:
    own = {backend.name: backend for backend in _own()}
    return tuple({**own, **_added}.values())


def add_backend(backend: Backend) -> None:
    """Enter a further backend; one of the same name is replaced.

    ``backend.name`` is the language that its devices compile: ``opencl`` or ``cuda``.  Call it before anything lists or
    opens devices, as a plugin of ``a1400 verify`` does.
    """
    _added[backend.name] = backend


def all_backends() -> dict[str, Backend]:
    """Every backend by name, in order of preference; the same objects each time."""
    return {backend.name: backend for backend in _instances()}


def list_devices() -> list[DeviceInfo]:
    """Every device of every backend."""
    return [info for backend in _instances() for info in backend.devices()]


def choose(backend: str | None = None, device: str | int | None = None) -> Device:
    """Open a device.

    ``backend`` is ``"cuda"``, ``"opencl"`` or None; ``device`` an index among that backend's devices, an id such as
    ``"opencl:1"``, or part of a device's or platform's name in any case (the first match counts, best first).
    What is None comes from ``A1400_BACKEND`` / ``A1400_DEVICE``, else from :func:`preference`.  Raises
    :class:`~a1400.errors.BackendNotFoundError`, whose message lists what is there and how to get the rest.
    """
    info = find(backend, device)
    return all_backends()[info.backend].open(info.index)


def find(backend: str | None = None, device: str | int | None = None) -> DeviceInfo:
    """Like :func:`choose`, without opening the device."""
    backends = all_backends()
    wanted = str(backend or "").strip().lower() or None
    asked = "" if device is None else str(device).strip()
    if device is None:
        asked = config.device_from_environment() or ""
    if wanted is None:
        prefix = asked.partition(":")[0].lower()
        # An id names its backend, whatever the environment's default is.
        wanted = prefix if ":" in asked and prefix in backends else config.backend_from_environment()
    if wanted is not None and wanted not in backends:
        raise BackendNotFoundError(f"there is no backend {wanted!r}; the backends are {', '.join(backends)}")
    candidates = sorted(list_devices() if wanted is None else backends[wanted].devices(), key=preference)
    matching = [info for info in candidates if _matches(info, asked)]
    if not matching:
        raise BackendNotFoundError(_nothing(wanted, asked))
    return matching[0]


def _matches(info: DeviceInfo, asked: str) -> bool:
    """True if ``asked`` (empty: anything) names this device."""
    text = asked.lower()
    if not text:
        return True
    if text.isdecimal():
        return text.lstrip("0") == str(info.index).lstrip("0")
    return text == info.id or text in info.name.lower() or text in info.platform.lower()


def preference(info: DeviceInfo) -> tuple[int, int]:
    """Sort key, best first: CUDA, OpenCL GPUs, CPUs (Intel's runtime before others), GPUs in software."""
    name = f"{info.name} {info.platform}".lower()
    if any(part in name for part in _SOFTWARE):
        rank = 4
    elif info.backend == "cuda":
        rank = 0
    elif info.kind == "gpu":
        rank = 1
    else:
        rank = 2 if "intel" in info.platform.lower() else 3
    return rank, info.index


def why_default(chosen: DeviceInfo | None = None) -> str:
    """One sentence: which device is used when none is named in a call, and why."""
    if chosen is None:
        try:
            chosen = find()
        except BackendNotFoundError as error:
            return str(error)
    label = f"{chosen.id} ({chosen.name}, {chosen.platform})"
    named = [
        f"{variable}={value}"
        for variable, value in (
            ("A1400_BACKEND", config.backend_from_environment()),
            ("A1400_DEVICE", config.device_from_environment()),
        )
        if value
    ]
    if named:
        return f"{label} is the default because {' and '.join(named)} is set."
    reason = {
        0: "it is a CUDA GPU, and those come first",
        1: "it is an OpenCL GPU and there is no CUDA GPU",
        2: "there is no GPU, and Intel's runtime is the fastest for CPUs",
        3: "there is no GPU and no Intel runtime (`pip install intel-opencl-rt intel-cmplr-lib-rt` adds it)",
        4: "there is nothing but this GPU simulated in software",
    }[preference(chosen)[0]]
    return f"{label} is the default because {reason}."


def _nothing(wanted: str | None, asked: str) -> str:
    """The message when no device matches: what was asked, what is there, how to get the rest."""
    what = f"{wanted} device" if wanted else "device"
    if asked:
        what += f" {asked!r}"
    devices = list_devices()
    there = "; ".join(f"{info.id} = {info.name} ({info.platform}, {info.kind})" for info in devices)
    sentences = [f"there is no {what}", f"Devices here: {there}." if devices else "There are no devices at all."]
    for name, backend in all_backends().items():
        if wanted in (None, name):
            sentences += backend.problems()
    return sentences[0] + ". " + " ".join(sentences[1:])
