"""Run one conformance case of a spec on a device and compare with the reference.

Used by the tests, by ``a1400 verify``, and by anything that must trust a kernel before using it.  The launch itself,
with poisoned outputs and canaries, is :mod:`a1400.kernels.launches`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from a1400 import dtypes
from a1400.backends.base import BoundLaunch, Device, DeviceInfo
from a1400.kernels.accuracy import compare, figures
from a1400.kernels.expr import topological
from a1400.kernels.launches import CANARY, Finding, HostBuffer, LaunchData, LoadedLaunch, repeated
from a1400.kernels.source import program_text
from a1400.kernels.spec import Case, Data, KernelCall, KernelSpec, SlotArgument, Variant, call, positions

SEED = 1400


@dataclass(frozen=True)
class Prepared:
    """A case with its data: ``case`` holds the slots' operands as they are used, ``expected`` the float64 answer."""

    spec: KernelSpec
    case: Case
    exact: bool
    inputs: Mapping[str, np.ndarray]
    expected: Mapping[str, np.ndarray]


@dataclass
class Outcome:
    """What a case did: findings, raw outputs, and the largest error of any output.

    ``error`` is relative to the output's largest reference magnitude, ``ulps`` in units in the last place; see
    :func:`a1400.kernels.accuracy.figures`.
    """

    findings: list[Finding] = field(default_factory=list)
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    error: float | None = None
    ulps: float | None = None


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
        n.dtype == double for c in codes for n in topological(c.exprs)
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


def prepare(spec: KernelSpec, case: Case, exact: bool, seed: int = SEED) -> Prepared:
    """Make a case's data (small integers where ``exact``) and its reference answer."""
    rng = np.random.default_rng(seed)
    inputs = {
        name: data.make(rng, case.types, exact) if isinstance(data, Data) else np.array(data)
        for name, data in case.arrays.items()
    }
    slots = {
        name: (code, tuple((_exact_operand(rng, a) if exact else a, off, strides) for a, off, strides in operands))
        for name, (code, operands) in case.slots.items()
    }
    used = Case(case.name, case.arrays, case.scalars, case.outputs, case.types, slots, case.exact)
    expected = spec.reference({k: _widen(v) for k, v in inputs.items()}, case.scalars, used)
    return Prepared(spec, used, exact, inputs, expected)


def launch_data(
    variant: Variant, prepared: Prepared, info: DeviceInfo, tunables: Mapping[str, int] | None = None
) -> LaunchData:
    """The launch that computes a prepared case in ``variant`` on a device such as ``info``; needs no device."""
    spec, case = prepared.spec, prepared.case
    buffers: dict[str, HostBuffer] = {}
    for p in spec.params:
        if p.kind == "out":
            shape, kind = case.outputs[p.name]
            dtype = case.types[kind] if kind in case.types else dtypes.from_short(kind)
            buffers[p.name] = HostBuffer(p.name, "out", np.zeros(shape, dtype))
        elif p.kind != "scalar":
            buffers[p.name] = HostBuffer(p.name, p.kind, prepared.inputs[p.name])
    slots = {}
    for name, (code, operands) in case.slots.items():
        arguments = [
            SlotArgument(None if array is None else HostBuffer(f"{name}_p{k}", "in", array), offset, strides)
            for k, (array, offset, strides) in enumerate(operands)
        ]
        slots[name] = (code, arguments)
    made = call(spec, variant, case.types, buffers, case.scalars, tunables, slots)
    made.tunables = variant.fit(info, case.types, case.scalars, tunables) or made.tunables
    return data_of_call(made, info.backend)


def data_of_call(made: KernelCall, language: str) -> LaunchData:
    """A call whose buffers are :class:`HostBuffer` as data."""
    groups, group_size = made.geometry()
    return LaunchData(
        f"{made.spec.name}/{made.variant.name}", language, made.spec.name, program_text(made, language), groups,
        group_size, made.arguments(), made.dynamic_bytes,
    )  # fmt: skip


def run_prepared(
    variant: Variant, prepared: Prepared, device: Device, tunables: Mapping[str, int] | None = None, runs: int = 1
) -> Outcome:
    """Run a prepared case and judge it: against the reference, or with ``runs`` > 1 against itself, bit for bit."""
    loaded = LoadedLaunch(launch_data(variant, prepared, device.info, tunables), device, CANARY)
    if runs > 1:
        left, findings = repeated(loaded, runs)
        return Outcome(findings, left.outputs)
    left = loaded.run()
    outcome = Outcome(left.findings, left.outputs, 0.0, 0.0)
    for name, got in left.outputs.items():
        expected = prepared.expected[name]
        if message := compare(got, expected, tolerance(prepared.spec, variant, got.dtype), prepared.exact):
            outcome.findings.append(Finding("values", f"{name}: {message}"))
        error, ulps = figures(got, expected)
        outcome.error, outcome.ulps = max(outcome.error or 0.0, error), max(outcome.ulps or 0.0, ulps)
    return outcome


def run_case(
    spec: KernelSpec, variant: Variant, case: Case, device: Device, exact: bool,
    tunables: Mapping[str, int] | None = None,
) -> list[Finding]:  # fmt: skip
    """Run ``case`` in one variant on ``device``; an empty list means that it passed."""
    return run_prepared(variant, prepare(spec, case, exact), device, tunables).findings


def bind(kernel_call: KernelCall, device: Device) -> BoundLaunch:
    """Compile the call's program on ``device`` and bind its (real) buffers."""
    language = device.info.backend
    text = program_text(kernel_call, language)
    program = device.compile(f"{kernel_call.spec.name}/{kernel_call.variant.name}", text, kernel_call.spec.name)
    groups, group_size = kernel_call.geometry()
    return program.bind(kernel_call.arguments(), groups, group_size, kernel_call.dynamic_bytes)


def _exact_operand(rng: np.random.Generator, array: np.ndarray | None) -> np.ndarray | None:
    if array is None:
        return None
    return rng.integers(0 if array.dtype == np.bool_ else -3, 4, array.shape).astype(array.dtype)


def _widen(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if dtypes.is_float(array.dtype) else array


def tolerance(spec: KernelSpec, variant: Variant, dtype: np.dtype) -> tuple[float, float]:
    """(rtol, atol) for an output of ``dtype``: the variant's own, else the spec's."""
    return (variant.tolerance or spec.tolerance).get(dtypes.short(dtype), (1e-5, 1e-5))


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
        if array is None:
            views.append(positions(offset, strides, value.shape).astype(np.uint32))
            continue
        flat = array.reshape(-1)[offset:]
        item = flat.itemsize
        views.append(
            np.lib.stride_tricks.as_strided(flat, value.shape, tuple(s * item for s in strides), writeable=False)
        )
    return evaluate(code.expr, views)
