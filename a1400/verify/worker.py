"""The child's side: one job on one device, told to the parent as lines of JSON.

Drivers print too, so the parent's pipe is kept aside and everything written to stdout goes to stderr.  A message with
``begin`` says what comes next, so that the parent knows what was going on when nothing more comes; ``result`` says what
came of it; ``end`` is last.  ``failed`` says that the whole job cannot be done, in one sentence.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from a1400.backends.base import Device, DeviceInfo
from a1400.errors import A1400Error

Tell = Callable[[dict[str, Any]], None]


def main() -> None:
    """Read a job from stdin, do it, and leave."""
    aside = os.dup(1)
    os.dup2(2, 1)
    channel = os.fdopen(aside, "w", encoding="utf-8", closefd=True)

    def tell(message: dict[str, Any]) -> None:
        channel.write("\n" + json.dumps(message) + "\n")  # a driver may have left half a line behind
        channel.flush()

    threading.Thread(target=_listen, daemon=True).start()
    job = told()
    try:
        load_plugins(job.get("plugins", ()))
        TASKS[job["task"]](job, tell)
    except A1400Error as error:
        tell({"failed": str(error)})
    except MemoryError as error:
        tell({"failed": f"there is not enough memory ({error or 'no memory left'})"})
    tell({"end": True})
    channel.close()


_told: queue.Queue[dict[str, Any]] = queue.Queue()


def told() -> dict[str, Any]:
    """The next message of the parent; waits for it.  The first is the job."""
    return _told.get()


def _listen() -> None:
    """Keep the parent's messages, and end this process when its end of stdin closes, whatever a driver is doing."""
    if sys.platform.startswith("linux"):  # the kernel does it even where a driver keeps Python from running
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    left = b""
    while data := os.read(0, 65536):
        *lines, left = (left + data).split(b"\n")
        for line in lines:
            _told.put(json.loads(line))
    os._exit(1)


def load_plugins(names: list[str]) -> None:
    """Import modules that register kernels or backends; raises :class:`A1400Error` for one that cannot be."""
    if names and "" not in sys.path:
        sys.path.append(os.getcwd())  # last: plugins are found there, and nothing else is taken from there
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            words = " ".join(str(error).split())
            raise A1400Error(f"the plugin {name} cannot be imported: {type(error).__name__}: {words}") from error


def info_to_json(info: DeviceInfo) -> dict[str, Any]:
    """A device's description in JSON's types."""
    return {**asdict(info), "extensions": sorted(info.extensions)}


def info_from_json(data: dict[str, Any]) -> DeviceInfo:
    """The inverse of :func:`info_to_json`."""
    return DeviceInfo(**{**data, "extensions": frozenset(data["extensions"])})


def open_device(job: dict[str, Any]) -> Device:
    """The device that the job names by backend and index."""
    from a1400.backends import registry

    return registry.all_backends()[job["backend"]].open(job["index"])


def _backends(job: dict[str, Any], tell: Tell) -> None:
    from a1400.backends import registry

    tell({"backends": list(registry.all_backends())})


def _devices(job: dict[str, Any], tell: Tell) -> None:
    from a1400.backends import registry

    backend = registry.all_backends()[job["backend"]]
    tell({"devices": [info_to_json(info) for info in backend.devices()]})
    tell({"problems": backend.problems()})


def _kernels(job: dict[str, Any], tell: Tell) -> None:
    from a1400.verify.kernel_checks import run_checks

    run_checks(open_device(job), job, tell)


def _describe(job: dict[str, Any], tell: Tell) -> None:
    from a1400.verify.kernel_checks import describe

    tell({"repro": describe(info_from_json(job["info"]), job)})


def _reference(job: dict[str, Any], tell: Tell) -> None:
    from a1400.verify.model_checks import make_reference

    make_reference(job, tell)


def _model(job: dict[str, Any], tell: Tell) -> None:
    from a1400.verify.model_checks import run_model

    run_model(open_device(job), job, tell)


def _locate(job: dict[str, Any], tell: Tell) -> None:
    from a1400.verify.locate import locate

    locate(open_device(job), job, tell)


def _rerun(job: dict[str, Any], tell: Tell) -> None:
    from a1400.verify.rerun import rerun

    rerun(open_device(job), job, tell)


def _tune(job: dict[str, Any], tell: Tell) -> None:
    from a1400.tuning.tuner.worker import serve

    serve(open_device(job), job, tell, told)


TASKS: dict[str, Callable[[dict[str, Any], Tell], None]] = {
    "backends": _backends,
    "devices": _devices,
    "kernels": _kernels,
    "describe": _describe,
    "reference": _reference,
    "model": _model,
    "locate": _locate,
    "rerun": _rerun,
    "tune": _tune,
}
