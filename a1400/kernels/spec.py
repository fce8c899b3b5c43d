"""KernelSpec: the contract that the OpenCL and the CUDA source of a kernel both implement.

A spec says what a kernel is called, which arguments it takes and in which order, which tunables it has,
what a device must have to run each variant, how many work-groups a launch needs, and what the right answer is.
Argument checks, program prologues, conformance tests, tuning and profiling are derived from it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo, Grid, TensorMap
from a1400.errors import KernelArgumentError
from a1400.kernels.expr import Expr

SCALAR_TYPES: dict[str, type[Any]] = {
    "int": np.int32,
    "uint": np.uint32,
    "long": np.int64,
    "float": np.float32,
    "double": np.float64,
}
Scalars = Mapping[str, int | float]
Tunables = Mapping[str, int]
TensorMapRule = Callable[[Mapping[str, np.dtype], Scalars, Tunables], TensorMap]


@dataclass(frozen=True)
class Param:
    """One kernel parameter.

    ``kind``: ``in`` (read), ``out`` (written), ``inout``, or ``scalar``.  ``type`` is a dtype variable of
    the spec (``T``) or a short dtype name (``i64``) for buffers, a C scalar type for scalars.
    """

    kind: str
    name: str
    type: str


def params(text: str) -> tuple[Param, ...]:
    """Parse a parameter list, one per line: ``in x: T``, ``out y: T``, ``int n``, ``float eps``."""
    result = []
    for line in filter(None, (part.split("#")[0].strip() for part in text.splitlines())):
        head, _, kind = line.partition(":")
        words = head.split()
        if len(words) != 2:
            raise ValueError(f"cannot read parameter {line!r}")
        if words[0] in ("in", "out", "inout"):
            result.append(Param(words[0], words[1], kind.strip()))
        elif words[0] in SCALAR_TYPES:
            result.append(Param("scalar", words[1], words[0]))
        else:
            raise ValueError(f"unknown parameter kind in {line!r}")
    return tuple(result)


@dataclass(frozen=True)
class Slot:
    """A place in a kernel where an expression tree is evaluated (a prologue or an epilogue).

    The source calls ``NAME(v, c0, c1, ...)`` with the value at hand and its coordinates ``coords`` (C ints);
    the macro's value replaces it.  Without an expression it is the identity.  Variants with
    ``vector_width`` W also get ``NAME_V(v, c0, ...)`` on W consecutive positions of the last coordinate (all
    W must be inside the operands).  ``input`` names the dtype of the value handed in: its register type.
    ``count(scalars)`` is how often a launch evaluates it, for the roofline.

    A slot with several results names in ``more`` the dtype variables of all but the first: the macro takes so many
    variables of their register types behind the coordinates, and sets them.
    """

    name: str
    coords: tuple[str, ...]
    input: str
    doc: str = ""
    count: Callable[[Scalars], float] = lambda s: 0.0
    more: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operand:
    """An extra buffer that a slot's expression reads at the slot's coordinates.

    ``inner`` is the stride class along the last coordinate: 0 the same element for all, 1 consecutive, 2 any.
    A ``position`` has no buffer: its element number k (offset and strides applied) is k itself, as uint32.
    """

    dtype: np.dtype
    inner: int
    position: bool = False


def positions(offset: int, strides: Sequence[int], sizes: Sequence[int]) -> np.ndarray:
    """Numbers of the elements that an operand reads at the coordinates of ``sizes`` (int64)."""
    index = np.full(tuple(sizes), offset, np.int64)
    for d, n in enumerate(sizes):
        index += (np.arange(n) * strides[d]).reshape([-1 if k == d else 1 for k in range(len(sizes))])
    return index


@dataclass(frozen=True)
class SlotCode:
    """What fills a slot: operand 0 of ``expr`` is the kernel's value, operand ``1 + i`` is ``operands[i]``.

    ``more`` are the further results of a slot that has several, over the same operands.
    """

    expr: Expr
    operands: tuple[Operand, ...] = ()
    more: tuple[Expr, ...] = ()

    @property
    def exprs(self) -> tuple[Expr, ...]:
        """All results."""
        return (self.expr, *self.more)

    @property
    def key(self) -> str:
        """Canonical text: equal keys generate equal program text."""
        operands = (f"{dtypes.short(o.dtype)}:{o.inner}{'#' if o.position else ''}" for o in self.operands)
        return "&".join(e.key for e in self.exprs) + "|" + ",".join(operands)


@dataclass(frozen=True)
class SlotArgument:
    """Run-time side of an operand: a buffer (or anything that stands for one), its offset and strides in elements.

    The buffer of a position is None.  ``strides`` has one entry per coordinate of the slot; the last must agree with
    the operand's class.
    """

    buffer: Any
    offset: int
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Tunable:
    """An integer that changes speed, never results.

    ``values`` are those worth trying: all that ``a1400 tune`` searches and that a tuning table may hold.  One that is
    ``compiled`` is a macro of the program, and each value in use makes a program more; others matter to the launch's
    geometry alone.  One that is not ``searched`` follows from facts of the device by a rule of the kernel's own (how
    many cores there are): searches and tables leave it alone.
    """

    name: str
    default: int
    values: tuple[int, ...]
    doc: str = ""
    compiled: bool = True
    searched: bool = True


def always(info: DeviceInfo, types: Mapping[str, np.dtype]) -> bool:
    """Requirement of a variant that runs anywhere."""
    return True


@dataclass(frozen=True)
class Variant:
    """One way to compute the spec.

    ``kind``: ``cpu``, ``gpu`` or ``any`` - the device class it is meant for; ``backends`` says which languages
    have it; ``source`` is the path under ``kernels_<language>/`` without suffix (default: the spec's name).
    ``geometry(scalars, tunables)`` gives (groups, group_size).  ``requires`` says whether a device can run it
    for given dtypes; ``constraint`` whether tunables fit together; ``supports`` whether it can compute a
    call with these scalars at all.  ``local_bytes(types, tunables)`` is the local memory of a work-group (a KiB or two
    need not be told); ``dynamic_bytes`` likewise the local memory that the launch asks for by size.  ``vector_width``
    > 1 asks for ``*_V`` slot macros, ``narrow_width`` for further ones of that width (8: ``*_V8``).  ``test_tunables``
    are further settings that the conformance tests run.
    ``worth(types, scalars, tunables)`` leaves settings out of a search that cannot be fast for a call (a tile larger
    than the matrix); unlike ``constraint`` it forbids nothing.

    ``defines`` are macros of this variant alone.  ``plain`` names slots that must be empty.  ``precision`` names a
    rounding of the inputs (``tf32``) that the caller must allow before the variant may be chosen; ``tolerance`` then
    replaces the spec's.  ``min_blocks`` is how many work-groups a CUDA multiprocessor should hold at once: it bounds
    the registers from above, and keeps the compiler from spilling to make room for more.  ``tensor_maps`` are further
    parameters behind all others, in this order: name, the buffer parameter they describe, and
    ``(types, scalars, tunables) -> TensorMap`` (its ``buffer`` is filled in).
    """

    name: str
    kind: str
    geometry: Callable[[Scalars, Tunables], tuple[Grid, Grid]]
    tunables: tuple[Tunable, ...] = ()
    backends: tuple[str, ...] = ("opencl", "cuda")
    source: str = ""
    vector_width: int = 1
    narrow_width: int = 0
    requires: Callable[[DeviceInfo, Mapping[str, np.dtype]], bool] = always
    constraint: Callable[[Tunables], bool] = lambda t: True
    supports: Callable[[Scalars], bool] = lambda s: True
    local_bytes: Callable[[Mapping[str, np.dtype], Tunables], int] = lambda types, t: 0
    test_tunables: tuple[Mapping[str, int], ...] = ()
    dynamic_bytes: Callable[[Mapping[str, np.dtype], Tunables], int] = lambda types, t: 0
    defines: Mapping[str, str] = field(default_factory=dict)
    plain: tuple[str, ...] = ()
    precision: str = ""
    min_blocks: int = 0
    tolerance: Mapping[str, tuple[float, float]] | None = None
    worth: Callable[[Mapping[str, np.dtype], Scalars, Tunables], bool] = lambda types, s, t: True
    tensor_maps: tuple[tuple[str, str, TensorMapRule], ...] = ()

    def settings(self, overrides: Mapping[str, int] | None = None) -> dict[str, int]:
        """Defaults updated by ``overrides``; refuses undeclared names and combinations that do not fit."""
        chosen = {t.name: t.default for t in self.tunables}
        for name, value in (overrides or {}).items():
            if name not in chosen:
                raise KernelArgumentError(f"variant {self.name} has no tunable {name}; it has {sorted(chosen)}")
            chosen[name] = int(value)
        if not self.constraint(chosen):
            raise KernelArgumentError(f"variant {self.name}: tunables {chosen} do not fit together")
        return chosen

    def fit(
        self, info: DeviceInfo, types: Mapping[str, np.dtype], scalars: Scalars,
        overrides: Mapping[str, int] | None = None,
    ) -> dict[str, int] | None:  # fmt: skip
        """Settings whose work-groups ``info`` can hold; None where there are none.

        The defaults (updated by ``overrides``, which stay) where they fit, else the largest work-group that does, with
        as few tunables changed as that takes.
        """

        def items(t: Tunables) -> int:
            return prod(self.geometry(scalars, t)[1])

        def fits(t: Tunables) -> bool:
            return (
                items(t) <= info.max_group_size
                and self.local_bytes(types, t) <= info.local_memory
                and self.dynamic_bytes(types, t) <= info.dynamic_local_memory
            )

        wanted = self.settings(overrides)
        if fits(wanted):
            return wanted
        free = [t for t in self.tunables if t.name not in (overrides or {})]
        tried = [{**wanted, **dict(zip((t.name for t in free), v))} for v in product(*(t.values for t in free))]
        return max(
            (t for t in tried if self.constraint(t) and fits(t)),
            key=lambda t: (items(t), sum(t[name] == value for name, value in wanted.items())),
            default=None,
        )


@dataclass(frozen=True)
class Data:
    """Test input: random of ``shape``; small integers in exact mode, uniform in [low, high) otherwise."""

    shape: tuple[int, ...]
    dtype: str
    low: float = -1.0
    high: float = 1.0

    def make(self, rng: np.random.Generator, types: Mapping[str, np.dtype], exact: bool) -> np.ndarray:
        """The array; ``types`` resolves dtype variables."""
        dtype = types[self.dtype] if self.dtype in types else dtypes.from_short(self.dtype)
        if exact or not dtypes.is_float(dtype):
            low, high = (int(np.ceil(self.low)), int(np.ceil(self.high))) if not exact else (-3, 4)
            if not dtypes.is_float(dtype) and self.high - self.low > 2:
                low, high = int(self.low), int(self.high)
            if np.issubdtype(dtype, np.unsignedinteger) or dtype == np.bool_:
                low = max(low, 0)
            high = max(high, low + 1)
            return rng.integers(low, high, self.shape).astype(dtype)
        return rng.uniform(self.low, self.high, self.shape).astype(dtype)


@dataclass(frozen=True)
class Case:
    """One conformance case.

    ``arrays``: every ``in``/``inout`` buffer as :class:`Data` or an array; ``outputs``: every ``out`` buffer as
    (shape, dtype variable or short name); ``slots``: slot name -> (SlotCode, operand arrays as
    (array, offset, strides), the array of a position being None).  ``exact`` False skips the small-integer mode for
    this case.
    """

    name: str
    arrays: Mapping[str, Data | np.ndarray]
    scalars: Mapping[str, int | float]
    outputs: Mapping[str, tuple[tuple[int, ...], str]]
    types: Mapping[str, np.dtype] = field(default_factory=lambda: {"T": np.dtype(np.float32)})
    slots: Mapping[str, tuple[SlotCode, tuple[tuple[np.ndarray | None, int, tuple[int, ...]], ...]]] = field(
        default_factory=dict
    )
    exact: bool = True


@dataclass(frozen=True)
class KernelSpec:
    """A kernel, declared once for both languages.

    ``types``: dtype variables with the dtypes each may take.  ``reference(arrays, scalars, case)`` returns
    the outputs from float64/integer inputs; ``arrays`` holds inputs by name (``inout`` as they were before).
    ``tolerance``: dtype short name -> (rtol, atol relative to the largest reference magnitude).
    ``flops``/``bytes``: cost of a launch from its scalars, for the roofline, without its slots; bytes count each
    element that is read or written once, and as four bytes wide.  Where it says 0, the buffers count as they are.
    ``sizes``: the scalars that a tuned setting is bound to; empty: every whole number but offsets (``*_off``).
    ``defines``: macros that make one source serve several specs (the combine step of a reduction, say).
    ``in_place``: an output may lie where an operand of a slot does, so no pointer is promised to be the only one.
    """

    name: str
    doc: str
    params: tuple[Param, ...]
    variants: tuple[Variant, ...]
    reference: Callable[[Mapping[str, np.ndarray], Scalars, Case], Mapping[str, np.ndarray]]
    cases: Callable[[], Iterable[Case]]
    types: Mapping[str, tuple[np.dtype, ...]] = field(default_factory=dict)
    slots: tuple[Slot, ...] = ()
    exact: bool = True
    tolerance: Mapping[str, tuple[float, float]] = field(
        default_factory=lambda: {
            "f32": (1e-5, 1e-5),
            "f16": (2e-3, 2e-3),
            "bf16": (1.6e-2, 1.6e-2),
            "f64": (1e-12, 1e-12),
        }
    )
    flops: Callable[[Scalars], float] = lambda s: 0.0
    bytes: Callable[[Scalars], float] = lambda s: 0.0
    defines: Mapping[str, str] = field(default_factory=dict)
    sizes: tuple[str, ...] = ()
    in_place: bool = False

    def variant(self, name: str) -> Variant:
        """The variant called ``name``."""
        for v in self.variants:
            if v.name == name:
                return v
        raise KernelArgumentError(f"kernel {self.name} has no variant {name}; it has {[v.name for v in self.variants]}")

    def executable(self, info: DeviceInfo, types: Mapping[str, np.dtype]) -> list[Variant]:
        """Variants that ``info`` can execute for ``types``, those meant for its device class first."""
        fits = [v for v in self.variants if info.backend in v.backends and v.requires(info, types)]
        return sorted(fits, key=lambda v: v.kind not in (info.kind, "any"))

    def choose(
        self, info: DeviceInfo, types: Mapping[str, np.dtype], scalars: Scalars,
        slots: Collection[str] = (), allow: Collection[str] = (),
    ) -> Variant:  # fmt: skip
        """The variant to use on ``info`` with these ``slots`` filled and these precisions allowed; raises for none.

        Among variants for the device's class, the first declared wins: fast ones stand before general ones.
        """
        for v in self.executable(info, types):
            if v.precision and v.precision not in allow:
                continue
            if v.supports(scalars) and not set(v.plain) & set(slots) and v.fit(info, types, scalars) is not None:
                return v
        raise KernelArgumentError(
            f"no variant of kernel {self.name} runs on {info.name} for { {k: str(t) for k, t in types.items()} } (its "
            f"work-groups have up to {info.max_group_size} work-items and {info.local_memory:,} bytes of local memory)"
        )

    def suits(self, info: DeviceInfo, types: Mapping[str, np.dtype], scalars: Scalars) -> bool:
        """Whether a variant meant for the class of ``info`` can compute the call there."""
        try:
            return self.choose(info, types, scalars).kind in (info.kind, "any")
        except KernelArgumentError:
            return False


@dataclass
class KernelCall:
    """A launch of a spec with everything decided but the device: program key, geometry, arguments in order.

    ``buffers`` may hold real buffers or any stand-in; the binder resolves them.  With ``in_place`` an output may be an
    operand's memory, read at the very index that is written.
    """

    spec: KernelSpec
    variant: Variant
    types: dict[str, np.dtype]
    tunables: dict[str, int]
    slots: dict[str, SlotCode]
    buffers: dict[str, Any]
    scalars: dict[str, int | float]
    slot_arguments: dict[str, tuple[SlotArgument, ...]]
    in_place: bool = False

    @property
    def program_key(self) -> tuple[Any, ...]:
        """Equal keys mean the same program text."""
        return (
            self.spec.name,
            self.variant.name,
            tuple(sorted((k, dtypes.short(v)) for k, v in self.types.items())),
            tuple(sorted(self.macros.items())),
            tuple(sorted((k, v.key) for k, v in self.slots.items())),
            self.in_place,
        )

    @property
    def macros(self) -> dict[str, int]:
        """The tunables that the program's text depends on."""
        compiled = {t.name for t in self.variant.tunables if t.compiled}
        return {name: value for name, value in self.tunables.items() if name in compiled}

    def geometry(self) -> tuple[Grid, Grid]:
        """(groups, group size) of the launch."""
        return self.variant.geometry(self.scalars, self.tunables)

    @property
    def dynamic_bytes(self) -> int:
        """Local memory that the launch asks for by size."""
        return self.variant.dynamic_bytes(self.types, self.tunables)

    def arguments(self) -> list[Any]:
        """Buffers (or their stand-ins), NumPy scalars and tensor maps in kernel order."""
        result: list[Any] = []
        for p in self.spec.params:
            if p.kind == "scalar":
                result.append(SCALAR_TYPES[p.type](self.scalars[p.name]))
            else:
                result.append(self.buffers[p.name])
        for slot in self.spec.slots:
            code = self.slots.get(slot.name)
            for operand, argument in zip(code.operands if code else (), self.slot_arguments.get(slot.name, ())):
                if not operand.position:
                    result.append(argument.buffer)
                result.append(np.int32(argument.offset))
                count = len(slot.coords) - (0 if operand.inner == 2 else 1)
                result.extend(np.int32(s) for s in argument.strides[:count])
        for _, buffer, rule in self.variant.tensor_maps:
            result.append(replace(rule(self.types, self.scalars, self.tunables), buffer=self.buffers[buffer]))
        return result


def call(
    spec: KernelSpec,
    variant: Variant,
    types: Mapping[str, np.dtype],
    buffers: Mapping[str, Any],
    scalars: Mapping[str, int | float],
    tunables: Mapping[str, int] | None = None,
    slots: Mapping[str, tuple[SlotCode, Sequence[SlotArgument]]] | None = None,
) -> KernelCall:
    """Check everything against the spec and make the call; raises :class:`KernelArgumentError`."""
    where = f"kernel {spec.name}"
    if set(types) != set(spec.types):
        raise KernelArgumentError(f"{where} has dtype variables {sorted(spec.types)}, given {sorted(types)}")
    for name, dtype in types.items():
        if np.dtype(dtype) not in spec.types[name]:
            raise KernelArgumentError(f"{where}: {name} cannot be {dtype}")
    expected_buffers = {p.name for p in spec.params if p.kind != "scalar"}
    expected_scalars = {p.name for p in spec.params if p.kind == "scalar"}
    if set(buffers) != expected_buffers or set(scalars) != expected_scalars:
        missing = (expected_buffers - set(buffers)) | (expected_scalars - set(scalars))
        extra = (set(buffers) - expected_buffers) | (set(scalars) - expected_scalars)
        raise KernelArgumentError(f"{where}: missing arguments {sorted(missing)}, unknown arguments {sorted(extra)}")
    for p in spec.params:
        if p.kind == "scalar" and p.type == "int" and not -(2**31) <= int(scalars[p.name]) < 2**31:
            value = scalars[p.name]
            raise KernelArgumentError(f"{where}: {p.name}={value} does not fit 32 bits; the tensor is too large")
    codes: dict[str, SlotCode] = {}
    arguments: dict[str, tuple[SlotArgument, ...]] = {}
    declared = {s.name: s for s in spec.slots}
    for name, (code, args) in (slots or {}).items():
        if name not in declared:
            raise KernelArgumentError(f"{where} has no slot {name}; it has {sorted(declared)}")
        if len(args) != len(code.operands):
            raise KernelArgumentError(f"{where}: slot {name} has {len(code.operands)} operands, given {len(args)}")
        if len(code.more) != len(declared[name].more):
            raise KernelArgumentError(f"{where}: slot {name} has {1 + len(declared[name].more)} results")
        for operand, argument in zip(code.operands, args):
            inner = argument.strides[-1]
            if len(argument.strides) != len(declared[name].coords) or (operand.inner < 2 and inner != operand.inner):
                raise KernelArgumentError(f"{where}: slot {name} operand strides {argument.strides} do not fit")
            if any(not -(2**31) <= value < 2**31 for value in (argument.offset, *argument.strides)):
                raise KernelArgumentError(f"{where}: slot {name} has an operand too large for 32-bit offsets")
        codes[name] = code
        arguments[name] = tuple(args)
    return KernelCall(
        spec, variant, {k: np.dtype(v) for k, v in types.items()}, variant.settings(tunables), codes,
        dict(buffers), dict(scalars), arguments,
    )  # fmt: skip


REGISTRY: dict[str, KernelSpec] = {}


def register(spec: KernelSpec) -> KernelSpec:
    """Enter ``spec`` into the table of all kernels; names are unique."""
    if spec.name in REGISTRY:
        raise ValueError(f"kernel {spec.name} is declared twice")
    REGISTRY[spec.name] = spec
    return spec
