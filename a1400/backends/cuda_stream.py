"""CUDA streams, events and recordings (CUDA graphs)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from a1400 import config
from a1400.backends.base import BoundLaunch, Buffer, Event, Stream
from a1400.backends.cuda_launch import device_error
from a1400.errors import A1400Error

if TYPE_CHECKING:
    from a1400.backends.cuda_device import CUDADevice

_HOST_TO_DEVICE, _DEVICE_TO_HOST, _DEVICE_TO_DEVICE = 1, 2, 3  # cudaMemcpyKind


class CUDAEvent(Event):
    """A CUDA event with timing."""

    def __init__(self, stream: CUDAStream, event: Any) -> None:
        self.stream = stream
        self.event = event

    def seconds_since(self, earlier: Event) -> float:
        assert isinstance(earlier, CUDAEvent)
        device = self.stream.device
        try:
            with device.active():
                self.event.synchronize()
                return float(device.cupy.cuda.get_elapsed_time(earlier.event, self.event)) * 1e-3
        except RuntimeError as error:
            raise device_error(error, device.info, "reading a timer") from error


class CUDAStream(Stream):
    """A CUDA stream that does not wait for the legacy default stream, so that contexts run side by side."""

    def __init__(self, device: CUDADevice) -> None:
        self.device = device
        try:
            with device.active():
                self.stream = device.cupy.cuda.Stream(non_blocking=True)
        except RuntimeError as error:
            raise device_error(error, device.info, "making a stream") from error
        self.handle = int(self.stream.ptr)
        self._launch = device.cupy.cuda.driver.launchKernel

    def run(self, launches: Sequence[BoundLaunch]) -> None:
        launch_kernel, handle = self._launch, self.handle
        launch: Any = None
        try:
            with self.device.active():
                for launch in launches:
                    if launch.call is not None:
                        launch_kernel(*launch.call, handle, launch.parameters, 0)
        except RuntimeError as error:
            name = getattr(launch, "name", "?")
            raise device_error(error, self.device.info, f"launching kernel {name!r}") from error

    def time(self, launches: Sequence[BoundLaunch]) -> list[float]:
        marks: list[CUDAEvent] = []
        for launch in launches:
            marks.append(self.record())
            self.run([launch])
            marks.append(self.record())
        self.synchronize()
        return [marks[i + 1].seconds_since(marks[i]) for i in range(0, len(marks), 2)]

    def write(self, buffer: Buffer, array: np.ndarray) -> None:
        self.upload(buffer, array)
        self.synchronize()  # the caller may reuse the array

    def read(self, buffer: Buffer, array: np.ndarray) -> None:
        self.download(buffer, array)
        self.synchronize()

    def upload(self, buffer: Buffer, array: np.ndarray) -> None:
        self._check("writing", buffer, array)
        self._copy(f"writing {array.nbytes:,} bytes", buffer.address, array.ctypes.data, array.nbytes, _HOST_TO_DEVICE)

    def download(self, buffer: Buffer, array: np.ndarray) -> None:
        self._check("reading", buffer, array)
        if not array.flags.writeable:
            raise ValueError("the host array to read into must be writable")
        self._copy(f"reading {array.nbytes:,} bytes", array.ctypes.data, buffer.address, array.nbytes, _DEVICE_TO_HOST)

    def copy(self, target: Buffer, source: Buffer, nbytes: int) -> None:
        if nbytes > min(target.nbytes, source.nbytes):
            raise ValueError(f"{nbytes} bytes do not fit buffers of {source.nbytes} and {target.nbytes} bytes")
        self._copy(f"copying {nbytes:,} bytes", target.address, source.address, nbytes, _DEVICE_TO_DEVICE)

    @staticmethod
    def _check(doing: str, buffer: Buffer, array: np.ndarray) -> None:
        if not array.flags.c_contiguous:
            raise ValueError("the host array must be C-contiguous")
        if array.nbytes > buffer.nbytes:
            raise ValueError(f"{doing} {array.nbytes} bytes does not fit a buffer of {buffer.nbytes} bytes")

    def _copy(self, doing: str, target: int, source: int, nbytes: int, kind: int) -> None:
        if not nbytes:
            return
        try:
            with self.device.active():
                self.device.cupy.cuda.runtime.memcpyAsync(target, source, nbytes, kind, self.handle)
        except RuntimeError as error:
            raise device_error(error, self.device.info, doing) from error

    def record(self) -> CUDAEvent:
        try:
            with self.device.active():
                event = self.device.cupy.cuda.Event()
                event.record(self.stream)
        except RuntimeError as error:
            raise device_error(error, self.device.info, "recording an event") from error
        return CUDAEvent(self, event)

    def wait(self, event: Event) -> None:
        assert isinstance(event, CUDAEvent)
        try:
            with self.device.active():
                self.stream.wait_event(event.event)
        except RuntimeError as error:
            raise device_error(error, self.device.info, "waiting for an event") from error

    def synchronize(self) -> None:
        try:
            with self.device.active():
                self.stream.synchronize()
        except RuntimeError as error:
            raise device_error(error, self.device.info, "waiting for enqueued work") from error

    def capture(self, launches: Sequence[BoundLaunch]) -> Any | None:
        """A CUDA graph of the launches with the arguments they have now; None if it cannot be recorded.

        ``A1400_CUDA_GRAPHS=0`` switches recordings off.
        """
        if not config.cuda_graphs() or all(launch.call is None for launch in launches):  # type: ignore[attr-defined]
            return None
        try:
            with self.device.active():
                # Relaxed, CuPy's default: what other threads allocate or load meanwhile does not break the recording.
                self.stream.begin_capture()
                try:
                    self.run(launches)
                finally:
                    graph = self.stream.end_capture()
                graph.upload(self.stream)
        except (RuntimeError, A1400Error):
            return None  # the launches can always be run one by one
        return graph

    def replay(self, recording: Any) -> None:
        try:
            with self.device.active():
                recording.launch(self.stream)
        except RuntimeError as error:
            raise device_error(error, self.device.info, "replaying a recording") from error
