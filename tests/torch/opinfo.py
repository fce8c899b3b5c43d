"""PyTorch's own database of operators (``op_db``) against this package: ``python -m tests.torch.opinfo``.

For every operator with float32 samples: does the forward pass agree with eager PyTorch, do the gradients.  By default
through the graph's NumPy references, which is quick; ``--device`` compiles and runs every sample.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.fx import GraphModule
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils import _pytree as pytree

from tests.torch.tracing import compiled

#: what has no samples worth comparing: results are random, or hold whatever memory held
RANDOM = {
    "bernoulli", "cauchy", "empty", "empty_like", "empty_permuted", "empty_strided", "exponential", "geometric",
    "log_normal", "multinomial", "new_empty", "new_empty_strided", "nn.functional.alpha_dropout",
    "nn.functional.dropout", "nn.functional.dropout2d", "nn.functional.dropout3d",
    "nn.functional.feature_alpha_dropout", "nn.functional.fractional_max_pool2d",
    "nn.functional.fractional_max_pool3d", "nn.functional.rrelu", "normal", "rand_like", "randint", "randint_like",
    "randn", "randn_like", "torch.ops.aten._flash_attention_forward", "uniform", "pca_lowrank", "svd_lowrank",
    "nn.functional.multi_head_attention_forward",
}  # fmt: skip


class _TooSlow(Exception):
    pass


def _alarm(*_: object) -> None:
    raise _TooSlow()


def _tensors(tree: Any) -> tuple[list[torch.Tensor], Callable[[list[torch.Tensor]], Any]]:
    leaves, spec = pytree.tree_flatten(tree)
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]

    def rebuild(tensors: list[torch.Tensor]) -> Any:
        filled = list(leaves)
        for place, tensor in zip(places, tensors):
            filled[place] = tensor
        return pytree.tree_unflatten(filled, spec)

    return [leaves[i] for i in places], rebuild


def forward_of(op: Any, sample: Any) -> tuple[Callable[..., list[torch.Tensor]], list[torch.Tensor]]:
    """The operator on the sample as a function of its tensors."""
    inputs, rebuild = _tensors((sample.input, sample.args, sample.kwargs))

    def function(*tensors: torch.Tensor) -> list[torch.Tensor]:
        first, args, kwargs = rebuild(list(tensors))
        return _tensors(op(first, *args, **kwargs))[0]

    return function, [x.detach() for x in inputs]


def with_gradients(
    function: Callable[..., list[torch.Tensor]], inputs: list[torch.Tensor]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Results, and the gradients of a weighted sum of them."""
    leaves = [x.detach().clone().requires_grad_() if x.is_floating_point() else x.clone() for x in inputs]
    results = [y for y in function(*leaves) if y.requires_grad]
    if not results:
        return [], []
    generator = torch.Generator().manual_seed(0)
    weights = [torch.rand(y.shape, generator=generator, dtype=y.dtype) for y in results]
    found = torch.autograd.grad(results, [x for x in leaves if x.requires_grad], weights, allow_unused=True)
    return results, [g for g in found if g is not None]


def agrees(made: list[Any], wanted: list[torch.Tensor], scale: float) -> str:
    """Empty, or how they differ."""
    if len(made) != len(wanted):
        return f"{len(made)} results for {len(wanted)}"
    for a, b in zip(made, wanted):
        if not isinstance(a, torch.Tensor):
            return f"{a!r} for a tensor"
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            return f"{a.dtype}{list(a.shape)} for {b.dtype}{list(b.shape)}"
        try:
            torch.testing.assert_close(a, b, rtol=scale, atol=scale, equal_nan=True)
        except AssertionError as error:
            return " ".join(str(error).split())[:160]
    return ""


def _try(
    function: Callable[..., Any], inputs: list[torch.Tensor], device: Any, gradients: bool
) -> tuple[str, str, bool]:
    """("ok" | "differs" | "unsupported" | "failed" | "slow" | "none"), why, whether all of it is core ATen."""
    seen: list[GraphModule] = []

    def run(f: Callable[..., Any]) -> list[torch.Tensor]:
        return with_gradients(f, inputs)[1] if gradients else list(f(*(x.clone() for x in inputs)))

    def core() -> bool:
        targets = {n.target for m in seen for n in m.graph.nodes if isinstance(n.target, torch._ops.OpOverload)}
        return all(torch.Tag.core in t.tags for t in targets)

    try:
        wanted = run(function)
        if not wanted:
            return "none", "", True
        made = run(compiled(function, device, seen))
        why = agrees(made, wanted, 1e-3 if gradients else 1e-4)
        return ("differs", why, core()) if why else ("ok", "", core())
    except _TooSlow:
        return "slow", "took too long", core()
    except Exception as error:
        text = " | ".join(str(error).splitlines()[1:] or str(error).splitlines())[:200]
        last = traceback.extract_tb(error.__traceback__)[-1]
        kind = "unsupported" if type(error).__name__ == "UnsupportedNodesError" else "failed"
        return kind, f"{type(error).__name__}: {text} @{Path(last.filename).name}:{last.lineno}", core()


def check(op: Any, samples: int, device: Any, gradients: bool, seconds: int) -> dict[str, Any]:
    """Counts of one operator's samples."""
    found: dict[str, Any] = {"forward": Counter(), "gradient": Counter(), "core": True, "why": {}}
    for sample in itertools.islice(op.sample_inputs("cpu", torch.float32, requires_grad=False), samples):
        function, inputs = forward_of(op, sample)
        for direction in ("forward", "gradient") if gradients and op.supports_autograd else ("forward",):
            signal.alarm(seconds)
            kind, why, core = _try(function, inputs, device, direction == "gradient")
            signal.alarm(0)
            if kind == "none":
                continue
            found[direction][kind] += 1
            if direction == "forward":
                found["core"] = found["core"] and core
            if why:
                found["why"].setdefault(f"{direction} {kind}", why)
    return found


def main() -> None:
    """Print the counts and write what failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=10**6, help="of each operator, at most")
    parser.add_argument("--only", default="", help="operators whose name holds this")
    parser.add_argument("--shard", default="0/1", help="i/n: every n-th operator from the i-th on")
    parser.add_argument("--device", default=None, help="run on this device instead of the references")
    parser.add_argument("--no-gradients", action="store_true")
    parser.add_argument("--seconds", type=int, default=20, help="for one sample")
    parser.add_argument("--output", type=Path, default=None, help="a JSON file for the details")
    parser.add_argument("--report", nargs="+", type=Path, help="only print what is in these files of --output")
    args = parser.parse_args()
    if args.report:
        report({name: row for path in args.report for name, row in json.loads(path.read_text()).items()})
        return
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _alarm)
    device = None
    if args.device is not None:
        from a1400.backends.registry import choose

        device = choose(None, args.device)
    index, count = (int(n) for n in args.shard.split("/"))
    chosen = [op for op in op_db if args.only in op.name and torch.float32 in op.supported_dtypes("cpu")]
    chosen = [op for op in chosen if op.name not in RANDOM][index::count]
    table: dict[str, Any] = {}
    start = time.time()
    for op in chosen:
        name = op.name + (f".{op.variant_test_name}" if op.variant_test_name else "")
        try:
            table[name] = check(op, args.samples, device, not args.no_gradients, args.seconds)
        except Exception as error:
            signal.alarm(0)
            why = {"samples": repr(error)[:200]}
            table[name] = {"forward": {"failed": 1}, "gradient": {}, "core": False, "why": why}
        if args.output is not None:
            args.output.write_text(json.dumps(table, indent=1))
    report(table)
    print(f"{time.time() - start:.0f} s")


def report(table: dict[str, Any]) -> None:
    """Print counts, of all operators and of those that are core ATen throughout."""
    for name, row in sorted(table.items()):
        for kind, why in row["why"].items():
            print(f"{name:45} {kind:22} {why}")
    for label, rows in (("all", list(table.values())), ("core ATen", [r for r in table.values() if r["core"]])):
        for direction in ("forward", "gradient"):
            total: Counter[str] = Counter()
            for row in rows:
                total.update(row[direction])
            share = total["ok"] / max(sum(total.values()), 1)
            whole = sum(bool(r[direction]) and set(r[direction]) == {"ok"} for r in rows)
            print(f"{label}, {direction}: {share:.1%} of samples agree {dict(total)}; "
                  f"{whole} of {sum(bool(r[direction]) for r in rows)} operators whole")  # fmt: skip


if __name__ == "__main__":
    main()
