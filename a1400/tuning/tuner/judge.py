"""Whether what a setting leaves is right: against the kernel's float64 reference and the default setting's output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from a1400.kernels.accuracy import compare, figures
from a1400.kernels.check import tolerance
from a1400.kernels.launches import HostBuffer, Left, LoadedLaunch
from a1400.kernels.spec import Case, KernelCall
from a1400.verify.reference import widen
from a1400.verify.tracing import TOLERANCE

#: two fillings of the outputs: bytes that keep both are bytes that a kernel leaves alone
POISONS = (0xC3, 0x5A)
#: operations above which a reference in NumPy takes too long
_MOST_FLOPS = 2e10
#: how much further than the default's a setting's error may be where the default's is beyond the kernel's tolerance
_SLACK = 4.0


class Judge:
    """The right answer of one call, from its default setting and its reference."""

    def __init__(self, call: KernelCall, default: LoadedLaunch) -> None:
        self._call = call
        #: why nothing can be judged: the default setting itself is wrong
        self.problem = ""
        first, second = (default.run(poison) for poison in POISONS)
        self._untouched = {
            name: _kept(array, POISONS[0]) & _kept(second.outputs[name], POISONS[1])
            for name, array in first.outputs.items()
        }
        self._default = first.outputs
        self._expected, self.checked = self._reference()
        self._limits = {name: self._limit(name, array) for name, array in first.outputs.items()}
        if finding := "; ".join(f.message for f in (*first.findings, *second.findings)) or self._wrong(second):
            self.problem = self.problem or f"the default setting itself is wrong: {finding}"

    def verdict(self, loaded: LoadedLaunch) -> str:
        """Run twice over different poison; empty, or one sentence about what is wrong."""
        first, second = (loaded.run(poison) for poison in POISONS)
        if findings := (*first.findings, *second.findings):
            return "; ".join(f.message for f in findings)
        for name, array in first.outputs.items():
            kept = _kept(array, POISONS[0]) & _kept(second.outputs[name], POISONS[1])
            if wrong := int((kept != self._untouched[name]).sum()):
                what = "not written" if (kept & ~self._untouched[name]).any() else "written that must be left alone"
                return f"{name}: {wrong} of {array.size} values are {what}"
        return self._wrong(first) or self._wrong(second)

    def _wrong(self, left: Left) -> str:
        for name, array in left.outputs.items():
            written = ~self._untouched[name]
            for expected in (self._expected.get(name), self._default[name]):
                if expected is None:
                    continue
                if message := compare(array[written], expected[written], self._limits[name], False):
                    return f"{name}: {message}"
        return ""

    def _limit(self, name: str, array: np.ndarray) -> tuple[float, float]:
        """(rtol, atol) for an output: the kernel's own, or what the default's error on this data asks for."""
        rtol, atol = tolerance(self._call.spec, self._call.variant, array.dtype)
        expected = self._expected.get(name)
        if expected is None:
            return 2 * rtol, 2 * atol
        written = ~self._untouched[name]
        error, _ = figures(array[written], expected[written])
        coarse = max(TOLERANCE["f32"], 4 * atol)
        if not error <= coarse:
            self.problem = f"the default setting's {name} is {error:.2g} of its scale from the float64 reference"
        return rtol, max(atol, min(_SLACK * error, coarse))

    def _reference(self) -> tuple[dict[str, np.ndarray], str]:
        """Expected outputs in float64, of the shape of the buffers; empty where the reference cannot be had."""
        call = self._call
        if call.spec.flops(call.scalars) > _MOST_FLOPS:
            return {}, "the default setting (too large for the float64 reference)"
        arrays, outputs = {}, {}
        for p in call.spec.params:
            if p.kind != "scalar":
                array = call.buffers[p.name].array
                outputs.update({p.name: (array.shape, p.type)} if p.kind == "out" else {})
                arrays.update({p.name: widen(array)} if p.kind != "out" else {})
        slots = {
            name: (code, tuple((_array(a.buffer), a.offset, a.strides) for a in call.slot_arguments.get(name, ())))
            for name, code in call.slots.items()
        }
        case = Case("tuned", {}, call.scalars, outputs, call.types, slots)
        try:
            found: Mapping[str, Any] = call.spec.reference(arrays, call.scalars, case)
            shaped = {n: np.asarray(v).reshape(self._default[n].shape) for n, v in found.items() if n in self._default}
        except (ValueError, IndexError, KeyError, MemoryError):  # it wants dense buffers, this one is part of another
            return {}, "the default setting (the float64 reference does not take this layout)"
        return shaped, "the float64 reference"


def _array(buffer: HostBuffer | None) -> np.ndarray | None:
    return None if buffer is None else buffer.array


def _kept(array: np.ndarray, poison: int) -> np.ndarray:
    """Where every byte of an element is the poison."""
    raw = np.frombuffer(array.tobytes(), np.uint8).reshape(-1, array.dtype.itemsize)
    return (raw == poison).all(axis=1).reshape(array.shape)
