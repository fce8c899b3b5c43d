"""The table of a sweep as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version

from tests.onnx_sweep.case import sweeps
from tests.onnx_sweep.left_out import LEFT_OUT
from tests.onnx_sweep.running import Outcome


def page(outcomes: Sequence[Outcome], device: str) -> str:
    """Markdown: a row for each operator, and what is not swept with the reason."""
    declared = sweeps()
    passed = sum(o.status == "passed" for o in outcomes)
    lines = [
        "# Sweep", "",
        "Generated cases for each compute operator of ONNX, with sizes on both sides of the edges of vectors, "
        f"work-groups and tiles, on {device}. Written by `python -m tests.onnx_sweep --page docs/sweep.md`; "
        "`python -m tests.onnx_sweep Conv --case 17` runs one case.", "",
        f"**{passed} of {len(outcomes)} cases pass.** ONNX Runtime {version('onnxruntime')}, onnx {version('onnx')}. "
        "\"Error\" is the largest difference as a share of what is allowed. ONNX Runtime computes 16-bit floats in "
        "float32 here, rounded once at the end; where it does not take a type or an opset, the NumPy reference of the "
        "onnx package answers, which the last column counts.", "",
        "| operator | types | cases | pass | error | allowed for floats | reference |",
        "| --- | --- | ---: | ---: | ---: | --- | --- |",
    ]  # fmt: skip
    by_name: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_name.setdefault(outcome.operator, []).append(outcome)
    reasons: dict[str, str] = {}
    for name, found in sorted(by_name.items()):
        tolerance = declared[name].tolerance
        types = ", ".join(sorted({o.type for o in found}))
        good = [o for o in found if o.status == "passed"]
        counts = Counter(o.reference for o in good)
        who = ", ".join(f"{n} {reference}" for reference, n in counts.most_common())
        bound = "exact" if not tolerance.rel and not tolerance.abs else f"{tolerance.rel:g} r + {tolerance.abs:g} s"
        reasons.setdefault(tolerance.reason, name)
        worst = max((o.error for o in good), default=0.0)
        lines.append(f"| {name} | {types} | {len(found)} | {len(good)} | {worst:.2g} | {bound} | {who} |")
    lines += [
        "", "Allowed: machine epsilon of the type times that; r is the expected number, s the size of the terms that "
        "are summed. 16-bit floats: the last bit, since arithmetic is float32 and rounds once. Why so much:", "",
    ]  # fmt: skip
    by_reason: dict[str, list[str]] = {}
    for name in sorted(by_name):
        by_reason.setdefault(declared[name].tolerance.reason, []).append(name)
    lines += [f"- {reason}: {', '.join(names)}." for reason, names in sorted(by_reason.items())]
    doubts = sorted({(o.operator, o.doubt) for o in outcomes if o.doubt})
    lines += ["", "Where ONNX Runtime departs from the standard, and the NumPy reference was asked instead:", ""]
    lines += [f"- {name}: {why}." for name, why in doubts]
    others = sorted((n, s.doubt) for n, s in declared.items() if s.doubt)
    lines += ["", "Where the NumPy reference is wrong, and is not asked:", "", *(f"- {n}: {why}." for n, why in others)]
    left: dict[str, list[str]] = {}
    for name, why in sorted(LEFT_OUT.items()):
        left.setdefault(why, []).append(name)
    lines += ["", "Not swept:", "", *(f"- {', '.join(names)}: {why}." for why, names in left.items())]
    return "\n".join(lines) + "\n"
