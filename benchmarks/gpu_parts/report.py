"""From seconds to figures: rates, ratios to other engines and to the machine's ceilings, goals, and the tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

Document = dict[str, Any]


def finish(document: Document) -> Document:
    """Add what follows from the seconds: see ``benchmarks/README.md`` for what each figure means."""
    parts = document["parts"]
    limits = ceilings(document)
    document["ceilings"] = limits
    for part in parts.values():
        for row in part["rows"]:
            derive(row, limits)
    document["goals"] = goals(parts)
    document["failures"] = [
        f"{name}: {row['row']}: {row['failure']}" for name, part in parts.items() for row in part["rows"]
        if row.get("failure")
    ] + [f"{name}: {problem}" for name, part in parts.items() for problem in part["problems"]]  # fmt: skip
    return document


def ceilings(document: Document) -> dict[str, float]:
    """Bytes per second of a copy (``copy``), and the most operations per second any library product reached."""
    limits: dict[str, float] = {}
    for name, part in document["parts"].items():
        if name not in ("ceilings", "gemm"):
            continue
        for row in part["rows"]:
            for engine, timing in row.get("seconds", {}).items():
                if engine == "copy":
                    limits["copy"] = max(limits.get("copy", 0.0), row["bytes"] / timing["median"])
                elif engine != "a1400" and row["flops"] and not row.get("failure"):
                    rate = row["flops"] / timing["median"]
                    limits[row["dtype"]] = max(limits.get(row["dtype"], 0.0), rate)
    return limits


def derive(row: dict[str, Any], limits: dict[str, float]) -> None:
    """Add rates of every engine, the best other engine and the ratios to ``row``."""
    seconds = {engine: timing["median"] for engine, timing in row.get("seconds", {}).items()}
    if not seconds or not all(value > 0 for value in seconds.values()):
        return
    if row.get("flops"):
        row["tflops"] = {engine: row["flops"] / value * 1e-12 for engine, value in seconds.items()}
    if row.get("bytes"):
        row["gbps"] = {engine: row["bytes"] / value * 1e-9 for engine, value in seconds.items()}
    ours = seconds.get("a1400")
    if ours is None:
        return
    peers = {e: v for e, v in seconds.items() if e not in ("a1400", "a1400, host arrays")}
    if peers:
        row["peer"] = min(peers, key=lambda engine: peers[engine])
        row["ratio_to_peer"] = peers[row["peer"]] / ours
    floor = least_seconds(row, limits)
    if floor is not None:
        row["ratio_to_ceiling"] = floor / ours


def least_seconds(row: dict[str, Any], limits: dict[str, float]) -> float | None:
    """The time that the measured ceilings allow: for the bytes, and for the operations; None if one is not known."""
    wanted = [(row.get("bytes"), limits.get("copy")), (row.get("flops"), limits.get(row.get("dtype", "")))]
    needed = [(amount, limit) for amount, limit in wanted if amount]
    if not needed or any(limit is None for _, limit in needed):
        return None
    return max(amount / limit for amount, limit in needed)


def goals(parts: dict[str, Any]) -> list[dict[str, Any]]:
    """The project's goals for a GPU, each with what was measured (None: it was not)."""

    def least(part: str, key: str, chosen: str = "") -> float | None:
        rows = [r for r in parts.get(part, {"rows": []})["rows"] if r["row"].startswith(chosen)]
        values = [0.0 if r.get("failure") else r[key] for r in rows if key in r or r.get("failure")]
        return min(values, default=None)

    largest = "8192 x 8192 x 8192, bf16"
    wanted = (
        ("bf16 product of 8192, of the fastest library", 0.80, least("gemm", "ratio_to_peer", largest)),
        ("softmax and layer norm, of the copy bandwidth (least)", 0.85, least("memory", "ratio_to_ceiling")),
        ("attention over 4096, of PyTorch (least)", 0.60, least("attention", "ratio_to_peer", "length 4096,")),
    )
    return [
        {"goal": text, "least": bound, "measured": value, "met": None if value is None else value >= bound}
        for text, bound, value in wanted
    ]


def show(document: Document, console: Console) -> None:
    """Print the tables."""
    facts = document["facts"]
    changes = " with changes" if facts.get("changed_files") else ""
    driver = facts.get("driver", facts["cuda_driver_api"])
    commit = facts.get("commit", "unknown")[:12] + changes
    _line(console, f"{facts['device']}, driver {driver}, {facts['date']}, commit {commit}")
    for name, part in document["parts"].items():
        console.print()
        _line(console, name, "bold")
        for note in part["notes"]:
            _line(console, f"note: {note}")
        if part["rows"]:
            tests = any("passed" in row for row in part["rows"])
            console.print(_tests(part["rows"]) if tests else _figures(part["rows"]))
        for problem in part["problems"]:
            _line(console, f"problem: {problem}", "red")
        if part["left_out"]:
            _line(console, f"left out, as time was up: {len(part['left_out'])} rows", "yellow")
    console.print()
    for goal in document["goals"]:
        said = {None: "not measured", True: "met", False: "NOT met"}[goal["met"]]
        value = "" if goal["measured"] is None else f"{goal['measured']:.0%}: "
        _line(console, f"goal: {goal['goal']} at least {goal['least']:.0%}: {value}{said}")
    for failure in document["failures"]:
        _line(console, f"FAILED {failure}", "red")


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style), soft_wrap=True)


def _tests(rows: list[dict[str, Any]]) -> Table:
    made = _table("tests", "passed", "failed", "skipped", "seconds", "")
    for row in rows:
        counts = [str(row.get(key, "")) for key in ("passed", "failed", "skipped")]
        made.add_row(row["row"], *counts, f"{row.get('wall', 0):.0f}", row.get("failure", ""))
    return made


def _table(*columns: str) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index, name in enumerate(columns):
        right = 0 < index < len(columns) - 1
        made.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="fold")
    return made


def _figures(rows: list[dict[str, Any]]) -> Table:
    made = _table("what", "a1400", "spread", "rate", "other engines", "of best", "of ceiling", "error", "")
    for row in rows:
        seconds = row.get("seconds", {})
        ours = seconds.get("a1400")
        others = [f"{e} {_time(t['median'])}{_rate(row, e, ' ')}" for e, t in seconds.items() if t is not ours]
        made.add_row(
            Text(row["row"]), _time(ours["median"]) if ours else "", _spread(ours) if ours else "",
            _rate(row, "a1400"), Text("\n".join(others)), _share(row.get("ratio_to_peer")),
            _share(row.get("ratio_to_ceiling")), f"{row['error']:.0e}" if "error" in row else "", Text(_remark(row)),
        )  # fmt: skip
    return made


def _remark(row: dict[str, Any]) -> str:
    """A failure, else what could not be timed, else the kernels."""
    if row.get("failure"):
        return f"FAILED: {row['failure']}"
    missing = [f"{engine} not timed: {why[:80]}" for engine, why in row.get("not_timed", {}).items()]
    missing += [f"not checked: {row['unchecked']}"] if "unchecked" in row else []
    return "; ".join([*missing, ", ".join(row.get("kernels", []))]).strip("; ")


def _rate(row: dict[str, Any], engine: str, before: str = "") -> str:
    memory = row.get("bound") == "memory" or (not row.get("flops") and row.get("bytes"))
    rates, unit = (row.get("gbps", {}), "GB/s") if memory else (row.get("tflops", {}), "TFLOP/s")
    if engine in row.get("per_second", {}):
        return f"{before}{row['per_second'][engine]:.4g}/s"
    return f"{before}{rates[engine]:.4g} {unit}" if engine in rates else ""


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _spread(timing: dict[str, Any]) -> str:
    """Half of the middle half, relative to the median."""
    return f"±{(timing['high'] - timing['low']) / 2 / timing['median']:.1%}" if timing["median"] else ""


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds * 1e6:.4g} µs"
