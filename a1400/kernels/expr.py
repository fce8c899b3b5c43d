"""Pointwise expression trees: the one notation in which fused elementwise work is written.

An :class:`Expr` is immutable and typed.  ``arg(i, dtype)`` is the i-th operand, ``const(v, dtype)`` a
literal, everything else an operation of :data:`OPS` (``a1400/kernels/pointwise_ops.py``).  Trees may share
sub-trees; printing and evaluation visit each shared part once.  ``evaluate`` is the NumPy reference,
``a1400/kernels/printer.py`` turns a tree into C for both languages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from a1400 import dtypes
from a1400.kernels.pointwise_ops import OPS


@dataclass(frozen=True, eq=False)
class Expr:
    """One node of an expression tree.

    ``op`` is ``"arg"``, ``"const"``, ``"cast"`` or a name in ``OPS``.  ``value`` is the operand's index for
    ``arg``, a Python scalar for ``const``, else None.
    """

    op: str
    args: tuple[Expr, ...]
    dtype: np.dtype
    value: int | float | bool | None = None

    @cached_property
    def key(self) -> str:
        """Canonical text of the tree: equal keys mean equal programs."""
        return _key(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expr) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def arg(index: int, dtype: np.dtype) -> Expr:
    """Operand number ``index``."""
    return Expr("arg", (), np.dtype(dtype), index)


def const(value: int | float | bool, dtype: np.dtype) -> Expr:
    """A literal of type ``dtype``."""
    return Expr("const", (), np.dtype(dtype), value)


def cast(x: Expr, dtype: np.dtype) -> Expr:
    """``x`` converted to ``dtype`` (ONNX Cast semantics)."""
    return x if x.dtype == np.dtype(dtype) else Expr("cast", (x,), np.dtype(dtype))


def apply(op: str, *args: Expr) -> Expr:
    """Operation ``op`` on ``args``; the result dtype follows the operation's rule."""
    return Expr(op, tuple(args), OPS[op].result_dtype([a.dtype for a in args]))


def topological(roots: Sequence[Expr]) -> list[Expr]:
    """All nodes under ``roots``, operands before users, each shared node once."""
    order: list[Expr] = []
    seen: set[int] = set()
    stack: list[tuple[Expr, bool]] = [(r, False) for r in reversed(roots)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((a, False) for a in reversed(node.args))
    return order


def _key(root: Expr) -> str:
    names: dict[int, str] = {}
    structure: dict[str, str] = {}
    for node in topological([root]):
        if node.op == "const":
            value = float(node.value).hex() if dtypes.is_float(node.dtype) else str(int(node.value))  # type: ignore[arg-type]
            text = f"const:{value}:{dtypes.short(node.dtype)}"
        else:
            inner = ",".join(names[id(a)] for a in node.args)
            text = f"{node.op}{'' if node.value is None else node.value}({inner}):{dtypes.short(node.dtype)}"
        names[id(node)] = structure.setdefault(text, f"%{len(structure)}")
    return ";".join(structure) + "->" + names[id(root)]


def substitute(root: Expr, replacements: dict[int, Expr]) -> Expr:
    """``root`` with operand ``i`` replaced by ``replacements[i]`` (operands not named stay)."""
    return substitute_all([root], replacements)[0]


def substitute_all(roots: Sequence[Expr], replacements: dict[int, Expr]) -> list[Expr]:
    """:func:`substitute` for several trees: what they share they share afterwards."""
    made: dict[int, Expr] = {}
    for node in topological(roots):
        if node.op == "arg" and node.value in replacements:
            made[id(node)] = replacements[node.value]  # type: ignore[index]
        elif any(made[id(a)] is not a for a in node.args):
            made[id(node)] = Expr(node.op, tuple(made[id(a)] for a in node.args), node.dtype, node.value)
        else:
            made[id(node)] = node
    return [made[id(root)] for root in roots]


def evaluate(root: Expr, operands: Sequence[np.ndarray]) -> np.ndarray:
    """NumPy value of ``root``; operands broadcast.  Half types compute in float32 and round once at the end."""
    return evaluate_all([root], operands)[0]


def evaluate_all(roots: Sequence[Expr], operands: Sequence[np.ndarray]) -> list[np.ndarray]:
    """:func:`evaluate` for several trees over the same operands."""
    values: dict[int, np.ndarray] = {}
    for node in topological(roots):
        if node.op == "arg":
            operand = operands[node.value]  # type: ignore[index]
            values[id(node)] = operand.astype(np.float32) if dtypes.info(node.dtype).register == "float" else operand
        elif node.op == "const":
            values[id(node)] = np.asarray(node.value, dtype=_compute_dtype(node.dtype))
        elif node.op == "cast":
            values[id(node)] = cast_array(values[id(node.args[0])], node.dtype).astype(_compute_dtype(node.dtype))
        else:
            with np.errstate(all="ignore"):
                result = OPS[node.op].reference(*(values[id(a)] for a in node.args))
            values[id(node)] = np.asarray(result).astype(_compute_dtype(node.dtype), copy=False)
    return [values[id(root)].astype(root.dtype) for root in roots]


def _compute_dtype(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float32) if dtypes.info(dtype).register == "float" else np.dtype(dtype)


def cast_array(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """NumPy conversion with the engine's semantics: to bool is ``!= 0``; out-of-range is left to the hardware."""
    if np.dtype(dtype) == np.bool_:
        return x != 0
    with np.errstate(all="ignore"):
        return x.astype(dtype)
