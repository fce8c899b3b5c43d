"""A process that runs cases: folders come in on stdin, one JSON line goes out for each.

It watches itself: files opened outside the model's folder, processes and connections begun, sources handed to a
compiler, memory taken.  What it cannot see - that it dies or hangs - the runner sees.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.case import MARK, MODEL, pack, unpack

#: bytes that a plan may take, as users set it
PLAN_LIMIT = 128 << 20
#: bytes by which the process may grow over one case: the plan, the host's side of it, its inputs and outputs
GROWTH = 1 << 30
#: address space beyond what the process has when it starts
SPACE = 3 << 30
#: elements of an input that is made up
_MOST_FED = 1 << 20
_FORBIDDEN = {"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "socket.connect", "socket.bind"}
_WRITING = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "shutil.rmtree", "os.link", "os.symlink", "os.chmod"}
_NOT_OURS = ("KernelCompileError", "KernelArgumentError", "DeviceError")  # of the library, but no answer to a model


class Watch:
    """What a case did that no case may do; ``folder`` is the model's, None between cases."""

    def __init__(self, allowed: list[str]) -> None:
        self.folder: str | None = None
        self.found: list[str] = []
        self._allowed = tuple(allowed)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """For ``sys.addaudithook``."""
        if self.folder is None:
            return
        if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if not path.startswith((self.folder + os.sep, *self._allowed)):
                self.found.append(f"opened {path}")
        elif event in _FORBIDDEN:
            self.found.append(f"{event} {arguments!r}"[:200])
        elif event in _WRITING:
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if not path.startswith(self._allowed):
                self.found.append(f"{event} {path}")

    def source(self, text: str) -> None:
        """A program's text on its way to a compiler."""
        if self.folder is not None and MARK in text:
            at = text.index(MARK)
            self.found.append(f"text of the model in a kernel: {text[max(at - 40, 0) : at + 40]!r}")


def main() -> None:
    """Serve cases until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    stack = open(sys.argv[2], "w")  # noqa: SIM115 - for as long as the process lives
    faulthandler.enable(stack)
    faulthandler.register(signal.SIGUSR1, stack)
    import onnx  # noqa: F401

    import a1400
    from a1400.backends.opencl import OpenCLDevice
    from a1400.config import cache_dir

    device = sys.argv[1]
    watch = Watch(_allowed(str(cache_dir())))
    compile_ = OpenCLDevice.compile

    def watched(self: Any, name: str, source: str, *more: Any, **named: Any) -> Any:
        watch.source(source)
        return compile_(self, name, source, *more, **named)

    OpenCLDevice.compile = watched  # type: ignore[method-assign]
    _warm(a1400, device)
    size = _status("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (size + SPACE, size + SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.addaudithook(watch.hook)
    answers.write(json.dumps({"ready": True}) + "\n")
    for line in sys.stdin:
        asked = json.loads(line)
        answers.write(json.dumps(_serve(a1400, device, watch, asked)) + "\n")


def _allowed(cache: str) -> list[str]:
    """Where the interpreter, the library and the drivers keep their own files."""
    root = str(Path(__file__).resolve().parents[2])
    places = [sys.prefix, sys.base_prefix, root, cache, "/proc", "/sys", "/dev", "/lib", "/usr", "/etc/OpenCL"]
    return [os.path.realpath(p) + os.sep for p in dict.fromkeys(places)]


def _warm(a1400: Any, device: str) -> None:
    """Run a model, so that what is done once is done before anything is watched."""
    from tests.fuzz.seeds import plain

    seed = plain()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL
        path.write_bytes(seed.model.SerializeToString())
        a1400.load(path, device=device).run(seed.feeds)


def _status(key: str) -> int:
    """Bytes that /proc/self/status gives."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    return 0


def _serve(a1400: Any, device: str, watch: Watch, asked: dict[str, Any]) -> dict[str, Any]:
    feeds = {name: unpack(array) for name, array in asked["feeds"].items()}
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts afresh
    before = _status("VmRSS")
    watch.found = []
    watch.folder = os.path.realpath(asked["folder"])
    result: dict[str, Any] = {"outcome": "ran", "error": "", "finding": "", "outputs": None}
    try:
        model = a1400.load(Path(asked["folder"]) / MODEL, device=device, memory_limit=PLAN_LIMIT)
        given = _feeds(model, feeds)
        if given is None:
            result["outcome"] = "loaded"  # inputs are too large to make up
        else:
            outputs = model.run(given)
            if asked["answer"]:
                result["outputs"] = [pack(np.asarray(array)) for array in outputs.values()]
            del outputs
        del model, given
    except a1400.A1400Error as error:
        name, text = type(error).__name__, str(error)
        result.update(outcome="refused", error=f"{name}: {text}"[:600])
        if name in _NOT_OURS or "not enough memory" in text:
            result["finding"] = f"{name}: {_where(error)}"
    except BaseException as error:
        text = f"{type(error).__name__}: {_where(error)}"
        result.update(outcome="raised", error=f"{text}: {error}"[:600], finding=text)
    finally:
        watch.folder = None
    grown = _status("VmHWM") - before
    result["grown"] = grown
    if watch.found:
        result["finding"] = watch.found[0]
    elif grown > GROWTH and not result["finding"]:
        result["finding"] = f"{grown >> 20} MiB taken"
    return result


def _where(error: BaseException) -> str:
    """The deepest line of the library that the error passed, through what it came from."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/a1400/" in f.filename]
    if not frames:
        return type(error).__name__
    return f"{frames[-1].filename.rpartition('/a1400/')[2]}:{frames[-1].name}"


def _feeds(model: Any, given: dict[str, np.ndarray]) -> dict[str, Any] | None:
    """Something for every input; None where that is too much."""
    random, symbols, feeds = np.random.default_rng(0), dict[str, int](), dict[str, Any]()
    for name, info in model.inputs.items():
        if info.kind == "tensor" and name in given and _fits(given[name], info):
            feeds[name] = given[name]
            continue
        dims = (2, 3) if info.shape is None else info.shape
        shape = [d if isinstance(d, int) else symbols.setdefault(d or f"?{name}", 2) for d in dims]
        count = 1
        for d in shape:
            count *= max(d, 1)
        if count > _MOST_FED:
            return None
        array = _made_up(random, shape, info.dtype)
        feeds[name] = [array, array] if "sequence" in info.kind else array
    return feeds


def _fits(array: np.ndarray, info: Any) -> bool:
    if array.dtype != info.dtype:
        return False
    return info.shape is None or (
        len(info.shape) == array.ndim and all(d == n or not isinstance(d, int) for d, n in zip(info.shape, array.shape))
    )


def _made_up(random: np.random.Generator, shape: list[int], dtype: Any) -> np.ndarray:
    if dtype == np.dtype(object):
        made = np.empty(shape, object)
        made[...] = f"a {MARK} b"
        return made
    return random.integers(0, 2 if dtype == np.bool_ else 3, shape).astype(dtype)


if __name__ == "__main__":
    main()
