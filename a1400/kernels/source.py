"""From a spec to program text: prelude, generated prologue, the source file.

The prologue is generated per language from the spec - typedefs and load/store names for each dtype variable,
a ``#define`` for each tunable, slot functions, and the kernel's signature as ``KERNEL_ENTRY`` - so the two
sources cannot disagree on argument order or names.  A source refers to a tunable that is not declared: it does
not compile.  A tunable is declared and not used: :func:`unused_tunables` tells, and a test fails.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from a1400 import dtypes
from a1400.kernels.expr import topological
from a1400.kernels.pointwise_ops import OPS
from a1400.kernels.printer import print_statements, register_type
from a1400.kernels.spec import KernelCall, KernelSpec, Slot, SlotCode, Variant

_SUFFIX = {"opencl": ".cl", "cuda": ".cu"}


@lru_cache(maxsize=1)
def kernel_root() -> Path:
    """Folder that holds ``kernels_opencl``, ``kernels_cuda`` and ``kernels_common``: inside a wheel, or a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_kernels"
    return installed if installed.is_dir() else package.parent


def source_path(spec: KernelSpec, variant: Variant, language: str) -> Path:
    """The source file of a variant in ``language`` (``opencl`` or ``cuda``)."""
    return kernel_root() / f"kernels_{language}" / f"{variant.source or spec.name}{_SUFFIX[language]}"


@cache
def _read(path: Path) -> str:
    """File text with ``#include "common/x.h"`` lines replaced by ``kernels_common/x.h``: compilers get one text."""

    def include(match: re.Match[str]) -> str:
        name = match.group(1)
        if name.startswith("common/"):
            return _read(kernel_root() / "kernels_common" / name.removeprefix("common/"))
        return _read(path.parent / name)

    return re.sub(r'^#include "([^"]+)"[ \t]*$', include, path.read_text(), flags=re.M)


def source_text(spec: KernelSpec, variant: Variant, language: str) -> str:
    """The variant's source with its includes in place."""
    return _read(source_path(spec, variant, language))


def unused_tunables(spec: KernelSpec, variant: Variant, language: str) -> list[str]:
    """Tunables of the variant that should be in its source and are not."""
    text = source_text(spec, variant, language)
    return [t.name for t in variant.tunables if t.compiled and not re.search(rf"\b{t.name}\b", text)]


def program_text(call: KernelCall, language: str) -> str:
    """The complete source of the program that ``call`` needs."""
    root = kernel_root() / f"kernels_{language}"
    parts = [_read(root / ("prelude.clh" if language == "opencl" else "prelude.cuh"))]
    if call.variant.vector_width > 1:
        parts.append(_read(root / "cpu/vectors.clh"))
    if _low_bits(call):
        parts.append(_read(root / ("low_bits.clh" if language == "opencl" else "low_bits.cuh")))
        if call.variant.vector_width > 1:
            parts.append(_read(root / "cpu/low_bits_vectors.clh"))
    parts.append(_types(call))
    defines = {**call.spec.defines, **call.variant.defines}
    parts.extend(f"#define {name} {value}" for name, value in sorted(defines.items()))
    parts.extend(f"#define {name} {value}" for name, value in sorted(call.macros.items()))
    for slot in call.spec.slots:
        parts.append(_slot(call, slot, call.slots.get(slot.name)))
    parts.append(_signature(call, language))
    parts.append(f'#line 1 "{source_path(call.spec, call.variant, language).name}"')
    parts.append(source_text(call.spec, call.variant, language))
    return "\n".join(parts) + "\n"


def _low_bits(call: KernelCall) -> bool:
    """Whether the program touches types of few bits; others are spared the text."""
    codes = [code for code in call.slots.values() if code is not None]
    named = [dtypes.from_short(p.type) for p in call.spec.params if p.kind != "scalar" and p.type not in call.types]
    used = [*call.types.values(), *named, *(o.dtype for code in codes for o in code.operands)]
    used += [node.dtype for code in codes for node in topological(code.exprs)]
    return any(map(dtypes.is_low, used))


def _types(call: KernelCall) -> str:
    lines = []
    width = call.variant.vector_width
    for name, dtype in call.types.items():
        info = dtypes.info(dtype)
        # macros, not typedefs: half may be a pointer's target where it may not be a variable's type
        lines += [
            f"#define {name} {info.storage}",
            f"#define {name}_r {info.register}",
            f"#define {name}_short {info.short}",
            f"#define {name}_bytes {dtype.itemsize}",
            f"#define {name}_load(p, i) load_{info.short}(p, i)",
            f"#define {name}_store(p, i, v) store_{info.short}(p, i, v)",
            f"#define {name}_lowest lowest_{info.short}",
            f"#define {name}_highest highest_{info.short}",
        ]
        if width > 1:
            lines += [
                f"#define {name}_rv {register_type(dtype, width)}",
                f"#define {name}_load_v(p, i) vload{width}_{info.short}(p, i)",
                f"#define {name}_store_v(p, i, v) vstore{width}_{info.short}(p, i, v)",
            ]
        if narrow := call.variant.narrow_width:
            lines += [
                f"#define {name}_load_v{narrow}(p, i) vload{narrow}_{info.short}(p, i)",
                f"#define {name}_store_v{narrow}(p, i, v) vstore{narrow}_{info.short}(p, i, v)",
            ]
    return "\n".join(lines)


def _storage(call: KernelCall, kind: str) -> str:
    dtype = call.types[kind] if kind in call.types else dtypes.from_short(kind)
    return dtypes.info(dtype).storage


def _operand_names(slot: Slot, code: SlotCode) -> list[list[tuple[str, str]]]:
    """For each operand, its parameters as (type, name): pointer (a position has none), offset, strides."""
    result = []
    for k, operand in enumerate(code.operands):
        base = f"{slot.name}_p{k}"
        count = len(slot.coords) - (0 if operand.inner == 2 else 1)
        pointer = [] if operand.position else [(f"GPTR(const {dtypes.info(operand.dtype).storage})", base)]
        result.append([*pointer, ("int", f"{base}_o"), *(("int", f"{base}_s{d}") for d in range(count))])
    return result


def _slot(call: KernelCall, slot: Slot, code: SlotCode | None) -> str:
    coords = ", ".join(slot.coords)
    names = {1: "", call.variant.vector_width: "_V", call.variant.narrow_width: f"_V{call.variant.narrow_width}"}
    names = {width: "" if width == 1 else name for width, name in sorted(names.items()) if width}
    if code is None:
        results = "".join(f", r{i + 1}" for i in range(len(slot.more)))
        lines = [f"#define {slot.name}{name}(v, {coords}{results}) (v)" for name in names.values()]
        return "\n".join([f"#define {slot.name}_EMPTY", *_handing_on(slot, code), *lines])
    dtype = call.types[slot.input] if slot.input in call.types else dtypes.from_short(slot.input or "f32")
    more = [call.types[name] for name in slot.more]
    functions = (_slot_function(slot, code, dtype, more, w, slot.name + name) for w, name in names.items())
    return "\n".join([*_handing_on(slot, code), *functions])


def _handing_on(slot: Slot, code: SlotCode | None) -> list[str]:
    """Macros for functions of a source that use a slot: its operands as parameters and arguments, each after a comma.

    ``_WEIGHT`` tells how much code the slot is, in pointwise operations.  ``_AHEAD(fetch, coords...)`` calls ``fetch``
    with where each operand that has vectors of its own for every line of its last coordinate will be read.
    """
    flat = [pair for group in _operand_names(slot, code) for pair in group] if code else []
    ahead = []
    for k, operand in enumerate(code.operands if code and len(slot.coords) > 1 else ()):
        if operand.inner == 1 and not operand.position:
            base, line = f"{slot.name}_p{k}", f"{slot.name}_p{k}_s{len(slot.coords) - 2}"
            terms = [f"({c}) * {base}_s{d}" for d, c in enumerate(slot.coords[:-1])]
            place = " + ".join([base, f"{base}_o", *terms, f"({slot.coords[-1]})"])
            ahead.append(f"if ({line} != 0) {{ fetch({place}); }}")
    weight = sum(OPS[n.op].flops for n in topological(code.exprs) if n.op in OPS) if code else 0
    return [
        f"#define {slot.name}_PARAMETERS " + "".join(f", {kind} {name}" for kind, name in flat),
        f"#define {slot.name}_ARGUMENTS " + "".join(f", {name}" for _, name in flat),
        f"#define {slot.name}_WEIGHT {weight}",
        f"#define {slot.name}_AHEAD(fetch, {', '.join(slot.coords)}) " + " ".join(ahead),
    ]


def _slot_function(
    slot: Slot, code: SlotCode, dtype: np.dtype, more: Sequence[np.dtype], width: int, name: str
) -> str:
    names = _operand_names(slot, code)
    flat = [pair for group in names for pair in group]
    parameters = [f"{register_type(dtype, width)} v", *(f"int {c}" for c in slot.coords)]
    parameters += [f"{register_type(kind, width)} *r{i + 1}" for i, kind in enumerate(more)]
    parameters += [f"{kind} {n}" for kind, n in flat]
    lines = []
    operands = ["v"]
    for k, operand in enumerate(code.operands):
        base = f"{slot.name}_p{k}"
        terms = [f"{base}_o"]
        terms += [f"{c} * {base}_s{d}" for d, c in enumerate(slot.coords[:-1])]
        last = slot.coords[-1]
        kind = register_type(operand.dtype, width)
        if operand.inner == 1:
            terms.append(last)
        elif operand.inner == 2:
            terms.append(f"{last} * {base}_s{len(slot.coords) - 1}")
        index = " + ".join(terms)
        short = dtypes.short(operand.dtype)
        if operand.position:
            text = _position(kind, index, {0: "0", 1: "1"}.get(operand.inner, f"{base}_s{len(slot.coords) - 1}"), width)
        elif width == 1:
            text = f"load_{short}({base}, {index})"
        elif operand.inner == 1:
            text = f"vload{width}_{short}({base}, {index})"
        elif operand.inner == 0:
            text = f"({kind})({'-' if operand.dtype == np.bool_ else ''}load_{short}({base}, {index}))"
        else:
            text = f"vgather{width}({kind}, load_{short}, {base}, ({index}), {base}_s{len(slot.coords) - 1})"
            if operand.dtype == np.bool_:
                text = f"(-{text})"
        lines.append(f"    const {kind} x{k} = {text};")
        operands.append(f"x{k}")
    statements, (result, *others) = print_statements(code.exprs, operands, width)
    statements += [f"*r{i + 1} = {other};" for i, other in enumerate(others)]
    kind = register_type(code.expr.dtype, width)
    body = "\n".join([*lines, *("    " + s for s in statements), f"    return {result};"])
    results = [f"r{i + 1}" for i in range(len(more))]
    passed = ", ".join(["v", *slot.coords, *(f"&({r})" for r in results), *(n for _, n in flat)])
    return (
        f"FN {kind} {name}_fn({', '.join(parameters)}) {{\n{body}\n}}\n"
        f"#define {name}({', '.join(['v', *slot.coords, *results])}) {name}_fn({passed})"
    )


def _position(kind: str, index: str, stride: str, width: int) -> str:
    """The numbers ``index``, ``index + stride`` ... as unsigned lanes."""
    if width == 1 or stride == "0":
        return f"({kind})((uint)({index}))"
    lanes = ", ".join(f"{k}u" for k in range(width))
    return f"({kind})((uint)({index})) + ({kind})({lanes}) * ({kind})((uint)({stride}))"


def _signature(call: KernelCall, language: str) -> str:
    items = []
    restrict = "" if call.in_place or call.spec.in_place else "RESTRICT "
    for p in call.spec.params:
        if p.kind == "scalar":
            items.append(f"const {p.type} {p.name}")
        else:
            const = "const " if p.kind == "in" else ""
            items.append(f"GPTR({const}{_storage(call, p.type)}) {restrict}{p.name}")
    for slot in call.spec.slots:
        code = call.slots.get(slot.name)
        if code is not None:
            for kind, name in (pair for group in _operand_names(slot, code) for pair in group):
                items.append(f"{kind} {restrict}{name}" if kind.startswith("GPTR") else f"const {kind} {name}")
    items.extend(f"const __grid_constant__ TensorMap {name}" for name, _, _ in call.variant.tensor_maps)
    arguments = ", ".join(items)
    x, y, z = call.geometry()[1]
    if language == "opencl":
        # Without a size, a compiler may use so many registers that fewer work-items fit than the launch has.
        # A work-item that is alone in its group writes its own vectors: Intel's compiler need not make a second,
        # vectorised kernel out of it, which would take it three quarters of its time.
        lone = "__attribute__((vec_type_hint(float16))) "
        hint = f"__attribute__((reqd_work_group_size({x}, {y}, {z}))) " if x * y * z > 1 else lone
        return f"#define KERNEL_ENTRY __kernel {hint}void {call.spec.name}({arguments})"
    bounds = f"{x * y * z}, {call.variant.min_blocks}" if call.variant.min_blocks else f"{x * y * z}"
    head = f'extern "C" __global__ void __launch_bounds__({bounds}) {call.spec.name}'
    return f"#define KERNEL_ENTRY {head}({arguments})"
