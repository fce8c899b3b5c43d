"""Bars of each engine's speed beside ONNX Runtime's, as a PNG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.cpu_parts.engines import BASE
from benchmarks.cpu_parts.report import TITLES, engines_of

_COLOURS = {
    "a1400-intel": "#c2185b", "a1400-pocl": "#f48fb1", "openvino": "#3f6fb5", "torch": "#e8833a",
    "torch-compile": "#f3c08f", "tinygrad": "#8d8d8d",
}  # fmt: skip
#: bars below this share of ONNX Runtime's speed are cut off there
_LEAST = 1 / 16


def draw(document: Mapping[str, Any], path: Path) -> None:
    """Write the picture; raises ImportError where matplotlib is not installed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    rows = document["models"]
    engines = [name for name in engines_of(rows) if name != BASE]
    height = 0.8 / max(1, len(engines))
    figure, axes = pyplot.subplots(figsize=(9, 1.6 + max(1, len(rows)) * (0.16 * len(engines) + 0.14)))
    for index, engine in enumerate(engines):
        ratios = [row["engines"].get(engine, {}).get("ratio") for row in rows.values()]
        places = [i + (index + 0.5) * height - 0.4 for i, value in enumerate(ratios) if value is not None]
        values = [max(value, _LEAST * 1.02) for value in ratios if value is not None]
        bars = axes.barh(places, [v - 1 for v in values], height, left=1, label=TITLES.get(engine, engine),
                         color=_COLOURS.get(engine))  # fmt: skip
        if engine.startswith("a1400"):
            shown = [f"{value:.2f}" for value in ratios if value is not None]
            for bar, text, value in zip(bars, shown, values):
                axes.annotate(text, (value, bar.get_y() + height / 2), (3 if value >= 1 else -3, 0), va="center",
                              textcoords="offset points", fontsize=6, ha="left" if value >= 1 else "right")  # fmt: skip
    axes.set_xscale("log", base=2)
    found = [c["ratio"] for row in rows.values() for c in row["engines"].values() if c.get("ratio")]
    axes.set_xlim(max(_LEAST, min([0.5, *(r / 1.3 for r in found)])), max([2.0, *(r * 1.25 for r in found)]))
    axes.xaxis.set_major_locator(FixedLocator([2.0**i for i in range(-4, 5)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(rows)), [row["title"] for row in rows.values()], fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="x", linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)
    facts = document["facts"]
    axes.set_title(f"Speed beside ONNX Runtime (1x), fp32, batch 1, {facts['threads']} threads\n"
                   f"{facts['device']}, {facts['date'][:10]}", fontsize=9)  # fmt: skip
    if engines:
        axes.legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
