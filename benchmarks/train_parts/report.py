"""The figures of training steps as Markdown, and the goals that they are held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.train_parts.engines import BASE, ENGINES, OURS, TRAINER

TITLES = {engine.name: engine.title for engine in ENGINES}


def finish(document: dict[str, Any]) -> dict[str, Any]:
    """Add what follows from the rows: goals and failures."""
    rows = document["tasks"]
    document["goals"] = [goal for row in rows.values() for goal in _goals(row)]
    document["failures"] = [
        f"{row['title']}: {TITLES[name]}: {cell['failure']}"
        for row in rows.values() for name, cell in row["engines"].items() if cell.get("failure")
    ]  # fmt: skip
    return document


def _goals(row: Mapping[str, Any]) -> list[str]:
    """At least the fastest peer's speed and 1.5 times PyTorch eager's; no more memory than whoever does the same."""
    ours = row["engines"].get(OURS, {})
    if "median" not in ours:
        return [f"{row['title']}: a1400 was not measured"]
    made = []
    peers = {name: ratio for name, ratio in ours.get("ratios", {}).items() if not name.startswith("a1400")}
    if peers:
        name = min(peers, key=lambda n: peers[n])
        made.append(_goal(row, f"speed of the fastest peer ({TITLES[name]})", peers[name], 1.0))
    if BASE in peers:
        made.append(_goal(row, f"speed of {TITLES[BASE]}", peers[BASE], 1.5))
    memory = {n: c["peak_memory"] for n, c in row["engines"].items() if c.get("peak_memory")}
    step = row.get("step_memory", {})
    theirs = min((bytes_ for n, bytes_ in memory.items() if n.startswith("keras-")), default=0)
    for what, mine, other in (
        (f"memory of {TITLES[TRAINER]}, of {TITLES[BASE]}'s", memory.get(TRAINER), memory.get(BASE)),
        (f"memory of {TITLES[OURS]}, of the smallest Keras's", memory.get(OURS), theirs),
        (f"memory of the step alone, of {TITLES[BASE]}'s", step.get(TRAINER), step.get(BASE)),
    ):
        if mine and other:
            share = mine / other
            met = "met" if share <= 1 else "**not met**"
            made.append(f"{row['title']}: {what}: at most 1.00x; {share:.2f}x: {met}")
    return made


def _goal(row: Mapping[str, Any], what: str, value: float, bound: float) -> str:
    met = "met" if value >= bound else "**not met**"
    return f"{row['title']}: {what}: at least {bound:.2f}x; {value:.2f}x: {met}"


def markdown(document: Mapping[str, Any]) -> str:
    """A table a task."""
    facts = document["facts"]
    changes = " with changes" if facts.get("changed_files") else ""
    lines = [
        f"# Training steps: {facts['device']}, {facts['threads']} threads, fp32", "",
        f"{facts['date']}, commit {facts.get('commit', 'unknown')[:12]}{changes}. "
        + "; ".join(f"{name} {version}" for name, version in facts["versions"].items()) + ".",
    ]  # fmt: skip
    for row in document["tasks"].values():
        lines += ["", f"## {row['title']} ({row['flops'] * 1e-9:.1f} GFLOP)", ""]
        head = ["engine", "ms", "GFLOP/s", "of PyTorch eager's speed", "cold / warm start, s", "MB", "loss apart"]
        lines += [f"| {' | '.join(head)} |", f"| --- {'| --: ' * (len(head) - 1)}|"]
        lines += [_row(TITLES[name], cell) for name, cell in row["engines"].items()]
        if step := row.get("step_memory"):
            told = ", ".join(f"{TITLES[name]} {bytes_ / 1e6:.1f} MB" for name, bytes_ in step.items() if bytes_)
            lines += ["", f"Memory of the step alone - weights, optimizer, activations, gradients: {told}."]
    lines += ["", "## Goals", "", *(f"- {goal}" for goal in document["goals"])]
    if document["failures"]:
        lines += ["", "## Failures", "", *(f"- {text}" for text in document["failures"])]
    return "\n".join(lines) + "\n"


def _row(title: str, cell: Mapping[str, Any]) -> str:
    if "median" not in cell:
        return f"| {title} | failed |  |  |  |  |  |"
    spread = (cell["high"] - cell["low"]) / 2 / cell["median"]
    starts = [cell["start"][kind] for kind in ("cold", "warm")] if "start" in cell else []
    seconds = " / ".join(f"{s['imports'] + s['load'] + s['first_run']:.1f}" for s in starts)
    memory = f"{cell['peak_memory'] / 1e6:.0f}" if cell.get("peak_memory") else ""
    ratio = f"**{cell['ratio']:.2f}**" if "ratio" in cell else ""
    apart = f"{cell['error']:.1e}" if "error" in cell else ""
    return (
        f"| {title} | {cell['median'] * 1e3:.3g} ±{spread:.0%} | {cell['gflops']:.0f} | {ratio} | {seconds} | {memory} "
        f"| {apart} |"
    )
