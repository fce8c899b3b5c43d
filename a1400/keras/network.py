"""A Keras model as something that can be trained: its variables are the parameters, its layers are written as ops."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import keras
import numpy as np

import a1400.keras.layers  # noqa: F401 - enters the converters
from a1400.errors import InputError
from a1400.graph.graph import Graph
from a1400.graph.tensor import Tensor
from a1400.keras.layers.models import is_graph, run_model
from a1400.keras.tracing import F32, Layouts, Lost, Tracing, UnsupportedModel
from a1400.train import constraints
from a1400.train.constraints import Constraint
from a1400.train.network import InputShape, Traced
from a1400.train.random import STATE_SHAPE, RandomSource

#: samples in the batch that a model is looked at with, and what stands for other sizes that are not known
_SAMPLES, _SIZE = 2, 64


class Variables(MutableMapping[str, np.ndarray]):
    """Keras variables by name, as float32 arrays in the order of axes that they have on the device.

    Reading an entry reads the variable, writing one writes it; the set of names is fixed.
    """

    def __init__(self, variables: dict[str, Any], layouts: Layouts) -> None:
        self.variables, self._layouts = variables, layouts

    def _order(self, variable: Any) -> tuple[int, ...]:
        return self._layouts.order.get(id(variable), tuple(range(len(variable.shape))))

    def __getitem__(self, name: str) -> np.ndarray:
        variable = self.variables[name]
        array = np.asarray(keras.ops.convert_to_numpy(variable), F32)
        return np.array(array.transpose(self._order(variable)), order="C")  # a copy: backends may share memory

    def __setitem__(self, name: str, value: np.ndarray) -> None:
        variable = self.variables[name]
        order = self._order(variable)
        back = np.asarray(value).transpose([order.index(axis) for axis in range(len(order))])
        variable.assign(np.ascontiguousarray(back).reshape(tuple(variable.shape)))

    def __delitem__(self, name: str) -> None:
        raise TypeError("the variables of a Keras model cannot be taken away")

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables)

    def __len__(self) -> int:
        return len(self.variables)

    def device_order(self, name: str, value: np.ndarray) -> np.ndarray:
        """An array with the axes as Keras has them, as it lies on the device."""
        return np.array(np.asarray(value).transpose(self._order(self.variables[name])), order="C")

    def keras_order(self, name: str, value: np.ndarray) -> np.ndarray:
        """An array as it lies on the device, with the axes as Keras has them."""
        order = self._order(self.variables[name])
        return np.asarray(value).transpose([order.index(axis) for axis in range(len(order))])


class KerasNetwork:
    """A built Keras 3 model as a :class:`~a1400.train.network.Network`.

    A model that is code, not a graph of layers, needs a ``sample`` of its input, in the structure that it is called on.
    ``parameters`` are its trainable weights, ``buffers`` all other floating ones (frozen weights, running statistics);
    both read and write Keras's variables.  Raises :class:`~a1400.keras.tracing.UnsupportedModel` with everything that
    is not supported, each with its layer.
    """

    def __init__(self, model: Any, sample: Any = None) -> None:
        if not is_graph(model) and (sample is None or not model.built):
            raise InputError(
                f"{model.name} ({type(model).__name__}) is code, and its inputs are not known: call it once and "
                "give it arrays, or write it with the functional API"
            )
        self.model, self._sample = model, sample
        self.structure: Any = getattr(model, "_outputs_struct", None)  # of what it gives
        self._layouts = Layouts()
        trainable, others = _named(model)
        self.parameters = Variables(trainable, self._layouts)
        self.buffers = Variables(others, self._layouts)
        self.inputs: dict[str, InputShape] = _inputs(model) if is_graph(model) else _inputs_like(sample)
        self.outputs: tuple[str, ...] = _output_names(model) if is_graph(model) else ()  # until it has been looked at
        self._look()
        self._layouts.frozen = True

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.model.name)

    def trace(
        self, graph: Graph, inputs: dict[str, Tensor], parameters: dict[str, Tensor], buffers: dict[str, Tensor],
        training: bool, random: RandomSource,
    ) -> Traced:  # fmt: skip
        """Write the model into ``graph``; weights are in the order of axes that ``parameters`` and ``buffers`` have."""
        values = {id(v): parameters[n] for n, v in self.parameters.variables.items()}
        values.update((id(v), buffers[n]) for n, v in self.buffers.variables.items())
        tracing = Tracing(graph, values, self._layouts, training, random)
        outputs = self._run(tracing, inputs)
        masks = {name: mask for name, y in outputs.items() if (mask := tracing.masks.get(y)) is not None}
        names = {id(v): n for n, v in self.buffers.variables.items()}
        return Traced(outputs, {names[key]: value for key, value in tracing.updates.items()}, tracing.penalties, masks)

    def export(self, path: str | os.PathLike[str], weights: Mapping[str, np.ndarray] | None = None) -> None:
        """Write the model as ONNX, with ``weights`` (parameters and buffers by name) or its own."""
        from a1400.export import export_onnx

        export_onnx(self, path, weights=weights)

    @property
    def orders(self) -> dict[str, tuple[int, ...]]:
        """Parameters that lie with other axes than in Keras: which of Keras's stands where."""
        tables = self._layouts.order, self.parameters.variables
        return {name: tables[0][id(v)] for name, v in tables[1].items() if id(v) in tables[0]}

    @property
    def constraints(self) -> dict[str, Constraint]:
        """The constraint of each parameter that has one."""
        found = {n: constraint_of(getattr(v, "constraint", None)) for n, v in self.parameters.variables.items()}
        return {name: constraint for name, constraint in found.items() if constraint is not None}

    def _run(self, tracing: Tracing, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        flat = [inputs[name] for name in self.inputs]
        structure = getattr(self.model, "_inputs_struct", self._sample)
        given = flat if structure is None else keras.tree.pack_sequence_as(structure, flat)
        if is_graph(self.model):
            found = keras.tree.flatten(run_model(tracing, self.model, given))
        else:
            result = tracing.apply(self.model, given)
            found = keras.tree.flatten(result)
            if not self.outputs:
                self.structure = keras.tree.map_structure(lambda y: 0, result)
                paths = keras.tree.flatten_with_path(result) if isinstance(result, dict) else []
                keys = tuple(str(path[-1]) for path, _ in paths)
                plain = ("output",) if len(found) == 1 else tuple(f"output_{i + 1}" for i in range(len(found)))
                self.outputs = keys if len(keys) == len(found) else plain
        for name, variable in self.parameters.variables.items():
            if getattr(variable, "regularizer", None) is not None:
                order = range(len(variable.shape))
                lies = self._layouts.order.get(id(variable), tuple(order))
                value = tracing.values[id(variable)].transpose([lies.index(axis) for axis in order])
                tracing.penalties.append(tracing.regularize(variable.regularizer, value, name))
        return dict(zip(self.outputs, found))

    def _look(self) -> None:
        """Trace once for training and once without, on a graph that nobody runs: what is refused is told at once."""
        problems: list[str] = []
        heard: dict[str, None] = {}
        for name, variable in self.parameters.variables.items():
            try:
                constraint_of(getattr(variable, "constraint", None))
            except InputError as error:
                problems.append(f"{name}: {error}")
        for training in (True, False):
            graph = Graph(self.name)
            tracing = self._symbolic(graph, training)
            inputs = {
                name: Tensor(graph, graph.input(f"input {name}", _concrete(shape), dtype))
                for name, (shape, dtype) in self.inputs.items()
            }
            try:
                self._run(tracing, inputs)
            except Lost:
                tracing.problems.append("what comes behind that layer could not be looked at")
            problems += [p for p in tracing.problems if p not in problems]
            heard.update(dict.fromkeys(tracing.warnings))
        for text in heard:
            warnings.warn(text, stacklevel=2)
        if problems:
            lines = "\n".join(f"  {problem}" for problem in problems)
            raise UnsupportedModel(f"the model {self.name!r} cannot be run here:\n{lines}")

    def _symbolic(self, graph: Graph, training: bool) -> Tracing:
        values = {}
        for name, variable in {**self.parameters.variables, **self.buffers.variables}.items():
            # while the layouts are being found, converters see the variables as Keras has them
            order = self._layouts.order.get(id(variable), range(len(variable.shape)))
            shape = [variable.shape[axis] for axis in order]
            values[id(variable)] = Tensor(graph, graph.input(f"variable {name}", shape, F32))
        state = Tensor(graph, graph.input("random", STATE_SHAPE, np.dtype(np.uint32)))
        self._layouts.frozen = not training
        return Tracing(graph, values, self._layouts, training, RandomSource(state), collect=True)


def constraint_of(given: Any) -> Constraint | None:
    """One of ``keras.constraints`` as ours; :class:`InputError` for any other."""
    if given is None:
        return None
    name, owner = type(given).__name__, type(given).__module__.partition(".")[0]
    if owner != "keras":
        raise InputError(f"the constraint {name} is not one of Keras's own")
    config = dict(given.get_config())
    if "axis" in config:
        config["epsilon"] = float(keras.config.epsilon())
    return constraints.from_name(name, **config)


def _concrete(shape: tuple[int | None, ...]) -> list[int]:
    return [(_SAMPLES if axis == 0 else _SIZE) if size is None else size for axis, size in enumerate(shape)]


def _named(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The model's floating variables by path: those that are trained, and the others."""
    trained = {id(v) for v in model.trainable_weights}
    tables: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for variable in model.weights:
        if "float" not in str(variable.dtype):
            continue
        table = tables[0 if id(variable) in trained else 1]
        name, number = variable.path, 1
        while name in tables[0] or name in tables[1]:
            number += 1
            name = f"{variable.path}:{number}"
        table[name] = variable
    return tables


def _inputs(model: Any) -> dict[str, InputShape]:
    found: dict[str, InputShape] = {}
    for symbol in model.inputs:
        name = _unique(str(symbol.name), found)
        dtype = np.dtype(symbol.dtype) if symbol.dtype not in ("bfloat16", "float16", "float64") else F32
        found[name] = (tuple(None if d is None else int(d) for d in symbol.shape), dtype)
    return found


def _inputs_like(sample: Any) -> dict[str, InputShape]:
    """Inputs of the shapes and dtypes of ``sample``, batches of any size."""
    found: dict[str, InputShape] = {}
    for path, array in keras.tree.flatten_with_path(sample):
        name = _unique(str(path[-1]) if path and isinstance(path[-1], str) else "input", found)
        kind = np.dtype(keras.backend.standardize_dtype(array.dtype))
        found[name] = ((None, *map(int, array.shape[1:])), F32 if kind.kind == "f" else kind)
    return found


def _output_names(model: Any) -> tuple[str, ...]:
    """Keras's names: the keys of a dict of outputs, else the layers that give them."""
    structure = getattr(model, "_outputs_struct", None)
    if isinstance(structure, dict):
        return tuple(str(path[-1]) for path, _ in keras.tree.flatten_with_path(structure))
    names = list(getattr(model, "output_names", None) or [])
    if len(names) != len(model.outputs):
        names = [str(symbol._keras_history.operation.name) for symbol in model.outputs]
    found: dict[str, None] = {}
    for name in names:
        found[_unique(name, found)] = None
    return tuple(found)


def _unique(name: str, taken: Any) -> str:
    made, number = name, 1
    while made in taken:
        number += 1
        made = f"{name}_{number}"
    return made
