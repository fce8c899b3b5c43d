"""ONNX's standard backend interface over a1400: what ``onnx.backend.test.BackendTest`` and other tools drive.

    import onnx, a1400.onnx_backend as backend
    outputs = backend.prepare(onnx.load("model.onnx"), "CPU").run([x])

A device is one of ONNX's names (``CPU``, ``CUDA``, ``CUDA:1``) or one of ours (``opencl:0``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep

from a1400.backends.base import Device, DeviceInfo
from a1400.backends.registry import all_backends, find, list_devices, preference
from a1400.engine.model import Model
from a1400.errors import BackendNotFoundError, InputError
from a1400.frontends.onnx import load_onnx


class A1400Rep(BackendRep):
    """A model made ready for a device; ``model`` is the :class:`a1400.Model`."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Outputs in the model's order.

        ``inputs``: a sequence in the order of the model's inputs that are not initializers (None: an optional that
        holds nothing), a mapping from names, or the one input itself.
        """
        names = list(self.model.inputs)
        if isinstance(inputs, Mapping):
            feeds = dict(inputs)
        else:
            if not isinstance(inputs, (list, tuple)):
                inputs = [inputs]
            if len(inputs) > len(names):
                raise InputError(f"the model takes {len(names)} inputs, {len(inputs)} were given")
            feeds = dict(zip(names, inputs))
        return tuple(self.model.run(feeds).values())

    def launches(self) -> int:
        """Kernels that the latest run launched; 0 before the first."""
        return self.model.launch_count()


class A1400Backend(Backend):
    """The backend as a class, as ONNX's test-suite wants it."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """True when the model can be loaded."""
        from a1400.errors import A1400Error

        try:
            load_onnx(model)
        except A1400Error:
            return False
        return True

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> A1400Rep:
        """Load ``model`` onto ``device``; ``kwargs`` are those of :func:`a1400.load` (``precision``, ``disable`` ...).

        Raises what :func:`a1400.load` raises.
        """
        return A1400Rep(Model(load_onnx(model), _open(device), **kwargs))

    @classmethod
    def run_node(
        cls, node: onnx.NodeProto, inputs: Any, device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype, tuple[int, ...]]] | None = None, **kwargs: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Run one node on arrays; ``opset_version`` says which opset it is of (the newest of its domain)."""
        domain = "" if node.domain == "ai.onnx" else node.domain
        newest = max((s.since_version for s in onnx.defs.get_all_schemas() if s.domain == node.domain), default=1)
        newest = onnx.defs.onnx_opset_version() if not domain else newest
        version = int(kwargs.pop("opset_version", newest))
        names = [name for name in dict.fromkeys(node.input) if name]
        arrays = dict(zip(names, map(np.asarray, inputs)))
        if len(arrays) != len(names) or len(inputs) != len(names):
            raise InputError(f"node {node.op_type} takes {len(names)} inputs, {len(inputs)} were given")
        kinds = {n: onnx.helper.np_dtype_to_tensor_dtype(a.dtype) for n, a in arrays.items()}
        given = [onnx.helper.make_tensor_value_info(n, kinds[n], a.shape) for n, a in arrays.items()]
        made = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], node.op_type, given, made)
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid(domain, version)])
        return cls.prepare(model, device, **kwargs).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """True when such a device is there."""
        try:
            _find(device)
        except BackendNotFoundError:
            return False
        return True


def _find(device: str) -> DeviceInfo:
    kind, _, number = device.partition(":")
    if kind.upper() == "CUDA":
        return find("cuda", number or 0)
    if kind.upper() != "CPU":
        return find(None, device)
    try:
        chosen = find()  # as the environment says, where that is a CPU
    except BackendNotFoundError:
        chosen = None
    if chosen is not None and chosen.kind == "cpu":
        return chosen
    cpus = sorted((info for info in list_devices() if info.kind == "cpu"), key=preference)
    if not cpus:
        raise BackendNotFoundError("there is no OpenCL platform for the CPU: pip install intel-opencl-rt, or PoCL")
    return cpus[0]


def _open(device: str) -> Device:
    info = _find(device)
    return all_backends()[info.backend].open(info.index)


is_compatible = A1400Backend.is_compatible
prepare = A1400Backend.prepare
run_model = A1400Backend.run_model
run_node = A1400Backend.run_node
supports_device = A1400Backend.supports_device
