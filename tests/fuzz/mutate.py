"""What mutations share: the parts of a model, hostile values, and the table of mutations.

A mutation takes a :class:`Draft` and a ``random.Random`` (Hypothesis's, which it can shrink) and changes the draft.
Those of ``KEEPING`` leave the model valid and its answer as it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx

from tests.fuzz.case import MARK, MODEL, Case

#: stands at places that hostile integers like: edges of types, of sizes and of nothing
INTS = (0, 1, -1, 2, 3, 7, 8, 100, 4096, 65536, 2**20, 10**9, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, -2, -8,
        -(2**31), -(2**63))  # fmt: skip
FLOATS = (0.0, 1.0, -1.0, 0.5, float("nan"), float("inf"), float("-inf"), 1e-45, 1e-30, 1e30, 3e38, -3e38, 1e9, 65504.0,
          2147483648.0)  # fmt: skip
TEXTS = (
    MARK, "", f'{MARK}"; }} int x; //', f"{MARK}*/ #error", f'{MARK}\n#include "/etc/passwd"\n', f"{MARK}\\",
    f"{MARK}%s%n{{}}", f"../{MARK}", f"/{MARK}", f"{MARK}\x00{MARK}", f"{MARK}\u202e\x1b[31m",
    f"{MARK}'); import os; ('", MARK * 2000,
    f"{MARK}[0]", f"{MARK}#0", f"{MARK}.next", f"{MARK}/{MARK}", f"$({MARK})",
)  # fmt: skip


@dataclass
class Draft:
    """A case in the making; ``raw`` replaces the model's bytes once they are mutated as such."""

    model: onnx.ModelProto
    feeds: dict[str, np.ndarray]
    files: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None

    def content(self) -> bytes:
        """The model's bytes."""
        return self.model.SerializeToString() if self.raw is None else self.raw

    def case(self, expected: list[np.ndarray] | None, note: str) -> Case:
        """As it is run."""
        return Case({**self.files, MODEL: self.content()}, self.feeds, self.links, expected, note)


Mutation = Callable[[Draft, random.Random], None]
KEEPING: dict[str, Mutation] = {}
SPOILING: dict[str, Mutation] = {}
#: these work on bytes and so come last
RAW: dict[str, Mutation] = {}


def keeps(mutation: Mutation) -> Mutation:
    """Register a mutation that keeps the answer."""
    KEEPING[mutation.__name__] = mutation
    return mutation


def spoils(mutation: Mutation) -> Mutation:
    """Register one that need not."""
    SPOILING[mutation.__name__] = mutation
    return mutation


def spoils_bytes(mutation: Mutation) -> Mutation:
    """Register one that changes bytes."""
    RAW[mutation.__name__] = mutation
    return mutation


def graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The model's graph and all subgraphs, those in functions too."""
    yield model.graph
    for nodes in (model.graph.node, *(f.node for f in model.functions)):
        for node in nodes:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    yield from _inside(attribute.g)


def _inside(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _inside(attribute.g)


def nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Every node, those of functions and subgraphs too."""
    return [n for g in graphs(model) for n in g.node] + [n for f in model.functions for n in f.node]


def tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Every tensor: initializers and attributes."""
    found = [t for g in graphs(model) for t in g.initializer]
    return found + [a.t for n in nodes(model) for a in n.attribute if a.HasField("t")]


def array_of(tensor: onnx.TensorProto) -> np.ndarray | None:
    """What lies in the tensor; None for what an earlier mutation broke or moved out."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return None
    try:
        return np.array(onnx.numpy_helper.to_array(tensor))
    except Exception:  # whatever onnx throws at a broken tensor
        return None


def names(model: onnx.ModelProto) -> list[str]:
    """Every value's name, in order."""
    found: dict[str, None] = {}
    for graph in graphs(model):
        for each in (*graph.input, *graph.initializer, *graph.output):
            found[each.name] = None
    for node in nodes(model):
        found.update(dict.fromkeys((*node.input, *node.output)))
    return [name for name in found if name]


def hostile(r: random.Random) -> str:
    """A text that means harm."""
    return r.choice(TEXTS)


def integer(r: random.Random) -> int:
    """An integer of either kind."""
    return r.choice(INTS) if r.randrange(3) else r.randrange(-20, 200)


#: those after which most models still load, so that what they do gets as far as it can
_GENTLE = ("change_attribute", "change_attribute", "set_attribute", "change_tensor", "change_tensor", "change_tensor",
           "other_shape", "other_operator", "input_to_tensor", "declare_shape", "change_feed")  # fmt: skip


def mutate(draft: Draft, r: random.Random) -> tuple[bool, str]:
    """Change ``draft`` a little; returns whether its answer is still the seed's, and what was done."""
    keeping, done = r.randrange(6) == 5, []
    table = KEEPING if keeping else SPOILING
    for _ in range(r.randrange(1, 4)):
        name = r.choice(_GENTLE if not keeping and r.randrange(3) else sorted(table))
        table[name](draft, r)
        done.append(name)
    if not keeping and r.randrange(12) == 11:
        name = r.choice(sorted(RAW))
        RAW[name](draft, r)
        done.append(name)
    return keeping, ", ".join(done)
