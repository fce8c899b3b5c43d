"""Which of a variant's programs a test takes: all, or few that between them bring everything once.

Compiling programs takes most of the time of the kernels' tests.  On some paths a program is worth that time only if it
brings something new - a dtype, a setting, a slot's operand or operation: where another path tests the same text (CUDA's
sources on the host, further architectures of NVRTC), and in variants that the device at hand would never choose.  Every
case (shapes, data) of the programs that are taken runs.

``A1400_TEST_CASES=all``: every program on every path.  ``few``: few on all paths.  Otherwise few on those paths.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from a1400 import dtypes
from a1400.kernels.expr import topological
from a1400.kernels.spec import Case, KernelCall, KernelSpec, SlotArgument, Variant, call

SETTING = "A1400_TEST_CASES"


def takes_all(repeats: bool) -> bool:
    """Whether a path takes every program; ``repeats``: it is one of those that bring little."""
    chosen = os.environ.get(SETTING, "")
    if chosen not in ("", "all", "few"):
        raise ValueError(f"{SETTING} is 'all' or 'few' (or unset), not {chosen!r}")
    return chosen == "all" or (not repeats and chosen != "few")


def case_call(spec: KernelSpec, variant: Variant, case: Case, tunables: dict[str, int] | None) -> KernelCall:
    """The case as a call with stand-ins for its buffers."""
    slots = {
        name: (code, [SlotArgument(None, offset, strides) for _, offset, strides in operands])
        for name, (code, operands) in case.slots.items()
    }
    buffers = {p.name: None for p in spec.params if p.kind != "scalar"}
    return call(spec, variant, case.types, buffers, case.scalars, tunables, slots)


def features(made: KernelCall) -> Iterator[tuple[Any, ...]]:
    """What a program is made of, piece by piece."""
    yield ("in place", made.in_place)
    yield from (("type", name, dtype) for name, dtype in made.types.items())
    yield from (("setting", name, value) for name, value in made.macros.items())
    for slot, code in made.slots.items():
        yield ("results", slot, len(code.exprs))
        yield from (("operand", slot, dtypes.short(o.dtype), o.inner, o.position) for o in code.operands)
        yield from (("operation", slot, node.op) for node in topological(code.exprs))


class Programs:
    """Those that a test has taken so far; ``every``: it takes all."""

    def __init__(self, every: bool) -> None:
        self._every = every
        self._seen: set[tuple[Any, ...]] = set()
        self._taken: dict[tuple[Any, ...], bool] = {}

    def takes(self, made: KernelCall) -> bool:
        """Whether to run this call: its program was taken before, or brings something new."""
        key = made.program_key
        if key not in self._taken:
            found = set(features(made))
            self._taken[key] = self._every or not found <= self._seen
            if self._taken[key]:
                self._seen |= found
        return self._taken[key]


def chosen(calls: Iterable[KernelCall], every: bool) -> Iterator[KernelCall]:
    """The calls whose programs a test takes."""
    programs = Programs(every)
    return (made for made in calls if programs.takes(made))
