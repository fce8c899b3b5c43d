"""Lets :mod:`tests.backends.fake_cupy` run its kernels, each program's text through the executor for hosts; and tensors
that take themselves for CUDA tensors of another library."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from a1400.backends import cuda_tensor_map, dlpack
from a1400.backends.base import DeviceInfo, TensorMap
from tests.backends.fake_cupy import FakeCupy
from tests.backends.fake_driver import LEGACY, Function, check
from tests.cuda_on_host import compiler, memory, tensor_map

_SLOT = 128


def run_kernels(fake: FakeCupy, info: DeviceInfo) -> None:
    """From now on launches compute; ``info`` describes the device to messages."""

    def execute(function: Function, grid: Any, block: Any, arguments: list[bytes], shared: int) -> None:
        module = compiler.build(function.entry, function.source, function.entry, (), info)
        raw = np.zeros(_SLOT * (len(arguments) + 1), np.uint8)
        slots = raw[-raw.ctypes.data % _SLOT :][: _SLOT * len(arguments)].reshape(-1, _SLOT)
        for slot, data in zip(slots, arguments, strict=True):
            slot[: len(data)] = np.frombuffer(data, np.uint8)
        addresses = slots.ctypes.data + _SLOT * np.arange(len(arguments), dtype=np.uint64)
        sizes = np.array([len(data) for data in arguments] or [0], np.uint32)
        launch = compiler.Launch(
            arguments=addresses.ctypes.data, sizes=sizes.ctypes.data, count=len(arguments), grid=grid, block=block,
            reverse=0, stacks=memory.stacks(), stack_bytes=memory.STACK, dynamic=memory.dynamic(shared),
            dynamic_bytes=shared,
        )  # fmt: skip
        with module.lock:
            failed = module.launch(ctypes.byref(launch))
        check(not failed, f"{function.entry}: {launch.message.decode()}")

    fake.machine.execute = execute


def encoder(fake: FakeCupy) -> Callable[..., int]:
    """Stands for the driver's ``cuTensorMapEncodeTiled``: reads its arguments as the driver does and writes what the
    executor's copy engine understands."""
    types = {0: np.uint8, 6: np.float16, 7: np.float32, 9: dlpack._DTYPES[4, 16]}

    def encode(
        out: int, kind: int, rank: int, address: int, dims: int, strides: int, box: int, steps: int, interleave: int,
        swizzle: int, promotion: int, outside: int,
    ) -> int:  # fmt: skip
        check(out % 64 == 0, "a tensor map must lie at a multiple of 64")
        check((interleave, outside) == (0, 0) and promotion in (2, 3), "unusual tensor map")
        check(list((ctypes.c_uint32 * rank).from_address(steps)) == [1] * rank, "element strides")
        made = TensorMap(
            None, np.dtype(types[kind]), tuple((ctypes.c_uint64 * rank).from_address(dims)),
            tuple((ctypes.c_uint64 * (rank - 1)).from_address(strides)) if rank > 1 else (),
            tuple((ctypes.c_uint32 * rank).from_address(box)), (0, 32, 64, 128)[swizzle],
        )  # fmt: skip
        reach = made.dims[0] * made.dtype.itemsize + sum(
            (d - 1) * s for d, s in zip(made.dims[1:], made.strides, strict=True)
        )
        check(fake.machine.owner(address, reach) == fake.machine.current, "a tensor map over another device's memory")
        data = tensor_map.encode(made, address, reach, "a kernel")
        check(len(data) == cuda_tensor_map.SIZE, "a tensor map has 128 bytes")
        ctypes.memmove(out, data, len(data))
        return 0

    return encode


class ForeignTensor:
    """A torch tensor of the host that says it lies on a CUDA device, written late on its library's stream.

    ``write`` is what the producer has still to do; it is done when the stream that asks for the tensor gets there.
    """

    def __init__(self, fake: FakeCupy, tensor: Any, device: int, write: Callable[[], Any] | None = None) -> None:
        self.fake, self.tensor, self.number, self.write = fake, tensor, device, write
        self.streams: list[int] = []  # which streams asked for it
        storage = tensor.untyped_storage()
        fake.machine.borrowed[device][storage.data_ptr()] = storage.nbytes()

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA, self.number

    def __dlpack__(self, *, stream: int | None = None, max_version: tuple[int, int] | None = None) -> Any:
        check(stream is not None and stream not in (0, LEGACY), "the consumer's stream must be named")
        assert stream is not None
        self.streams.append(stream)
        if self.write is not None:
            self.fake.machine.stream(stream).enqueue(self.write)
        capsule = self.tensor.__dlpack__()
        dlpack._Managed.from_address(dlpack._pointer(capsule, dlpack._NAME)).tensor.device_type = dlpack.CUDA
        dlpack._Managed.from_address(dlpack._pointer(capsule, dlpack._NAME)).tensor.device_id = self.number
        return capsule
