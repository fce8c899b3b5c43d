"""Mutations of what a model says in numbers: attributes, shapes, types, contents of tensors."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.fuzz.mutate import FLOATS, Draft, array_of, graphs, hostile, integer, nodes, spoils, tensors

_A = onnx.AttributeProto


def _number(r: random.Random) -> float:
    return r.choice(FLOATS) if r.random() < 0.7 else r.uniform(-5, 5)


def _int64(value: int) -> int:
    return max(min(value, 2**63 - 1), -(2**63))


def _value(r: random.Random, kind: int) -> Any:
    length = r.choice((0, 1, 2, 3, 4, 6, 8, 70))
    if kind == _A.INT:
        return _int64(integer(r))
    if kind == _A.FLOAT:
        return _number(r)
    if kind == _A.STRING:
        return hostile(r)
    if kind == _A.FLOATS:
        return [_number(r) for _ in range(length)]
    if kind == _A.STRINGS:
        return [hostile(r) for _ in range(length)]
    if kind == _A.TENSOR:
        return helper.make_tensor("t", TensorProto.INT64, [1], [_int64(integer(r))])
    return [_int64(integer(r)) for _ in range(length)]


def _put(node: onnx.NodeProto, name: str, kind: int, value: Any) -> None:
    for attribute in [a for a in node.attribute if a.name == name]:
        node.attribute.remove(attribute)
    if isinstance(value, list) and not value:
        node.attribute.add(name=name, type=kind)  # type: ignore[arg-type]
    else:
        node.attribute.append(helper.make_attribute(name, value))


@spoils
def change_attribute(draft: Draft, r: random.Random) -> None:
    """An attribute of a node gets another value: an entry of a list, or all of it."""
    node = r.choice([n for n in nodes(draft.model) if n.attribute] or [onnx.NodeProto()])
    if not node.attribute:
        return
    attribute = r.choice(list(node.attribute))
    if attribute.type == _A.INTS and attribute.ints and r.random() < 0.7:
        attribute.ints[r.randrange(len(attribute.ints))] = _int64(integer(r))
    elif attribute.type == _A.FLOATS and attribute.floats and r.random() < 0.7:
        attribute.floats[r.randrange(len(attribute.floats))] = _number(r)
    elif attribute.type != _A.GRAPH:
        _put(node, attribute.name, attribute.type, _value(r, attribute.type))


@spoils
def set_attribute(draft: Draft, r: random.Random) -> None:
    """An attribute that the operator's schema has, absent or not, gets a value."""
    found = nodes(draft.model)
    if not found:
        return
    node = r.choice(found)
    try:
        schema = onnx.defs.get_schema(node.op_type, node.domain)
    except onnx.defs.SchemaError:
        return
    if schema.attributes:
        name = r.choice(sorted(schema.attributes))
        kind = int(schema.attributes[name].type.value)
        texts = ("SAME_UPPER", "SAME_LOWER", "VALID", "cubic", "linear", "nearest", "reflect", "wrap", "edge",
                 "add", "max", "tf_crop_and_resize", "align_corners", "bidirectional", "reverse")  # fmt: skip
        value = r.choice(texts) if kind == _A.STRING and r.random() < 0.6 else _value(r, kind)
        _put(node, name, kind, value)


@spoils
def confuse_attribute(draft: Draft, r: random.Random) -> None:
    """An attribute of another type, that refers to one of a function, that comes twice, or that goes."""
    node = r.choice([n for n in nodes(draft.model) if n.attribute] or [onnx.NodeProto()])
    if not node.attribute:
        return
    attribute = r.choice(list(node.attribute))
    kind = r.choice(("type", "other", "reference", "twice", "gone"))
    if kind == "type":
        attribute.type = r.randrange(15)  # type: ignore[assignment]
    elif kind == "other":
        _put(node, attribute.name, _A.INTS, _value(r, r.choice((_A.INT, _A.FLOAT, _A.STRING, _A.INTS, _A.TENSOR))))
    elif kind == "reference":
        attribute.ref_attr_name = hostile(r)
    elif kind == "twice":
        node.attribute.add().CopyFrom(attribute)
    else:
        node.attribute.remove(attribute)


@spoils
def declare_shape(draft: Draft, r: random.Random) -> None:
    """The shape of an input or output: huge, negative, zero, symbolic, of many axes, none."""
    values = [v for g in graphs(draft.model) for v in (*g.input, *g.output)]
    if not values:
        return
    value = r.choice(values)
    kind = value.type.tensor_type
    if r.random() < 0.15:
        kind.ClearField("shape")
        return
    dims = kind.shape.dim
    if not dims or r.random() < 0.2:
        del dims[:]
        for _ in range(r.choice((0, 1, 2, 5, 9, 40, 70))):
            dims.add(dim_value=1)
    if dims:
        dim = r.choice(list(dims))
        if r.random() < 0.3:
            dim.dim_param = hostile(r)
        else:
            dim.dim_value = _int64(integer(r))


@spoils
def declare_type(draft: Draft, r: random.Random) -> None:
    """The type of an input or output: another element type, sequence, optional, sparse, map."""
    values = [v for g in graphs(draft.model) for v in (*g.input, *g.output)]
    if not values:
        return
    value = r.choice(values)
    element = r.choice((0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 13, 14, 16, 17, 21, 23, 24, 25, 99))
    kind = r.choice(("tensor", "tensor", "sequence", "optional", "sparse", "map", "deep", "none"))
    made = onnx.TypeProto()
    if kind == "tensor":
        made.CopyFrom(value.type)
        made.tensor_type.elem_type = element
    elif kind == "sparse":
        made.sparse_tensor_type.elem_type = element
    elif kind == "map":
        made.map_type.key_type = element
    elif kind != "none":
        inner = made
        for i in range(60 if kind == "deep" else 1):
            inner = inner.optional_type.elem_type if kind == "optional" and i == 0 else inner.sequence_type.elem_type
        inner.tensor_type.elem_type = element
    value.type.CopyFrom(made)


@spoils
def change_tensor(draft: Draft, r: random.Random) -> None:
    """A tensor's contents: edges of its type, at one place or at all."""
    found = tensors(draft.model)
    if not found:
        return
    tensor = r.choice(found)
    array = array_of(tensor)
    if array is None or array.dtype.kind not in "iufb" or not array.size:
        return
    value: Any
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        value = max(min(integer(r), int(limits.max)), int(limits.min))
    else:
        value = _number(r)
    with np.errstate(all="ignore"):
        if r.random() < 0.7:
            array.reshape(-1)[r.randrange(array.size)] = value
        else:
            array[...] = value
    name = tensor.name
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))


@spoils
def break_tensor(draft: Draft, r: random.Random) -> None:
    """A tensor whose shape, type and bytes do not agree."""
    found = tensors(draft.model)
    if not found:
        return
    tensor, kind = r.choice(found), r.choice(("dims", "more", "type", "bytes", "fields", "segment"))
    if kind == "dims" and tensor.dims:
        tensor.dims[r.randrange(len(tensor.dims))] = _int64(integer(r))
    elif kind == "more":
        tensor.dims.extend([r.choice((1, 1, 0, 2))] * r.choice((1, 3, 40, 70)))
    elif kind == "type":
        tensor.data_type = r.choice((0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 14, 15, 16, 17, 20, 21, 22, 23, 24, 25, 26, 99))
    elif kind == "bytes":
        kept = tensor.raw_data[: r.randrange(len(tensor.raw_data) + 1)]
        tensor.raw_data = kept + b"\xff" * r.choice((0, 1, 4, 5000))
    elif kind == "fields":
        tensor.ClearField("raw_data")
        tensor.int32_data.extend([_int64(integer(r)) % 2**31 for _ in range(4)])
    else:
        tensor.segment.begin = 5


@spoils
def other_shape(draft: Draft, r: random.Random) -> None:
    """A tensor in a shape that does not fit its readers, with the bytes that it needs."""
    found = tensors(draft.model)
    if not found:
        return
    tensor = r.choice(found)
    shape = [r.choice((0, 1, 2, 3, 5, 17)) for _ in range(r.choice((0, 1, 2, 3, 4, 6)))]
    dtype = r.choice((np.float32, np.int64, np.float16, np.uint8, np.bool_, np.float64, np.int32))
    name = tensor.name
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(shape, 1, dtype), name))


@spoils
def tensor_to_input(draft: Draft, r: random.Random) -> None:
    """An initializer becomes an input, so that only a run tells its value."""
    graph = draft.model.graph
    if not graph.initializer:
        return
    tensor = r.choice(list(graph.initializer))
    array = array_of(tensor)
    if array is None:
        return
    graph.input.add().CopyFrom(helper.make_tensor_value_info(tensor.name, tensor.data_type, array.shape))
    draft.feeds[tensor.name] = array
    graph.initializer.remove(tensor)


@spoils
def input_to_tensor(draft: Draft, r: random.Random) -> None:
    """An input becomes an initializer, so that all is known while tracing."""
    graph = draft.model.graph
    here = [v for v in graph.input if v.name in draft.feeds and draft.feeds[v.name].dtype != object]
    if here:
        value = r.choice(here)
        graph.initializer.append(onnx.numpy_helper.from_array(draft.feeds.pop(value.name), value.name))
        graph.input.remove(value)


@spoils
def change_feed(draft: Draft, r: random.Random) -> None:
    """What is fed holds edges of its type."""
    here = [n for n, a in draft.feeds.items() if a.dtype.kind in "iuf" and a.size]
    if here:
        name = r.choice(here)
        array = np.array(draft.feeds[name])
        value: Any = _number(r)
        if array.dtype.kind in "iu":
            limits = np.iinfo(array.dtype)
            value = max(min(integer(r), int(limits.max)), int(limits.min))
        with np.errstate(all="ignore"):
            array.reshape(-1)[r.randrange(array.size)] = value
        draft.feeds[name] = array
