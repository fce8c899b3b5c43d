"""The table of passes and the order in which they run."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from a1400.backends.base import DeviceInfo
from a1400.graph.graph import Graph
from a1400.optimizer.algebra import algebra
from a1400.optimizer.batch_norm import batch_norm_folding
from a1400.optimizer.channel_mixing import channel_mixing
from a1400.optimizer.cse import common_subexpressions
from a1400.optimizer.flattening import flattening
from a1400.optimizer.folding import constant_folding, dead_code
from a1400.optimizer.fusion import fusion
from a1400.optimizer.layout import layout
from a1400.optimizer.memo import Memo, canonicalise
from a1400.optimizer.merging import merging
from a1400.optimizer.precision import NARROW, PRECISIONS, narrow_storage
from a1400.optimizer.recognition import recognition
from a1400.optimizer.report import PassResult, Report
from a1400.optimizer.rewriter import Context
from a1400.optimizer.row_moves import row_moves
from a1400.optimizer.shape_folding import shape_folding
from a1400.optimizer.winograd import winograd

Pass = Callable[[Context], None]

#: name -> (pass, what it does in one line), in the order of first running
PASSES: dict[str, tuple[Pass, str]] = {
    "dead_code": (dead_code, "drop nodes that no output needs"),
    "constant_folding": (constant_folding, "compute what depends on constants only, once per model"),
    "shape_folding": (shape_folding, "remove and merge reshapes, transposes, expands, slices, pads and casts"),
    "algebra": (algebra, "simplify arithmetic: neutral operands, powers, divisions by constants, casts, clips"),
    "common_subexpressions": (common_subexpressions, "compute equal expressions once"),
    "recognition": (recognition, "find LayerNorm, RMSNorm, softmax, attention and GroupNorm written out as primitives"),
    "layout": (layout, "sink transposes until they cancel"),
    "flattening": (flattening, "reorder a product's weights instead of transposing what it flattens"),
    "batch_norm_folding": (batch_norm_folding, "fold per-channel factors and shifts into weights and one bias"),
    "channel_mixing": (channel_mixing, "move 1x1 convolutions in front of the resizing of their input"),
    "row_moves": (row_moves, "gather rows once instead of slicing and concatenating them several times"),
    "merging": (merging, "make one product of several that multiply the same rows by constants"),
    "fusion": (fusion, "fuse pointwise nodes; attach them to the kernels that make or read their data"),
    "winograd": (winograd, "let 3 x 3 convolutions take the way with fewer multiplications, where that is faster"),
}

#: passes open opportunities for each other, so some run more than once
SCHEDULE = (
    "dead_code", "constant_folding", "shape_folding", "algebra", "common_subexpressions", "recognition",
    "layout", "shape_folding", "recognition", "layout", "shape_folding",
    "flattening", "batch_norm_folding", "channel_mixing", "common_subexpressions", "row_moves", "merging", "fusion",
    "dead_code", "winograd",
)  # fmt: skip


def optimize(
    graph: Graph, *, disable: Collection[str] = (), memo: dict[Any, Any] | None = None, info: DeviceInfo | None = None,
    precision: str = "fp32", until: str | None = None,
) -> Report:  # fmt: skip
    """Optimise ``graph`` in place and say what was done.

    ``disable`` names passes (keys of :data:`PASSES`) to leave out.  ``memo`` is a dict that lives as long as the model:
    constants computed from weights are kept in it, so that another trace of the same model finds the same array
    objects.  Names, dtypes and shapes of the graph's outputs stay; values change by rounding at most.  ``precision``
    "fp16" or "bf16" stores float32 tensors so (:mod:`a1400.optimizer.precision`); "fp32" and "tf32" are no matter here.
    ``until`` names a pass whose first run is the last: gradients want ops recognised and nothing fused yet
    (``until="recognition"``).

    Raises :class:`ValueError` for an unknown pass name or precision.
    """
    disable = [disable] if isinstance(disable, str) else disable
    unknown = sorted({*disable, *([until] if until else ())} - set(PASSES))
    if unknown:
        raise ValueError(f"no pass is called {', '.join(map(repr, unknown))}; the passes are {', '.join(PASSES)}")
    if precision not in PRECISIONS:
        raise ValueError(f"no precision is called {precision!r}; there are {', '.join(PRECISIONS)}")
    report = Report(disabled=tuple(name for name in PASSES if name in disable))
    shared = Memo(memo)
    canonicalise(graph, shared)
    version, seen = 0, dict.fromkeys(PASSES, -1)
    for name in SCHEDULE if until is None else SCHEDULE[: SCHEDULE.index(until) + 1]:
        # a pass that ran on the very same graph has nothing to add
        if name in disable or seen[name] == version:
            continue
        result = _run(PASSES[name][0], Context(graph, shared, info, PassResult(name)))
        report.passes.append(result)
        version += result.rewrites > 0
        seen[name] = version
    if precision in NARROW:
        narrow = NARROW[precision]

        def last(ctx: Context) -> None:
            report.narrowing = narrow_storage(ctx, narrow)
            ctx.count(report.narrowing.values + report.narrowing.weights)
            ctx.result.notes.append(str(report.narrowing))

        report.passes.append(_run(last, Context(graph, shared, info, PassResult("precision"))))
    return report


def _run(step: Pass, ctx: Context) -> PassResult:
    ctx.result.nodes_before, start = len(ctx.graph.nodes), time.perf_counter()
    step(ctx)
    ctx.result.seconds, ctx.result.nodes_after = time.perf_counter() - start, len(ctx.graph.nodes)
    return ctx.result
