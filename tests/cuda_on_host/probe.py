"""Runs a few lines of CUDA with the kernels' device helpers: what the tests of the emulation look through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from a1400.backends.base import TensorMap
from a1400.kernels import source
from a1400.kernels.source import kernel_root
from tests.cuda_on_host.backend import HostCudaDevice


def program(body: str, arguments: str, defines: Mapping[str, int] | None = None) -> str:
    """The text of a kernel ``probe(arguments)``, behind the prelude and both headers; its first line is line 1."""
    folder = kernel_root() / "kernels_cuda"
    parts = [source._read(folder / name) for name in ("prelude.cuh", "tensor_cores.cuh", "hopper.cuh")]
    parts += [f"#define {name} {value}" for name, value in (defines or {}).items()]
    return "\n".join([*parts, f'extern "C" __global__ void probe({arguments})', '#line 1 "probe.cu"', f"{{{body}}}\n"])


def run(
    device: HostCudaDevice, body: str, inputs: Sequence[np.ndarray], output: np.ndarray, threads: int = 32,
    dynamic: int = 0, maps: Sequence[tuple[int, TensorMap]] = (), defines: Mapping[str, int] | None = None,
) -> np.ndarray:  # fmt: skip
    """What the kernel ``probe(in0, in1, ..., out, map0, ...)``, one block, leaves in ``out``, which starts as given.

    Pointers have the arrays' types; ``maps`` are tensor maps, each over the input of that number (-1: the output).
    """
    names = {"f": "float", "i4": "int", "u4": "uint", "u2": "ushort", "u1": "uchar"}

    def kind(array: np.ndarray) -> str:
        return names.get(array.dtype.str[1:], names.get(array.dtype.kind, ""))

    stream = device.stream()
    buffers = []
    for array in (*inputs, output):
        buffers.append(device.alloc(array.nbytes))
        stream.write(buffers[-1], np.ascontiguousarray(array))
    parameters = [f"const {kind(a)} *in{i}" for i, a in enumerate(inputs)] + [f"{kind(output)} *out"]
    parameters += [f"const __grid_constant__ TensorMap map{i}" for i in range(len(maps))]
    text = program(body, ", ".join(parameters), defines)
    tensors = [replace(m, buffer=buffers[which]) for which, m in maps]
    launch = device.compile("probe", text, "probe").bind([*buffers, *tensors], (1, 1, 1), (threads, 1, 1), dynamic)
    stream.run([launch])
    stream.synchronize()
    result = np.empty_like(output)
    stream.read(buffers[-1], result)
    return result
