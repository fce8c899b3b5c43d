"""The parts of the measurement, and the process that runs one of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from a1400.backends import registry
from a1400.backends.base import Device
from benchmarks.gpu_parts import gemm, kernels, models, suites
from benchmarks.gpu_parts.bench import Bench, Row, each
from benchmarks.gpu_parts.timing import reason

Rows = Callable[[Bench, float], Iterator[Row]]
#: part -> its rows, from the bench and the time (of the epoch) at which all must be over
PARTS: dict[str, Rows] = {
    "tests": suites.cuda_rows,
    "opencl": suites.opencl_rows,
    "ceilings": lambda bench, deadline: gemm.ceilings(bench),
    "gemm": lambda bench, deadline: gemm.rows(bench),
    "conv": lambda bench, deadline: kernels.conv_rows(bench),
    "memory": lambda bench, deadline: kernels.memory_rows(bench),
    "attention": lambda bench, deadline: kernels.attention_rows(bench),
    "models": lambda bench, deadline: models.rows(bench),
    "sanitizer": suites.sanitizer_rows,
}
#: runs only when it is asked for by name: it takes an hour or more
ON_REQUEST = ("sanitizer",)
#: parts whose figures need the ceilings
NEED_CEILINGS = ("gemm", "conv", "memory", "attention")
#: a child's exit status when the device no longer answers: a fresh process may go on with the next row
DEVICE_LOST = 3


class Journal:
    """Lines of JSON that a part's process leaves behind, so that what it measured outlives it."""

    def __init__(self, path: Path, part: str) -> None:
        self._path, self._part = path, part

    def write(self, state: str, row: str = "", **figures: Any) -> None:
        """Append one line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"part": self._part, "state": state, "row": row, **figures}, default=str) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All whole lines of this part."""
        if not self._path.is_file():
            return []
        entries = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # cut short when the process died
                continue
            if entry.get("part") == self._part:
                entries.append(entry)
        return entries

    def finished(self) -> set[str]:
        """Rows that need not run again: done, failed, or begun by a process that died."""
        return {e["row"] for e in self.read() if e["state"] in ("done", "started", "skipped")}


def run(part: str, bench: Bench, journal: Journal, deadline: float, rows: Rows | None = None) -> int:
    """Measure every row of ``part`` that the journal does not have; returns the process's exit status."""
    finished = journal.finished()
    made = each((rows or PARTS[part])(bench, deadline))
    for note in bench.notes:
        journal.write("note", text=note)
    for name, measure in made.items():
        if name in finished:
            continue
        if time.time() >= deadline:
            journal.write("skipped", name)
            continue
        journal.write("started", name)
        begin = time.time()
        try:
            figures = measure()
        except Exception as error:
            figures = {"failure": reason(error)}
        figures.pop("output", None)
        journal.write("done", name, **{"wall": time.time() - begin, **figures})
        if figures.get("failure") and not alive(bench.device):
            return DEVICE_LOST
    journal.write("end")
    return 0


def alive(device: Device) -> bool:
    """Whether the device still takes work: after an invalid access a process never gets anything done again."""
    data = np.arange(16, dtype=np.int32)
    back = np.zeros_like(data)
    try:
        stream = device.stream()
        buffer = device.alloc(data.nbytes)
        stream.write(buffer, data)
        stream.read(buffer, back)
    except Exception:
        return False
    return bool((back == data).all())


def open_bench(device_id: str, seconds: float, quick: bool) -> Bench:
    """The bench on a device of this machine, with the other engines that see a GPU here."""
    backend, _, index = device_id.partition(":")
    device = registry.all_backends()[backend].open(int(index))
    bench = Bench(device, seconds=seconds, quick=quick)
    try:
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_device(int(index))
            bench.torch = torch
        else:
            bench.notes.append("PyTorch is installed but sees no GPU: nothing is compared with it")
    except ImportError:
        bench.notes.append("PyTorch is not installed: nothing is compared with it, and answers are not checked")
    try:
        import cupy

        cupy.cuda.Device(int(index)).use()
        bench.cupy = cupy
    except Exception as error:
        bench.notes.append(f"CuPy does not work ({reason(error)}): no ceilings and no cuBLAS")
    return bench
