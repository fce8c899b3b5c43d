"""Run one conformance case of a spec on a device and compare with the reference.

Used by the tests, and by anything that must trust a kernel before using it.  Every output starts poisoned
and every buffer is followed by a canary region, so a kernel that writes too little or too much is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from a1400 import dtypes
from a1400.backends.base import BoundLaunch, Buffer, Device, DeviceInfo, Stream
from a1400.kernels.expr import topological
from a1400.kernels.source import program_text
from a1400.kernels.spec import Case, Data, KernelCall, KernelSpec, SlotArgument, Variant, call

CANARY = 256  # bytes behind every buffer
_CANARY_BYTE = 0xA5
_POISON_BYTE = 0xC3


@dataclass
class Finding:
    """What went wrong in one case: ``kind`` is ``values``, ``canary`` or ``input``."""

    kind: str
    message: str


def modes(spec: KernelSpec, case: Case) -> Iterator[bool]:
    """The modes a case runs in: exact (small integers, compared bit for bit) and random."""
    if spec.exact and case.exact:
        yield True
    yield False


def uses_double(case: Case) -> bool:
    """True if the case's buffers or expressions hold doubles (its dtype variables are the variant's business)."""
    double = np.dtype(np.float64)
    codes = [code for code, _ in case.slots.values()]
    return any(o.dtype == double for c in codes for o in c.operands) or any(
        n.dtype == double for c in codes for n in topological([c.expr])
    )


def can_run(spec: KernelSpec, variant: Variant, case: Case, info: DeviceInfo) -> bool:
    """True if the device can run ``case`` in ``variant``."""
    return (
        variant in spec.executable(info, case.types)
        and variant.supports(case.scalars)
        and not set(variant.plain) & set(case.slots)
        and variant.fit(info, case.types, case.scalars) is not None
        and (info.fp64 or not uses_double(case))
    )


def run_case(
    spec: KernelSpec, variant: Variant, case: Case, device: Device, exact: bool,
    tunables: Mapping[str, int] | None = None,
) -> list[Finding]:  # fmt: skip
    """Run ``case`` in one variant on ``device``; an empty list means that it passed."""
    rng = np.random.default_rng(1400)
    inputs = {
        name: data.make(rng, case.types, exact) if isinstance(data, Data) else np.array(data)
        for name, data in case.arrays.items()
    }
    slot_arrays: dict[str, list[tuple[np.ndarray, int, tuple[int, ...]]]] = {}
    for slot_name, (_, operands) in case.slots.items():
        slot_arrays[slot_name] = [
            (_exact_operand(rng, array) if exact else array, offset, strides) for array, offset, strides in operands
        ]
    run = Case(
        case.name, case.arrays, case.scalars, case.outputs, case.types,
        {k: (case.slots[k][0], tuple(v)) for k, v in slot_arrays.items()}, case.exact,
    )  # fmt: skip
    expected = spec.reference({k: _widen(v) for k, v in inputs.items()}, case.scalars, run)

    buffers: dict[str, Buffer] = {}
    outputs: dict[str, np.ndarray] = {}
    stream = device.stream()
    for p in spec.params:
        if p.kind == "scalar":
            continue
        if p.kind == "out":
            shape, kind = case.outputs[p.name]
            dtype = case.types[kind] if kind in case.types else dtypes.from_short(kind)
            array = np.frombuffer(bytearray([_POISON_BYTE]) * (int(np.prod(shape)) * dtype.itemsize), dtype).reshape(
                shape
            )
        else:
            array = inputs[p.name]
        outputs[p.name] = array
        buffers[p.name] = _guarded(device, stream, array)
    slots = {}
    for name, arrays in slot_arrays.items():
        arguments = [SlotArgument(_guarded(device, stream, a), off, st) for a, off, st in arrays]
        slots[name] = (case.slots[name][0], arguments)
    kernel_call = call(spec, variant, case.types, buffers, case.scalars, tunables, slots)
    kernel_call.tunables = variant.fit(device.info, case.types, case.scalars, tunables) or kernel_call.tunables
    bound = bind(kernel_call, device)
    stream.run([bound])
    stream.synchronize()

    findings = []
    for p in spec.params:
        if p.kind == "scalar":
            continue
        original = outputs[p.name]
        raw = np.empty(original.nbytes + CANARY, np.uint8)
        stream.read(buffers[p.name], raw)
        if not (raw[original.nbytes :] == _CANARY_BYTE).all():
            findings.append(Finding("canary", f"{p.name}: written past its end"))
        got = raw[: original.nbytes].view(original.dtype).reshape(original.shape)
        if p.kind == "in":
            if got.tobytes() != original.tobytes():
                findings.append(Finding("input", f"{p.name}: a read-only input was changed"))
        elif message := compare(got, expected[p.name], _tolerance(spec, variant, original.dtype), exact):
            findings.append(Finding("values", f"{p.name}: {message}"))
    return findings


def bind(kernel_call: KernelCall, device: Device) -> BoundLaunch:
    """Compile the call's program on ``device`` and bind its (real) buffers."""
    language = device.info.backend
    text = program_text(kernel_call, language)
    program = device.compile(f"{kernel_call.spec.name}/{kernel_call.variant.name}", text, kernel_call.spec.name)
    groups, group_size = kernel_call.geometry()
    return program.bind(kernel_call.arguments(), groups, group_size, kernel_call.dynamic_bytes)


def compare(got: np.ndarray, expected: np.ndarray, tolerance: tuple[float, float], exact: bool) -> str:
    """Empty if equal (values in exact mode, else within rtol and atol x the reference's scale), else what differs."""
    expected = np.asarray(expected)
    if got.shape != expected.shape:
        return f"shape {got.shape}, expected {expected.shape}"
    if got.size == 0:
        return ""
    wide = np.float64 if dtypes.is_float(got.dtype) else got.dtype
    g, e = got.astype(wide), expected.astype(wide)
    if exact or not dtypes.is_float(got.dtype):
        e = expected.astype(got.dtype).astype(wide)
        bad = ~((g == e) | ((g != g) & (e != e)))
    else:
        rtol, atol = tolerance
        finite = np.abs(e[np.isfinite(e)])
        scale = float(finite.max()) if finite.size else 1.0
        with np.errstate(invalid="ignore"):
            bad = ~((np.abs(g - e) <= rtol * np.abs(e) + atol * scale) | (g == e) | (np.isnan(g) & np.isnan(e)))
    if not bad.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(bad)[0])
    return f"{int(bad.sum())} of {bad.size} values differ, first at {at}: got {got[at]}, expected {expected[at]}"


def _exact_operand(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    return rng.integers(0 if array.dtype == np.bool_ else -3, 4, array.shape).astype(array.dtype)


def _widen(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if dtypes.is_float(array.dtype) else array


def _tolerance(spec: KernelSpec, variant: Variant, dtype: np.dtype) -> tuple[float, float]:
    return (variant.tolerance or spec.tolerance).get(dtypes.short(dtype), (1e-5, 1e-5))


def _guarded(device: Device, stream: Stream, array: np.ndarray) -> Buffer:
    raw = np.full(array.nbytes + CANARY, _CANARY_BYTE, np.uint8)
    raw[: array.nbytes] = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
    buffer = device.alloc(raw.nbytes)
    stream.write(buffer, raw)
    return buffer


def slot_reference(case: Case, slot: str, value: np.ndarray) -> np.ndarray:
    """Apply a case's slot expression to ``value``, whose axes are the slot's coordinates.

    For use in spec references: returns ``value`` unchanged when the case leaves the slot empty.
    """
    from a1400.kernels.expr import evaluate

    if slot not in case.slots:
        return value
    code, operands = case.slots[slot]
    views = [value]
    for array, offset, strides in operands:
        flat = array.reshape(-1)[offset:]
        item = flat.itemsize
        views.append(
            np.lib.stride_tricks.as_strided(flat, value.shape, tuple(s * item for s in strides), writeable=False)
        )
    return evaluate(code.expr, views)
