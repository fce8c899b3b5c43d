"""Every operator's work is done where its registration says: numbers on the device, strings and items on the host."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

from a1400 import onnx_backend
from a1400.backends.base import DeviceInfo
from a1400.engine.explain import Explanation
from a1400.errors import A1400Error
from a1400.frontends.onnx.ops.registry import Runs, runs, supported
from a1400.graph.graph import Graph
from a1400.ops import OPS
from tests.frontends import building, test_microsoft, test_onnx_learned
from tests.onnx_suite import known
from tests.onnx_suite.cases import node_cases

Operator = tuple[str, str]
#: what ``explain`` may say of an operator's nodes
ALLOWED = {
    # where there is nothing to compute a node is a view, or an answer that follows from shapes
    "device": {"device", "device and host", "view", "shapes", "folded at load"},
    "view": {"view", "shapes", "device and host"},
    "shapes": {"shapes", "folded at load", "host"},
    "host": {"host"},
    "device and host": {"device", "device and host", "host", "view", "shapes", "folded at load"},
}
#: and what it must say of at least one of them
PROOF = {
    "device": {"device", "device and host"}, "view": {"view"}, "shapes": {"shapes", "host", "folded at load"},
    "host": {"host"}, "device and host": {"device", "device and host", "host", "view"},
}  # fmt: skip


def operators(model: onnx.ModelProto) -> set[Operator]:
    """The operators of a model's own graph."""
    return {("" if n.domain == "ai.onnx" else n.domain, n.op_type) for n in model.graph.node}


def test_cases_of_the_suite(device_info: DeviceInfo) -> None:
    """With what ``explain`` tells of plans, for each operator that the suite has cases of."""
    failing, cases = known.read(), defaultdict(list)
    for case in node_cases():
        for operator in operators(case.model) if case.name not in failing else ():
            cases[operator].append(case)
    departures = []
    for operator, found in sorted(cases.items()):
        declared, seen = runs(*operator), set[str]()
        # cases of this operator alone first: what stands around it can take its work away
        for number, case in enumerate(sorted(found, key=lambda c: (len(c.model.graph.node), c.name))):
            if seen & PROOF[declared.place] and (number >= 2 or len(case.model.graph.node) > 1):
                break
            prepared = onnx_backend.prepare(case.model, device_info.id)
            given = case.data_sets[0][0]
            prepared.run([onnx.numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else x for x in given])
            story = prepared.model.explain().to_dict()
            places = {p["where"].partition(":")[0] for p in story["placement"].values() if p["op"] == operator[1]}
            assert len(story["placement"]) == sum(story["places"].values())
            if not places & {"device", "device and host"} and len(story["placement"]) == 1:
                nobodys = [kernel for kernel in story["kernels"] if not kernel.startswith("pointwise_")]  # no copies
                assert not nobodys, f"{case.name}: {nobodys} serve no node"
            departures += departs(operator, declared, places - {"unused"}, case.name)
            seen |= places
        if not seen & PROOF[declared.place]:
            departures.append(f"{operator} is said to run as {declared.place}, and is only seen as {seen}")
    assert not departures, "\n".join(departures)


def departs(operator: Operator, declared: Runs, places: set[str], where: str) -> list[str]:
    """What is not as declared, a line each."""
    return [
        f"{operator} in {where} runs as {place!r}, and is said to run as {declared.place!r}"
        for place in sorted(places - ALLOWED[declared.place])
    ]


def test_operators_beyond_the_suite() -> None:
    """The others' work, as the graphs show it that the tests of their numbers run."""
    suite = {operator for case in node_cases() for operator in operators(case.model)}
    missing = {(domain, op) for domain, op, _ in supported()} - suite
    seen: dict[Operator, set[str]] = defaultdict(set)
    departures = []
    for name, model, feeds in (*models(test_microsoft), *models(test_onnx_learned), *others()):
        new = operators(model) & missing
        if not new:
            continue
        try:
            story = traced(model, feeds)
        except A1400Error as error:
            raise AssertionError(f"{name}: {error}") from error
        for operator in new:
            places = {p for label, p in story.items() if label.partition("/")[0] == operator[1]}
            departures += departs(operator, runs(*operator), places, name)
            seen[operator] |= places
    unseen = sorted(op for op in missing if not seen[op] & PROOF[runs(*op).place])
    assert not unseen, f"no case shows where these run (test_microsoft.py, test_onnx_learned.py, others()): {unseen}"
    assert not departures, "\n".join(departures)


def models(module: ModuleType) -> Iterator[tuple[str, onnx.ModelProto, building.Arrays]]:
    """Every model, with its inputs, that the tests in ``module`` hand to :func:`tests.frontends.building.check`."""
    taken: list[tuple[onnx.ModelProto, building.Arrays]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "check", lambda model, feeds, *rest, **more: taken.append((model, feeds)))
        for name in [n for n in vars(module) if n.startswith("test_")]:
            for arguments in parameters(getattr(module, name)):
                getattr(module, name)(**arguments)
                yield from ((name, *pair) for pair in taken)
                taken.clear()


def others() -> Iterator[tuple[str, onnx.ModelProto, building.Arrays]]:
    """Operators whose numbers are tested in whole models, or on devices."""
    f32, scale, zero = building.f32, np.float32(0.1), np.uint8(120)
    byte, image = (building.ints(*s, low=0, high=255, dtype=np.uint8) for s in ((3, 4), (1, 2, 5, 5)))
    weight = building.ints(4, 3, low=0, high=255, dtype=np.uint8)
    filters = building.ints(3, 2, 3, 3, low=0, high=255, dtype=np.uint8)
    real, to, wanted = [byte, scale, zero], [scale, zero], [np.float32(0.2), np.uint8(100)]
    window: dict[str, Any] = {"kernel_shape": [2, 2]}
    packed = building.ints(8, 1, 16, low=0, high=255, dtype=np.uint8)
    cases: list[tuple[str, list[Any], dict[str, Any]]] = [
        ("QLinearAdd", [*real, *real, *wanted], {}), ("QLinearMul", [*real, *real, *wanted], {}),
        ("QLinearSigmoid", [*real, *wanted], {}), ("QLinearLeakyRelu", [*real, *wanted], {}),
        ("QLinearSoftmax", [*real, *wanted], {}), ("QLinearConcat", [*wanted, *real, *real], {"axis": 1}),
        ("QLinearGlobalAveragePool", [image, *to, *wanted], {}),
        ("QLinearAveragePool", [image, *to, *wanted], window),
        ("QLinearReduceMean", [*real, *wanted], {"axes": [1], "keepdims": 1}),
        ("QLinearWhere", [byte > 99, *real, *real, *wanted], {}),
        ("QLinearConv", [image, *to, filters, *to, *wanted], {}), ("QGemm", [*real, weight, *to, None, *wanted], {}),
        ("MatMulIntegerToFloat", [byte, weight, scale, scale, zero, zero], {}),
        ("DynamicQuantizeMatMul", [f32(3, 4), weight, scale, zero], {}),
        ("QuantizeLinear", [f32(3, 4), scale, zero], {}), ("DequantizeLinear", real, {}),
        ("MatMulNBits", [f32(3, 32), packed, f32(8)], {"K": 32, "N": 8, "bits": 4, "block_size": 32}),
        ("BitmaskBiasDropout", [f32(3, 4), f32(4)], {}), ("GemmFastGelu", [f32(3, 4), f32(4, 5)], {}),
        ("FusedMatMulActivation", [f32(3, 4), f32(4, 5)], {"activation": "Relu"}),
        ("GatedAdd", [f32(1, 3, 8), f32(1, 3, 8), f32(1, 3, 8)], {}),
        ("GatedRMSNorm", [f32(3, 8), f32(8), f32(3, 8)], {}), ("ScaledSiLU", [f32(3, 4)], {}),
        ("NhwcConv", [f32(1, 5, 5, 2), f32(3, 2, 3, 3)], {}),
        ("NhwcFusedConv", [f32(1, 5, 5, 2), f32(3, 2, 3, 3)], {"activation": "Relu"}),
        ("Range", [np.float32(1), np.float32(6), np.float32(2)], {}), ("Unique", [f32(6)], {}),
    ]
    for op, inputs, attrs in cases:
        model, feeds = building.one_node(op, inputs, domain="com.microsoft", **attrs)
        if op == "QLinearSoftmax":
            model.graph.node[0].attribute.append(onnx.helper.make_attribute("opset", 13))
        yield op, model, feeds
    for op, made in (("RandomNormal", 0), ("RandomUniform", 0), ("RandomNormalLike", 1), ("RandomUniformLike", 1)):
        yield op, *building.one_node(op, [f32(3)] * made, **({} if made else {"shape": [3]}))
    yield "Bernoulli", *building.one_node("Bernoulli", [f32(3, low=0, high=1)])
    yield "Multinomial", *building.one_node("Multinomial", [f32(2, 3)], sample_size=4)
    region = [f32(1, 2, 5, 5), f32(1, 5, low=0, high=1)]
    yield "MaxRoiPool", *building.one_node("MaxRoiPool", region, pooled_shape=[2, 2])
    pairs: dict[str, Any] = {"cats_int64s": [1, 2], "cats_strings": ["a", "b"], "domain": "ai.onnx.ml"}
    yield "CategoryMapper", *building.one_node("CategoryMapper", [building.i64(1, 2, 3)], **pairs)
    machine: dict[str, Any] = {
        "classlabels_ints": [1, 2, 3], "vectors_per_class": [1, 1, 1], "coefficients": [1.0] * 6, "rho": [0.1] * 3,
        "support_vectors": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "prob_a": [-1.0] * 3, "prob_b": [0.1] * 3,
    }  # fmt: skip
    model, feeds = building.one_node("SVMClassifier", [f32(3, 2)], outputs=2, domain="ai.onnx.ml", **machine)
    yield "SVMClassifier", model, feeds
    yield "ZipMap", *building.one_node("ZipMap", [f32(2, 2)], classlabels_int64s=[4, 5], domain="ai.onnx.ml")
    for op, key, attrs in (("CastMap", np.int64(3), {}), ("DictVectorizer", "wide", {"string_vocabulary": ["wide"]})):
        model, _ = building.one_node(op, [f32(1)], domain="ai.onnx.ml", **attrs)
        number = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [])
        kind = onnx.TensorProto.INT64 if op == "CastMap" else onnx.TensorProto.STRING
        model.graph.input[0].type.CopyFrom(onnx.helper.make_map_type_proto(kind, number))
        keys = np.array([key], np.int64 if op == "CastMap" else object)
        yield op, model, {"x0{keys}": keys, "x0{values}": f32(1)}
    yield "GlobalLpPool", *building.one_node("GlobalLpPool", [f32(1, 2, 3, 3)])
    yield "SimplifiedLayerNormalization", *building.one_node("SimplifiedLayerNormalization", [f32(3, 4), f32(4)])
    nodes = [onnx.helper.make_node("Optional", ["x"], ["o"]), onnx.helper.make_node("OptionalGetElement", ["o"], ["y"])]
    yield "Optional", building.model_of(nodes, {"x": f32(3)}, {}, ["y"], 18), {"x": f32(3)}
    nodes = [
        onnx.helper.make_node("SequenceConstruct", ["x", "x", "z"], ["s"]),
        onnx.helper.make_node("SequenceErase", ["s", "i"], ["t"]),
        onnx.helper.make_node("SequenceAt", ["t", "i"], ["z2"]),
        onnx.helper.make_node("ConcatFromSequence", ["t"], ["y"], axis=0),
        onnx.helper.make_node("Mul", ["x", "x"], ["z"]),
    ]
    feeds = {"x": f32(3), "i": np.int64(0)}
    yield "sequences", building.model_of(nodes, feeds, {}, ["y", "z2"], 18), feeds
    domain = "ai.onnx.preview.training"
    nodes = [
        onnx.helper.make_node("Mul", ["x", "x"], ["z"]), onnx.helper.make_node("ReduceSum", ["z"], ["total"]),
        onnx.helper.make_node("Gradient", ["x"], ["y"], domain=domain, xs=["x"], y="total"),
    ]
    opsets = [onnx.helper.make_opsetid(domain, 1)]
    yield "Gradient", building.model_of(nodes, {"x": f32(3)}, {}, ["y"], opsets=opsets), {"x": f32(3)}


def parameters(test: object) -> Iterator[dict[str, object]]:
    """The arguments that pytest would call ``test`` with."""
    axes = []
    for mark in getattr(test, "pytestmark", ()):
        names = mark.args[0].split(",") if isinstance(mark.args[0], str) else mark.args[0]
        names = [name.strip() for name in names]
        axes.append([dict(zip(names, v if len(names) > 1 else (v,))) for v in mark.args[1]])
    for combination in itertools.product(*axes):
        yield {name: value for part in combination for name, value in part.items()}


def traced(model: onnx.ModelProto, feeds: building.Arrays) -> dict[str, str]:
    """Operator/label -> where a node's work is done, by the graph that the model becomes."""
    graph: Graph = building.graph_of(model, feeds)
    loaded = {node.name or f"{node.op_type}_{i}": node.op_type for i, node in enumerate(model.graph.node)}
    computed = {source for node in graph.nodes if not OPS[node.op].view for source in node.sources}
    owner = Explanation(graph.name, "", loaded, [])._owner
    device, host = ({owner(label) for label in labels} for labels in (computed, graph.on_host))
    moved = {owner(source) for node in graph.nodes for source in node.sources}
    result = {}
    for label, op in loaded.items():
        place = " and ".join([*["device"] * (label in device), *["host"] * (label in host)])
        result[f"{op}/{label}"] = place or ("view" if label in moved else graph.fates.get(label, "folded at load"))
    return result
