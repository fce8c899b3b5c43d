"""The figures of a run as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.cpu_parts import goals
from benchmarks.cpu_parts.engines import BASE, ENGINES, OURS

TITLES = {engine.name: engine.title for engine in ENGINES}


def finish(document: dict[str, Any]) -> dict[str, Any]:
    """Add what follows from the rows: means, goals, failures."""
    rows = document["models"]
    document["means"] = goals.means(rows, engines_of(rows))
    document["goals"] = goals.check(rows)
    document["failures"] = [
        f"{name}: {TITLES.get(engine, engine)}: {cell['failure']}"
        for name, row in rows.items() for engine, cell in row["engines"].items() if cell.get("failure")
    ] + list(document.get("problems", []))  # fmt: skip
    return document


def engines_of(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Engines that appear in any row, ours first."""
    there = dict.fromkeys(name for row in rows.values() for name in row["engines"])
    order = list(TITLES)
    return sorted(there, key=lambda name: order.index(name) if name in order else len(order))


def markdown(document: Mapping[str, Any]) -> str:
    """All tables."""
    facts, rows = document["facts"], document["models"]
    engines = engines_of(rows)
    peaks = [row["peak_gflops"] for row in rows.values() if row.get("peak_gflops")]
    changes = " with changes" if facts.get("changed_files") else ""
    commit = facts.get("commit", "unknown")[:12] + changes
    lines = [
        f"# {facts['device']}, {facts['threads']} threads, fp32, batch 1", "",
        f"{facts['date']}, commit {commit}. "
        + "; ".join(f"{name} {version}" for name, version in facts["versions"].items()) + ".",
    ]  # fmt: skip
    if peaks:
        low, high = min(peaks), max(peaks)
        lines += ["", f"Measured fp32 peak: {low:.0f} to {high:.0f} GFLOP/s, in the same rounds as each model."]
    lines += ["", "## Speed", "", *_speed(rows, engines)]
    lines += ["", "## Start-up, memory, launches", "", *_starts(rows, engines)]
    lines += ["", "## Largest error of the output's scale", "", *_errors(rows, engines)]
    if document["means"]:
        lines += ["", "## Geometric means", "", *_means(document["means"])]
    lines += ["", "## Goals", "", *(f"- {sentence(one)}" for one in document["goals"])]
    if document["failures"]:
        lines += ["", "## Failures", "", *(f"- {text}" for text in document["failures"])]
    if document.get("left_out"):
        lines += ["", f"Left out, as time was up: {', '.join(document['left_out'])}."]
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *["--:"] * (len(head) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *body)]


def _speed(rows: Mapping[str, Any], engines: Sequence[str]) -> list[str]:
    others = [name for name in engines if name not in OURS]
    ours = [name for name in engines if name in OURS]
    head = ["model (GFLOP)"]
    for name in ours:
        head += [f"{TITLES[name]}, ms", "GFLOP/s", "of peak"]
    head += [f"{TITLES.get(name, name)}, ms" for name in others]
    head += [f"{TITLES[name]}: of ONNX Runtime's speed" for name in ours]
    body = []
    for row in rows.values():
        cells = row["engines"]
        line = [f"{row['title']} ({row['flops'] * 1e-9:.3g})"]
        for name in ours:
            cell = cells.get(name, {})
            line += [_time(cell), _number(cell.get("gflops"), ".0f"), _number(cell.get("of_peak"), ".0%")]
        line += [_time(cells.get(name, {})) for name in others]
        line += [_ratio(cells.get(name, {}).get("ratio")) for name in ours]
        body.append(line)
    return _table(head, body)


def _starts(rows: Mapping[str, Any], engines: Sequence[str]) -> list[str]:
    head = ["model", *(f"{TITLES.get(n, n)}: cold / warm s, MB" for n in engines)]
    head += [f"{TITLES[n]}: launches, programs" for n in engines if n in OURS]
    body = []
    for row in rows.values():
        line = [row["title"]]
        for name in engines:
            cell = row["engines"].get(name, {})
            cold, warm = (_number(goals.ready(cell, kind), ".2f") or "-" for kind in ("cold", "warm"))
            memory = f", {cell['peak_memory'] / 1e6:.0f}" if cell.get("peak_memory") else ""
            line.append(f"{cold} / {warm}{memory}" if cell.get("start") else "")
        for name in engines:
            if name in OURS:
                cell = row["engines"].get(name, {})
                line.append(f"{cell['launches']}, {cell['programs']}" if "launches" in cell else "")
        body.append(line)
    return _table(head, body)


def _errors(rows: Mapping[str, Any], engines: Sequence[str]) -> list[str]:
    head = ["model"]
    for name in engines:
        title = TITLES.get(name, name)
        head += [f"{title} to float64"] + ([f"{title} to ONNX Runtime"] if name != BASE else [])
    body = []
    for row in rows.values():
        line = [row["title"]]
        for name in engines:
            cell = row["engines"].get(name, {})
            line.append(_number(cell.get("error_reference"), ".1e"))
            if name != BASE:
                line.append(_number(cell.get("error"), ".1e"))
        body.append(line)
    return _table(head, body)


def _means(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    body = []
    for name, one in found.items():
        lowest = f"{one['lowest']:.2f} ({one['lowest_model']})"
        body.append([TITLES.get(name, name), f"{one['mean']:.2f}", str(one["models"]), lowest])
    return _table(["engine", "of ONNX Runtime's speed", "models", "lowest"], body)


def sentence(goal: Mapping[str, Any]) -> str:
    """A goal, what was measured, and whether that meets it."""
    most = "most" in goal
    bound = goal["most" if most else "least"]
    asked = f"{goal['goal']}: at {'most' if most else 'least'} {_plain(bound)}{goal['unit']}"
    if goal["measured"] is None:
        return f"{asked}; not measured"
    of = f" ({goal['of']})" if goal["of"] else ""
    return f"{asked}; {_plain(goal['measured'])}{goal['unit']}{of}: {'met' if goal['met'] else '**not met**'}"


def _plain(value: float) -> str:
    return f"{value:.2f}" if value >= 0.01 else f"{value:.1e}"


def _time(cell: Mapping[str, Any]) -> str:
    """Median in ms with half of the middle half as its spread."""
    if "median" not in cell:
        return "failed" if cell.get("failure") else ""
    spread = (cell["high"] - cell["low"]) / 2 / cell["median"]
    return f"{cell['median'] * 1e3:.3g} ±{spread:.0%}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"**{value:.2f}**"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
