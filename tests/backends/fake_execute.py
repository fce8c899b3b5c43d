"""Lets :mod:`tests.backends.fake_cupy` run its kernels: each program's text through the executor for hosts."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from a1400.backends.base import DeviceInfo
from tests.backends.fake_cupy import FakeCupy
from tests.backends.fake_driver import Function
from tests.cuda_on_host import backend, compiler


def run_kernels(fake: FakeCupy, info: DeviceInfo) -> None:
    """From now on launches compute; ``info`` describes the device to messages."""

    def execute(function: Function, grid: Any, block: Any, arguments: list[bytes], shared: int) -> None:
        module = compiler.build(function.entry, function.source, function.entry, (), info)
        values = [np.frombuffer(data.ljust(-(-len(data) // 8) * 8, b"\0"), np.uint64).copy() for data in arguments]
        addresses = np.array([v.ctypes.data for v in values] or [0], np.uint64)
        sizes = np.array([len(data) for data in arguments] or [0], np.uint32)
        raw = compiler.Launch(
            arguments=addresses.ctypes.data, sizes=sizes.ctypes.data, count=len(arguments), grid=grid, block=block,
            reverse=0, stacks=backend._stacks(), stack_bytes=backend._STACK,
        )  # fmt: skip
        if shared:
            raw.dynamic_bytes = shared
        with module.lock:
            failed = module.launch(ctypes.byref(raw))
        assert not failed, f"{function.entry}: {raw.message.decode()}"

    fake.machine.execute = execute
