"""What a sweep is made of: an operator's declaration, its cases, and what decides a case - drawn from its number."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import onnx

#: sizes on both sides of the edges of vectors, work-groups and tiles
EDGES = (1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 257, 1000, 1025)
#: the oldest opset that is swept
OLDEST = 7
#: the opsets whose new versions of operators differ from the last ones in the types they take
ONLY_TYPES = (13, 14, 22, 23, 24, 25, 28)

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
HALVES = (np.dtype(np.float16), BFLOAT16)
FLOATS = ("float16", "bfloat16", "float", "double")
INTS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
PLAIN = (*FLOATS, *INTS, "bool")
_DTYPES = {"float": np.dtype(np.float32), "double": np.dtype(np.float64), "bfloat16": BFLOAT16}


def dtype_of(name: str) -> np.dtype:
    """NumPy's dtype of ONNX's type name."""
    return _DTYPES.get(name) or np.dtype(name)


@dataclass(frozen=True)
class Tolerance:
    """An output may differ by ``eps * (rel * |expected| + abs * scale)``; ``scale`` is the case's own.

    ``half`` stands for ``rel`` where the output is fp16 or bf16: arithmetic is float32 there and rounds once, so that
    the last bit may differ; ``half_abs`` is of that type's eps too, for operators that store 16 bits between their
    steps.  Integers and bools may differ by ``steps``.
    """

    reason: str
    rel: float = 4.0
    abs: float = 0.0
    half: float = 1.01
    half_abs: float = 0.0
    steps: int = 0


EXACT = Tolerance("moves, compares or counts: nothing rounds", rel=0.0, half=0.0)
FEW = Tolerance("one rounding each, divisions and roots may be off by some ulps", rel=4.0)
FUNCTION = Tolerance(
    "OpenCL's functions are good to 16 ulps or better, ONNX Runtime's to about as much", rel=32.0, abs=2.0
)
SUMS = Tolerance("sums in another order; the error grows with the terms that cancel", rel=16.0, abs=16.0)


@dataclass(frozen=True)
class Node:
    """One node with its arrays.

    ``inputs``: arrays in order, None for one left out.  ``constants``: positions of those that are initializers.
    ``scale`` is the size of the terms that outputs are sums of, beside which errors are seen.  ``expected`` computes
    the outputs where no other reference can.  ``doubt`` says why ONNX Runtime is not asked: what it gets wrong here.
    """

    inputs: Sequence[Any]
    attrs: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    constants: frozenset[int] = frozenset()
    scale: float = 1.0
    skip_outputs: frozenset[int] = frozenset()
    expected: Callable[[], list[np.ndarray]] | None = None
    doubt: str = ""


@dataclass(frozen=True)
class Sweep:
    """How one operator is swept: ``make`` draws the node, ``types`` are ONNX's names of the element types.

    ``operator`` has the domain in front where that is not ONNX's own; the types are then all that may be drawn.
    ``variable`` is the input whose type is drawn.  ``widen`` says that the reference computes 16-bit floats in float32
    and rounds.  ``doubt`` says what the NumPy reference of the onnx package gets wrong, which then is not asked.
    """

    operator: str
    make: Callable[[Draw], Node]
    tolerance: Tolerance
    types: tuple[str, ...]
    variable: int = 0
    widen: bool = True
    doubt: str = ""
    opsets: tuple[int, ...] = ()
    domain: str = ""


_SWEEPS: dict[str, Sweep] = {}


def sweep(
    *operators: str, tolerance: Tolerance, types: tuple[str, ...] = PLAIN, **more: Any
) -> Callable[[Callable[[Draw], Node]], Callable[[Draw], Node]]:
    """Declare how ``operators`` are swept; the function draws the node of a case."""

    def register(make: Callable[[Draw], Node]) -> Callable[[Draw], Node]:
        for operator in (f"{more['domain']}.{name}" if "domain" in more else name for name in operators):
            assert operator not in _SWEEPS, operator
            _SWEEPS[operator] = Sweep(operator, make, tolerance, types, **more)
        return make

    return register


def sweeps() -> dict[str, Sweep]:
    """Every declared sweep by operator."""
    import tests.onnx_sweep.families  # noqa: F401  (registers them)

    return dict(sorted(_SWEEPS.items()))


@cache
def opsets_of(operator: str) -> tuple[int, ...]:
    """The opsets of ``operator`` that differ, oldest first."""
    every = [s for s in onnx.defs.get_all_schemas_with_history() if (s.name, s.domain) == (operator, "")]
    since = {s.since_version for s in every if not s.deprecated}
    return tuple(sorted({max(v, OLDEST) for v in since}))


@cache
def types_of(operator: str, opset: int, variable: int) -> tuple[str, ...]:
    """ONNX's names of the element types that input ``variable`` of ``operator`` may have."""
    schema = onnx.defs.get_schema(operator, opset, "")
    text = schema.inputs[min(variable, len(schema.inputs) - 1)].type_str
    allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}.get(text, [text])
    return tuple(t.removeprefix("tensor(").removesuffix(")") for t in allowed if t.startswith("tensor("))


class Draw:
    """The choices of one case, the same whenever its number is.

    ``operator``, ``number``, ``opset``, ``dtype`` (NumPy's) and ``rng`` are what a family's function reads.
    """

    def __init__(self, declared: Sweep, number: int) -> None:
        self.operator, self.number = declared.operator, number
        self.rng = np.random.default_rng([zlib.crc32(declared.operator.encode()), number])
        opsets = declared.opsets or ((1,) if declared.domain else opsets_of(declared.operator))
        self.opset = opsets[-1] if self.chance(0.6) else self.choose(opsets)
        # Intel's and ONNX Runtime's common ground first: most of the cases are of the types that models have
        allowed = declared.types if declared.domain else types_of(declared.operator, self.opset, declared.variable)
        types = [t for t in declared.types if t in allowed]
        assert types, f"{self.operator}-{self.opset} takes none of {declared.types}, but {allowed}"
        common = "float" if "float" in types else types[0]
        self.type = types[number // 2 % len(types)] if number % 2 else common
        self.dtype = dtype_of(self.type)

    def earlier(self) -> int:
        """An earlier opset that means the same by this operator, whose newer versions take more types; 0: none."""
        found = [v for v in opsets_of(self.operator) if v <= self.opset]
        while found and found[-1] in ONLY_TYPES and len(found) > 1:
            found.pop()
        return found[-1] if found and found[-1] != self.opset else 0

    def chance(self, probability: float) -> bool:
        """True as often as ``probability`` says."""
        return bool(self.rng.random() < probability)

    def choose(self, options: Sequence[Any]) -> Any:
        """One of ``options``."""
        return options[int(self.rng.integers(len(options)))]

    def integer(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, both included."""
        return int(self.rng.integers(low, high + 1))

    def size(self, limit: int = 1025) -> int:
        """A size beside an edge, at most ``limit``."""
        return int(self.choose([e for e in EDGES if e <= max(limit, 1)]))

    def shape(self, rank: int | tuple[int, int] = (0, 4), limit: int = 20000, empty: float = 0.03) -> tuple[int, ...]:
        """A shape of edge sizes, of at most ``limit`` elements; with probability ``empty`` one size is 0."""
        count = rank if isinstance(rank, int) else self.integer(*rank)
        sizes = [1] * count
        left = limit
        for axis in self.rng.permutation(count):
            sizes[axis] = self.size(left)
            left //= sizes[axis]
        if count and self.chance(empty):
            sizes[self.integer(0, count - 1)] = 0
        return tuple(sizes)

    def broadcastable(self, shape: Sequence[int]) -> tuple[int, ...]:
        """A shape that broadcasts to ``shape``."""
        kept = list(shape[self.integer(0, len(shape)) if self.chance(0.4) else 0 :])
        return tuple(1 if self.chance(0.3) else s for s in kept)

    def axis(self, rank: int) -> int:
        """An axis, negative as often as not."""
        axis = self.integer(0, rank - 1)
        return axis - rank if self.chance(0.5) else axis

    def axes(self, rank: int, least: int = 0) -> list[int]:
        """Different axes, some of them negative."""
        count = self.integer(min(least, rank), rank)
        chosen = self.rng.permutation(rank)[:count]
        return [int(a) - rank if self.chance(0.4) else int(a) for a in chosen]

    def values(
        self, shape: Sequence[int], low: float = -2.0, high: float = 2.0, dtype: Any = None, special: bool = False
    ) -> np.ndarray:
        """Numbers in [low, high]; ``special`` mixes in infinities, NaN, zeros of both signs and denormal numbers.

        Of an integer type, its ends.
        """
        kind = np.dtype(dtype or self.dtype)
        shape = tuple(shape)
        if kind == np.bool_:
            return self.rng.random(shape) < 0.5
        if kind.kind in "iu":
            ends = np.iinfo(kind)
            array = self.rng.integers(max(int(np.ceil(low)), ends.min), min(int(high), ends.max) + 1, shape).astype(
                kind
            )
            rare = np.array([ends.min, ends.max, ends.max - 1, 0, 1], kind)
        else:
            array = self.rng.uniform(low, high, shape).astype(kind)
            small = ml_dtypes.finfo(kind).tiny
            rare = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, small, small / 2, ml_dtypes.finfo(kind).max], kind)
        if special and array.size:
            at = self.rng.random(shape) < 0.1
            array = np.where(at, rare[self.rng.integers(0, len(rare), shape)], array).astype(kind)
        return array

    def fixed(self, *positions: int, probability: float = 0.5) -> frozenset[int]:
        """Those of ``positions`` that become initializers: all or none of them."""
        return frozenset(positions) if self.chance(probability) else frozenset()


def model_of(
    declared: Sweep, draw: Draw, node: Node, how: str = "", opset: int = 0
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """One node's model, and what to feed it; ``how`` "wide" makes float32 of 16-bit floats, "narrow" of float64."""
    opset = opset or draw.opset
    changed = {"wide": HALVES, "narrow": (np.dtype(np.float64),)}.get(how, ())
    names, feeds, given, fixed = [], {}, [], []
    for index, array in enumerate(node.inputs):
        if array is None:
            names.append("")
            continue
        names.append(f"x{index}")
        array = np.asarray(array)
        if array.dtype in changed:
            array = array.astype(np.float32)
        if index in node.constants:
            fixed.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), names[-1]))
        else:
            kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            given.append(onnx.helper.make_tensor_value_info(names[-1], kind, array.shape))
            feeds[names[-1]] = array
    results = ["" if i in node.skip_outputs else f"y{i}" for i in range(node.outputs)]
    attrs = {k: v for k, v in node.attrs.items() if v is not None}
    operator = draw.operator.rpartition(".")[2]
    proto = onnx.helper.make_node(operator, names, results, name="swept", domain=declared.domain, **attrs)
    graph = onnx.helper.make_graph(
        [proto], "sweep", given, [onnx.ValueInfoProto(name=n) for n in results if n], fixed
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid(declared.domain, opset)]
    if declared.domain:
        opsets.append(onnx.helper.make_opsetid("", 21))
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10 if opset < 24 else 12), feeds
