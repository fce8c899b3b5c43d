"""Mutations of what a model is made of: nodes, edges, subgraphs, functions, names."""

from __future__ import annotations

import random

import onnx
from onnx import TensorProto, helper

from tests.fuzz.mutate import Draft, graphs, hostile, integer, keeps, names, nodes, spoils

_OPS = sorted({s.name for s in onnx.defs.get_all_schemas()})
_DOMAINS = ("", "ai.onnx", "com.microsoft", "ai.onnx.ml", "ai.onnx.preview.training", "own", "org.pytorch.aten")


@keeps
def rename_everything(draft: Draft, r: random.Random) -> None:
    """Hostile names for values, nodes and the graph."""
    table = {name: f"{hostile(r)}{i}" for i, name in enumerate(names(draft.model))}
    for graph in graphs(draft.model):
        graph.name = hostile(r)
        for each in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
            each.name = table.get(each.name, each.name)
    for node in nodes(draft.model):
        node.name = hostile(r)
        for field in (node.input, node.output):
            field[:] = [table.get(n, n) for n in field]
    for function in draft.model.functions:
        for field in (function.input, function.output):
            field[:] = [table.get(n, n) for n in field]
    draft.feeds = {table[name]: array for name, array in draft.feeds.items()}


@keeps
def shuffle_nodes(draft: Draft, r: random.Random) -> None:
    """Nodes in any order."""
    order = list(draft.model.graph.node)
    r.shuffle(order)
    copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in order]
    del draft.model.graph.node[:]
    draft.model.graph.node.extend(copies)


@keeps
def add_what_nobody_needs(draft: Draft, r: random.Random) -> None:
    """Nodes that no output needs, initializers that nobody reads, texts."""
    graph = draft.model.graph
    first = next((n for n in names(draft.model) if n in draft.feeds), "")
    if first:
        graph.node.append(helper.make_node(r.choice(_OPS), [first], [f"unused{len(graph.node)}"]))
    graph.initializer.append(helper.make_tensor(f"spare{len(graph.initializer)}", TensorProto.FLOAT, [1], [0.0]))
    draft.model.doc_string = graph.doc_string = hostile(r)
    draft.model.metadata_props.add(key=hostile(r), value=hostile(r))


@keeps
def pass_through(draft: Draft, r: random.Random) -> None:
    """Inputs go through chains of nodes that do nothing, or through a function of the model's own."""
    model = draft.model
    for name in list(draft.feeds)[:1]:
        fresh, last = f"through{len(model.graph.node)}", name
        for node in model.graph.node:  # subgraphs keep the name itself
            node.input[:] = [fresh if n == name else n for n in node.input]
        length = r.choice((1, 5, 200))
        for i in range(length):
            made = fresh if i == length - 1 else f"{fresh}_{i}"
            model.graph.node.insert(i, helper.make_node("Identity", [last], [made]))
            last = made


@spoils
def rename_one(draft: Draft, r: random.Random) -> None:
    """One name anywhere becomes a hostile one or another's."""
    model = draft.model
    places = [*((n, f) for n in nodes(model) for f in ("name", "op_type", "domain", "overload"))]
    places += [(v, "name") for g in graphs(model) for v in (*g.input, *g.output, *g.initializer)]
    places += [(f, n) for f in model.functions for n in ("name", "domain", "overload")]
    where, field = r.choice(places)
    setattr(where, field, r.choice((hostile(r), r.choice(names(model)))))


@spoils
def drop_node(draft: Draft, r: random.Random) -> None:
    """One node less."""
    graph = r.choice(list(graphs(draft.model)))
    if graph.node:
        del graph.node[r.randrange(len(graph.node))]


@spoils
def repeat_node(draft: Draft, r: random.Random) -> None:
    """A node twice, with the same outputs or with others."""
    graph = r.choice(list(graphs(draft.model)))
    if graph.node:
        node = graph.node.add()
        node.CopyFrom(r.choice(list(graph.node)[:-1]))
        if r.random() < 0.5:
            node.output[:] = [f"{n}_again" for n in node.output]


@spoils
def rewire(draft: Draft, r: random.Random) -> None:
    """An input or output of a node becomes another value, none, or an unknown one: cycles too."""
    node = r.choice(nodes(draft.model) or [onnx.NodeProto()])
    field = r.choice((node.input, node.input, node.output))
    value = r.choice([*names(draft.model), "", "nowhere"])
    if field and r.random() < 0.8:
        field[r.randrange(len(field))] = value
    else:
        field.append(value)


@spoils
def fewer_operands(draft: Draft, r: random.Random) -> None:
    """A node loses an input or output."""
    node = r.choice(nodes(draft.model) or [onnx.NodeProto()])
    field = r.choice((node.input, node.output))
    if field:
        del field[r.randrange(len(field))]


@spoils
def other_operator(draft: Draft, r: random.Random) -> None:
    """A node of another operator, with the operands and attributes it has."""
    node = r.choice(nodes(draft.model) or [onnx.NodeProto()])
    node.op_type = r.choice(_OPS)
    if r.random() < 0.2:
        node.domain = r.choice(_DOMAINS)


@spoils
def other_versions(draft: Draft, r: random.Random) -> None:
    """Other opsets and IR versions."""
    model = draft.model
    if r.random() < 0.3:
        model.ir_version = integer(r)
    elif model.opset_import:
        opset = r.choice(list(model.opset_import))
        opset.version = r.randrange(1, 28) if r.random() < 0.8 else integer(r)
    if r.random() < 0.1:
        del model.opset_import[:]


@spoils
def other_ports(draft: Draft, r: random.Random) -> None:
    """Graph inputs and outputs: fewer, more, twice, initializers among them."""
    graph = r.choice(list(graphs(draft.model)))
    field = r.choice((graph.input, graph.output))
    if field and r.random() < 0.4:
        del field[r.randrange(len(field))]
        return
    name = r.choice(names(draft.model))
    field.add().CopyFrom(helper.make_tensor_value_info(name, r.choice((1, 7, 9, 8)), r.choice((None, [2], ["n"]))))


@spoils
def nest(draft: Draft, r: random.Random) -> None:
    """Subgraphs in subgraphs, some or very many deep."""
    depth, graph = r.choice((1, 3, 31, 40, 120)), draft.model.graph
    inner = helper.make_graph([helper.make_node("Identity", [names(draft.model)[0]], ["deep0"])], "g", [],
                              [onnx.ValueInfoProto(name="deep0")])  # fmt: skip
    for i in range(1, depth):
        other = inner if depth < 12 else None
        node = helper.make_node("If", ["truth"], [f"deep{i}"], then_branch=inner, else_branch=other)
        inner = helper.make_graph([node], "g", [], [onnx.ValueInfoProto(name=f"deep{i}")])
    graph.initializer.append(helper.make_tensor("truth", TensorProto.BOOL, [], [True]))
    graph.node.append(helper.make_node("If", ["truth"], ["deepest"], then_branch=inner, else_branch=inner))
    graph.output.add().name = "deepest"


@spoils
def graph_in_itself(draft: Draft, r: random.Random) -> None:
    """The whole graph as an attribute of one of its nodes."""
    node = r.choice(nodes(draft.model) or [onnx.NodeProto()])
    copy = onnx.GraphProto.FromString(draft.model.graph.SerializeToString())
    name = r.choice([a.name for a in node.attribute] + ["body", "then_branch"])
    for attribute in [a for a in node.attribute if a.name == name]:
        node.attribute.remove(attribute)
    node.attribute.append(helper.make_attribute(name, copy))


@spoils
def functions_that_call(draft: Draft, r: random.Random) -> None:
    """Functions that call themselves or each other: in circles, or so that each level doubles the nodes."""
    model, kind = draft.model, r.choice(("circle", "itself", "doubling", "long", "attributes"))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    count = {"circle": 3, "itself": 1, "doubling": r.choice((3, 12, 40)), "long": 70, "attributes": 2}[kind]
    for i in range(count):
        target = {"circle": (i + 1) % 3, "itself": 0}.get(kind, i - 1)
        if target < 0:
            body = [helper.make_node("Neg", ["a"], ["b"])]
        else:
            first = helper.make_node(f"f{target}", ["a"], ["m"], domain="own")
            second = helper.make_node(f"f{target}" if kind == "doubling" else "Neg", ["m"], ["b"],
                                      domain="own" if kind == "doubling" else "")  # fmt: skip
            body = [first, second]
        function = helper.make_function("own", f"f{i}", ["a"], ["b"], body, opsets)
        if kind == "attributes":
            function.attribute.append("kind")
            body_attribute = function.node[0].attribute.add(name="alpha", ref_attr_name="kind", type=1)
            body_attribute.ref_attr_name = r.choice(("kind", "none", "alpha"))
        model.functions.append(function)
    if not any(o.domain == "own" for o in model.opset_import):
        model.opset_import.add(domain="own", version=1)
    name = model.graph.output[0].name if model.graph.output else names(model)[0]
    model.graph.node.append(helper.make_node(f"f{count - 1}", [name], ["called"], domain="own"))
    model.graph.output.add().name = "called"


@spoils
def unroll(draft: Draft, r: random.Random) -> None:
    """A loop around something that grows, with a trip count that means harm."""
    graph, trips = draft.model.graph, r.choice((0, 1, 3, 12, 40, 1000, 4096, 4097, 2**31, 2**63 - 1, -1))
    name = next(iter(draft.feeds), names(draft.model)[0])
    grow = r.choice((("Concat", {"axis": 0}), ("Add", {}), ("MatMul", {}), ("Mul", {})))
    truth = lambda name: helper.make_tensor_value_info(name, 9, [])  # noqa: E731
    body = helper.make_graph(
        [helper.make_node(grow[0], ["s", "s"], ["t"], **grow[1]), helper.make_node("Identity", ["c"], ["d"])], "body",
        [helper.make_tensor_value_info("i", 7, []), truth("c"), onnx.ValueInfoProto(name="s")],
        [truth("d"), onnx.ValueInfoProto(name="t")],
    )  # fmt: skip
    start = name
    if r.random() < 0.5:
        start = "grown_from"
        graph.initializer.append(helper.make_tensor(start, TensorProto.FLOAT, [1, 1], [1.5]))
    graph.initializer.append(helper.make_tensor("trip_count", TensorProto.INT64, [], [trips]))
    graph.node.append(helper.make_node("Loop", ["trip_count", "", start], ["grown"], body=body))
    graph.output.add().name = "grown"
