"""How far curves lie from one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: float64; from first weights that are changed a little; and with Adam's correction of its start in float32
TRUE, NUDGED, BIASED = "float64", "float64-nudged", "float64-bias32"
BOUND = 1e-4


def differences(curves: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Largest relative difference of each curve to each, and where (from 1) each first leaves float64's by 1e-4."""
    arrays = {name: np.asarray(values, np.float64) for name, values in curves.items()}
    apart = {a: {b: _relative(x, y) for b, y in arrays.items()} for a, x in arrays.items()}
    first: dict[str, int | None] = {}
    for name, values in arrays.items():
        over = np.abs(values - arrays[TRUE]) / np.abs(arrays[TRUE]) > BOUND
        first[name] = int(over.argmax()) + 1 if over.any() else None
    return {"apart": apart, "first_over": first}


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    return float((np.abs(a - b) / np.maximum(np.abs(a), np.abs(b))).max())


def markdown(document: Mapping[str, Any]) -> str:
    """A table for each optimizer."""
    facts, titles = document["facts"], document["engines"]
    changes = " with changes" if facts.get("changed_files") else ""
    lines = [
        f"# Loss curves of {document['steps']} steps: {facts['device']}", "",
        f"{facts['date']}, commit {facts.get('commit', 'unknown')[:12]}{changes}. "
        + "; ".join(f"{name} {version}" for name, version in facts["versions"].items()) + ".", "",
        "Largest relative difference of two losses of the same step; the last column tells the step whose loss is the "
        "first more than 1e-4 from float64's.",
    ]  # fmt: skip
    for name, found in document["optimizers"].items():
        engines = [e for e in found["apart"] if e != NUDGED]
        lines += ["", f"## {name}: loss {found['curves'][TRUE][0]:.3f} to {found['curves'][TRUE][-1]:.4f}", ""]
        lines += [f"| | {' | '.join(titles[e] for e in engines)} | over 1e-4 |"]
        lines += [f"| --- {'| --: ' * (len(engines) + 1)}|"]
        for one in found["apart"]:
            cells = ["" if one == other else f"{found['apart'][one][other]:.0e}" for other in engines]
            first = found["first_over"][one]
            lines.append(f"| {titles[one]} | {' | '.join(cells)} | {'never' if first is None else first} |")
    lines += ["", *(f"- {text}" for text in document["verdicts"])]
    if document["left_out"]:
        lines += ["", *(f"- left out: {text}" for text in document["left_out"])]
    return "\n".join(lines) + "\n"


def verdicts(found: Mapping[str, Any]) -> list[str]:
    """What the differences say, for each optimizer."""
    made = []
    for name, one in found.items():
        engines = [e for e in one["apart"] if e not in (TRUE, NUDGED, BIASED)]
        ours = max((one["apart"][e][TRUE] for e in engines if e.startswith("a1400")), default=0.0)
        theirs = [one["apart"][e][TRUE] for e in engines if not e.startswith("a1400")]
        least = f"the other float32 engines {min(theirs):.0e} to {max(theirs):.0e}" if theirs else "no other was there"
        holds = "holds" if ours <= BOUND else "does not hold"
        made.append(
            f"{name}: a1400 is at most {ours:.0e} from float64's curve, {least}; first weights changed by one part in "
            f"2**24, in float64, move it by {one['apart'][NUDGED][TRUE]:.0e}. 1e-4 {holds}."
        )
        moved = one["apart"][BIASED][TRUE]
        if moved > BOUND:
            ours = max((one["apart"][e][BIASED] for e in engines if e.startswith("a1400")), default=0.0)
            theirs = [one["apart"][e][BIASED] for e in engines if not e.startswith("a1400")]
            made[-1] += (
                f" Adam's correction of its start, computed in float32 as Keras does, alone moves float64's curve by "
                f"{moved:.0e}; from that one a1400 is {ours:.0e} away, the others {min(theirs, default=0):.0e} to "
                f"{max(theirs, default=0):.0e}."
            )
    return made
