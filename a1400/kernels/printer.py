"""Print expression trees as C statements for both languages.

At width 1 the text is the same in OpenCL C and CUDA C++ (names that differ come from the preludes).  At
width 8 or 16 it is OpenCL vector code for CPU runtimes, whose compilers vectorise explicit vectors far
more reliably than loops.

Registers: floats of every storage type are ``float`` or ``double``; integers below 32 bits live in
``int``/``uint`` and are wrapped after each operation; a bool is a *mask*, ``int`` 0/1 at width 1 and an
integer vector with 0/-1 lanes, as wide as the compared operands, at larger widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from a1400 import dtypes
from a1400.kernels.expr import Expr, topological
from a1400.kernels.pointwise_ops import OPS

_SMALL = {"i8": "char", "i16": "short", "u8": "uchar", "u16": "ushort"}
_LOW_INTS = ("i4", "u4", "i2", "u2")


def register_type(dtype: np.dtype, width: int) -> str:
    """C type that holds ``dtype`` in a register at ``width`` lanes."""
    base = dtypes.info(dtype).register
    return base if width == 1 else f"{base}{width}"


@dataclass
class _Printed:
    text: str
    mask: str | None = None  # "int"/"long": element type of a vector mask


def literal(value: int | float | bool, dtype: np.dtype, width: int = 1) -> str:
    """``value`` as a C literal of the register type of ``dtype``; exact (floats in hexadecimal)."""
    kind = dtypes.info(dtype).register
    if kind in ("float", "double"):
        number = float(np.float32(value)) if kind == "float" else float(value)
        if np.isnan(number):
            text = "A_NAN"
        elif np.isinf(number):
            text = "A_INF" if number > 0 else "(-A_INF)"
        else:
            text = number.hex() + ("f" if kind == "float" else "")
            if number < 0:
                text = f"({text})"
        text = f"({kind})({text})" if "A_" in text else text
    elif kind in ("long", "ulong"):
        suffix = "UL" if kind == "ulong" else "L"
        # the most negative long has no literal of its own
        text = f"(-{2**63 - 1}L - 1)" if int(value) == -(2**63) else f"({int(value)}{suffix})"
    elif kind == "uint":
        text = f"{int(value)}u"
    else:
        text = "(-2147483647 - 1)" if int(value) == -(2**31) else f"({int(value)})"
    return text if width == 1 else f"({kind}{width})({text})"


def print_statements(
    roots: Sequence[Expr], operands: Sequence[str], width: int = 1, prefix: str = "t"
) -> tuple[list[str], list[str]]:
    """Statements that compute ``roots``, and the names (or texts) that hold them.

    ``operands[i]`` is the text of operand ``i``, already of its register type (masks for bool operands).
    """
    done: dict[int, _Printed] = {}
    lines: list[str] = []
    for node in topological(roots):
        if node.op == "arg":
            mask = "int" if node.dtype == np.bool_ and width > 1 else None
            done[id(node)] = _Printed(operands[node.value], mask)  # type: ignore[index]
            continue
        if node.op == "const":
            if node.dtype == np.bool_ and width > 1:
                done[id(node)] = _Printed(f"(int{width})({-int(bool(node.value))})", "int")
            else:
                done[id(node)] = _Printed(literal(node.value, node.dtype, width))  # type: ignore[arg-type]
            continue
        inner = [done[id(a)] for a in node.args]
        printed = _cast(node, inner[0], width) if node.op == "cast" else _operation(node, inner, width)
        kind = f"{printed.mask}{width}" if printed.mask else register_type(node.dtype, width)
        name = f"{prefix}{len(lines)}"
        lines.append(f"const {kind} {name} = {printed.text};")
        done[id(node)] = _Printed(name, printed.mask)
    texts = [_as_int_mask(done[id(r)], width) for r in roots]
    return lines, texts


def _as_int_mask(p: _Printed, width: int) -> str:
    return f"convert_int{width}({p.text})" if p.mask == "long" else p.text


def _mask_to(p: _Printed, element: str, width: int) -> str:
    return p.text if p.mask == element else f"convert_{element}{width}({p.text})"


def _mask_element(dtype: np.dtype) -> str:
    return "long" if dtypes.info(dtype).register in ("double", "long", "ulong") else "int"


def _operation(node: Expr, inner: list[_Printed], width: int) -> _Printed:
    op = OPS[node.op]
    texts = [p.text for p in inner]
    mask: str | None = None
    if width > 1:
        if node.op in ("and", "or", "xor", "not") or (node.op in ("eq", "ne") and node.args[0].dtype == np.bool_):
            texts = [_mask_to(p, "int", width) for p in inner]
            mask = "int"
        elif op.boolean:
            mask = _mask_element(node.args[0].dtype)
        elif node.op == "where":
            value_dtype = node.dtype
            if value_dtype == np.bool_:
                texts = [_mask_to(p, "int", width) for p in inner]
                mask = "int"
            else:
                texts[0] = _mask_to(inner[0], _mask_element(value_dtype), width)
    vector_type = register_type(node.args[0].dtype if op.boolean else node.dtype, width)
    text = op.c.format(*texts, t=f"({vector_type})")
    if op.name in ("isnan", "isinf") and not dtypes.is_float(node.args[0].dtype):
        raise TypeError(f"{op.name} needs a floating operand")
    if node.dtype != np.bool_ and (small := _SMALL.get(dtypes.short(node.dtype))):
        text = _wrap(text, small, dtypes.info(node.dtype).register, width)
    elif dtypes.short(node.dtype) in _LOW_INTS:
        text = f"a_wrap_{dtypes.short(node.dtype)}({text})"
    return _Printed(text, mask)


def _wrap(text: str, small: str, register: str, width: int) -> str:
    if width == 1:
        return f"({register})({small})({text})"
    return f"convert_{register}{width}(convert_{small}{width}({text}))"


def _cast(node: Expr, value: _Printed, width: int) -> _Printed:
    source, target = node.args[0].dtype, node.dtype
    to = dtypes.info(target).register
    if target == np.bool_:
        if source == np.bool_:
            return value
        zero = literal(0, source, width)
        return _Printed(f"({value.text} != {zero})", _mask_element(source) if width > 1 else None)
    text = value.text
    if source == np.bool_ and width > 1:
        text = f"(-{_mask_to(value, 'int', width)})"  # mask lanes 0/-1 become 0/1
    small, name = _SMALL.get(dtypes.short(target)), dtypes.short(target)
    if name in _LOW_INTS:  # from floats through int, then modulo a power of two
        if width == 1:
            return _Printed(f"a_wrap_{name}(({to})({'(int)' if dtypes.is_float(source) else ''}({text})))")
        if source == np.bool_ or dtypes.info(source).register != "int":
            text = f"convert_int{width}({text})"
        return _Printed(f"a_wrap_{name}({text if to == 'int' else f'convert_{to}{width}({text})'})")
    if width == 1:
        if small:
            if dtypes.is_float(source):  # float to small: through int, so that values wrap as NumPy's do
                return _Printed(f"({to})({small})(int)({text})")
            return _Printed(f"({to})({small})({text})")
        text = f"({to})({text})"
        return _Printed(f"a_round_{name}({text})" if _rounds(target) else text)
    source_register = "int" if source == np.bool_ else dtypes.info(source).register
    if small:
        through = f"convert_int{width}({text})" if dtypes.is_float(source) else text
        return _Printed(f"convert_{to}{width}(convert_{small}{width}({through}))")
    if source_register != to:
        text = f"convert_{to}{width}({text})"
    lanes = "" if dtypes.is_low(target) else f"_v{width}"  # those of few bits are overloaded
    return _Printed(f"a_round_{name}{lanes}({text})" if _rounds(target) else text)


def _rounds(target: np.dtype) -> bool:
    """Whether a register holds more numbers than ``target`` has."""
    return dtypes.is_float(target) and dtypes.short(target) not in ("f32", "f64")
