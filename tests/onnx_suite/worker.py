"""A process that runs cases of ONNX's suite: names come in on stdin, one result as JSON goes out for each.

Started by :mod:`tests.onnx_suite.runner`, so that a case that crashes or hangs is a result and not the end.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import traceback
import unittest
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from a1400.engine.model import Model
from tests.kernels.coverage import features
from tests.onnx_suite.cases import keep_node_cases

CUDA_ON_HOST = "cuda-on-host"


def load_suite(backend: Any) -> dict[str, type[unittest.TestCase]]:
    """ONNX's test classes by name, with the arrays that a fixed seed gives."""
    import onnx.backend.test

    keep_node_cases()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        suite = onnx.backend.test.BackendTest(backend, __name__)
    return suite.test_cases


def devices(wanted: str) -> list[str]:
    """The ids of the devices on each of which a case must pass.

    ``wanted`` is an id, part of a name, empty (the best device), or :data:`CUDA_ON_HOST`: the CUDA sources on the host
    executor, the threads of a block in either order.
    """
    from a1400.backends import registry

    if wanted != CUDA_ON_HOST:
        return [registry.find(None, wanted or None).id]
    from tests.cuda_on_host.backend import ORDERS, HostCudaBackend

    registry.add_backend(HostCudaBackend())
    return [registry.find("cuda", index).id for index in ORDERS]


def main(device: str) -> None:
    """Serve cases on ``device`` (see :func:`devices`) until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what cases print goes elsewhere
    from a1400.onnx_backend import A1400Backend, A1400Rep

    made: list[A1400Rep] = []
    chosen = devices(device)

    class Recorded(A1400Backend):
        on = ""

        @classmethod
        def supports_device(cls, device: str) -> bool:
            return device == "CPU"  # each case once

        @classmethod
        def is_compatible(cls, model: Any, device: str = "CPU", **kwargs: Any) -> bool:
            return True  # the error that follows says why not

        @classmethod
        def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> A1400Rep:
            made.append(A1400Backend.prepare(model, cls.on, **kwargs))
            return made[-1]

    found = load_suite(Recorded)
    cases = {name: cls for cls in found.values() for name in dir(cls) if name.startswith("test_")}
    names = sorted(name.removesuffix("_cpu") for name in cases if name.endswith("_cpu"))
    kind = {cls: cls.__name__.removeprefix("OnnxBackend").removesuffix("ModelTest") for cls in cases.values()}
    kinds = {name: kind[cases[f"{name}_cpu"]] for name in names}
    answers.write(json.dumps({"kinds": kinds, "device": _description(chosen[0])}) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ONNX_MODELS"] = folder  # the ImageNet models' arrays are written there, not into the user's home
        for line in sys.stdin:
            name = line.strip()
            for Recorded.on in chosen:
                made.clear()
                result = _run(cases[f"{name}_cpu"], name, made)
                if result["status"] != "passed":
                    break
            answers.write(json.dumps(result) + "\n")


def _description(device: str) -> str:
    from a1400.backends.registry import find

    info = find(None, device)
    return f"{info.name}, {info.platform} {info.driver}"


def _run(cls: type[unittest.TestCase], name: str, made: list[Any]) -> dict[str, Any]:
    began = time.perf_counter()
    result: dict[str, Any] = {"name": name, "status": "passed", "error": ""}
    try:
        cls(f"{name}_cpu").debug()
    except unittest.SkipTest as skip:
        result.update(status="failed", error=f"skipped: {skip}")
    except Exception as error:
        text = " ".join(str(error).split())
        result.update(status="failed", error=f"{type(error).__name__}: {text}"[:600])
        if os.environ.get("A1400_DEBUG"):
            traceback.print_exc()
    result["seconds"] = round(time.perf_counter() - began, 4)
    result["launches"] = sum(rep.launches() for rep in made)
    result["features"] = sorted({f for rep in made for f in _features(rep.model)})
    return result


def _features(model: Model) -> Iterator[str]:
    """What the programs that the model launches are made of."""
    for entry in model._entries()[0] if model.launch_count() else ():
        for made in {launch.call.program_key: launch.call for launch in entry.plan.launches}.values():
            for feature in features(made):
                yield " ".join(map(str, (made.spec.name, made.variant.name, *feature)))


if __name__ == "__main__":
    main(sys.argv[1])
