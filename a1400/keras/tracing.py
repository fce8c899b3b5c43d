"""One trace of a Keras model: tensors of a graph flow through its layers, and each layer's converter appends nodes."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import keras
import numpy as np

from a1400.errors import A1400Error, GraphError
from a1400.graph.graph import Graph
from a1400.graph.tensor import Tensor
from a1400.keras.masks import Masks, fill_in, hand_on
from a1400.keras.registry import converter_of
from a1400.train.random import RandomSource

F32 = np.dtype(np.float32)


class UnsupportedModel(A1400Error):
    """A Keras model, or what it is compiled with, holds something that has no counterpart here."""


class Refusal(Exception):
    """Raised by a converter: what it was asked for, and that it is not supported."""


@dataclass
class Layouts:
    """The order of axes in which each variable lies on the device, by ``id`` of the variable.

    A converter asks for a variable in the order that its kernel wants; the first one to ask decides, so that a training
    step does not transpose.
    """

    order: dict[int, tuple[int, ...]] = field(default_factory=dict)
    frozen: bool = False


class Tracing:
    """What the converters of one trace share.

    ``values`` maps a variable (by ``id``) to its tensor, in the order of axes that ``layouts`` says.  With
    ``collect`` a layer that is refused becomes an entry of ``problems`` and the trace goes on behind it; without,
    :class:`UnsupportedModel` is raised.
    """

    def __init__(
        self, graph: Graph, values: dict[int, Tensor], layouts: Layouts, training: bool, random: RandomSource,
        collect: bool = False,
    ) -> None:  # fmt: skip
        self.graph, self.values, self.layouts = graph, values, layouts
        self.training, self.random = training, random
        self.updates: dict[int, Tensor] = {}
        self.penalties: list[Tensor] = []
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.masks = Masks()
        self._collect = collect
        self._path: list[str] = []

    def apply(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """What ``layer`` (or operation) gives for tensors, which stand where Keras's tensors would."""
        given = kwargs.get("training")
        before, source = self.training, self.graph.source
        self._path.append(layer.name)
        if given is not None:
            self.training = bool(given)
        self.graph.source = ("/".join(self._path),)
        try:
            result = self._convert(layer, args, kwargs)
            self._activity(layer, result)
            return result
        finally:
            self.training, self.graph.source = before, source
            self._path.pop()

    def _convert(self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            converter = converter_of(layer)
            if converter is None:
                what = "layers" if isinstance(layer, keras.layers.Layer) else "operations"
                raise Refusal(f"{what} of this class are not supported")
            _check_policy(layer)
            call = Call(self, layer, args, kwargs)
            if not isinstance(layer, keras.layers.Layer):
                return converter(call)
            fill_in(self.masks, layer, call.arguments)
            explicit = call.arguments.get("mask")
            # as they are now: a layer may take its tensors' masks away
            previous = self.masks.of(call.first) if explicit is None else explicit
            result = converter(call)
            given = {id(x) for x in keras.tree.flatten((args, kwargs)) if isinstance(x, Tensor)}
            result = keras.tree.map_structure(lambda y: self._apart(layer, y, given), result)
            hand_on(self, call, previous, result)
            return result
        except (Refusal, GraphError) as error:
            problem = f"{'/'.join(self._path)} ({type(layer).__name__}): {error}"
            if not self._collect:
                raise UnsupportedModel(problem) from error
            self.problems.append(problem)
            return self._stand_in(layer, args, kwargs)

    def _apart(self, layer: Any, y: Any, given: set[int]) -> Any:
        """An object of its own where a layer that knows no masks gives back what it was given."""
        own = isinstance(y, Tensor) and id(y) in given and not layer.supports_masking
        return Tensor(y.graph, y.value) if own else y

    def warn(self, text: str) -> None:
        """Note what the user should hear about, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def _stand_in(self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Tensors of the shapes that a refused layer would give, so that what comes behind it can be looked at."""

        def symbolic(x: Any) -> Any:
            return keras.KerasTensor(x.shape, x.dtype.name) if isinstance(x, Tensor) else x

        def concrete(x: Any) -> Any:
            shape = tuple(1 if d is None else d for d in x.shape)
            name = f"behind {'/'.join(self._path)} {len(self.graph.inputs)}"
            dtype = F32 if "float" in x.dtype else np.dtype(x.dtype)
            return Tensor(self.graph, self.graph.input(name, shape, dtype))

        try:
            args, kwargs = keras.tree.map_structure(symbolic, (args, kwargs))
            spec = layer.compute_output_spec(*args, **kwargs)
            return keras.tree.map_structure(concrete, spec)
        except Exception as error:  # a layer of somebody else's may raise anything here
            raise _Lost from error

    def _activity(self, layer: Any, result: Any) -> None:
        """A layer's activity regularizer: summed over what it gives, per sample."""
        regularizer = getattr(layer, "activity_regularizer", None)
        if regularizer is None:
            return
        for output in keras.tree.flatten(result):
            if isinstance(output, Tensor):
                penalty = self.regularize(regularizer, output, f"{layer.name}: activity_regularizer")
                self.penalties.append(penalty * (1.0 / max(output.shape[0], 1)) if output.rank else penalty)

    def regularize(self, regularizer: Any, x: Tensor, where: str) -> Tensor:
        """The penalty of a regularizer, Keras's or one that a user wrote, as a scalar."""
        name, owner = type(regularizer).__name__, type(regularizer).__module__.partition(".")[0]
        if owner == "keras" and name in ("L1", "L2", "L1L2"):
            parts = [
                factor * x.reduce(kind)
                for kind, factor in (
                    ("l1", float(getattr(regularizer, "l1", 0) or 0)),
                    ("sum_square", float(getattr(regularizer, "l2", 0) or 0)),
                )
                if factor
            ]
            if parts:
                return parts[0] if len(parts) == 1 else parts[0] + parts[1]
            return Tensor(self.graph, self.graph.constant(0, x.dtype))
        if owner == "keras" and name == "OrthogonalRegularizer" and x.rank == 2:
            return _orthogonality(regularizer, x)
        if owner != "keras" and callable(regularizer):
            from a1400.keras.functions import Code  # which needs this module

            return self.apply(Code(regularizer, name), x).cast(F32).sum()
        problem = f"{where}: the regularizer {name} is not supported"
        if not self._collect:
            raise UnsupportedModel(problem)
        self.problems.append(problem)
        return Tensor(self.graph, self.graph.constant(0, x.dtype))


class _Lost(Exception):
    """The shapes behind a refused layer are not known: the look at a model ends here."""


Lost = _Lost


def _orthogonality(regularizer: Any, x: Tensor) -> Tensor:
    """``factor * sum |cosine|`` of each pair of rows (or columns), each pair once."""
    if regularizer.mode != "rows":
        x = x.swap(0, 1)
    unit = x * _unit_length(x)
    size = x.shape[0]
    product = (unit @ unit.swap(0, 1)) * (1.0 - np.eye(size, dtype=F32))
    return product.abs().sum() * (0.5 * float(regularizer.factor) / (size * (size - 1) / 2))


def _unit_length(x: Tensor) -> Tensor:
    return (x * x).sum((1,), keepdims=True).rsqrt().op("min", 1e12)


def _check_policy(layer: Any) -> None:
    policy = getattr(layer, "dtype_policy", None)
    compute = getattr(policy, "compute_dtype", None)
    if compute not in (None, "float32") and not str(compute).startswith(("int", "uint", "bool", "string")):
        raise Refusal(f"its dtype policy computes in {compute}; only float32 is supported")
    if getattr(layer, "quantization_mode", None):
        raise Refusal("quantized layers are not supported")
    if getattr(layer, "lora_enabled", False):
        raise Refusal("LoRA is not supported")


class Call:
    """One call of a layer: its arguments by their names in ``layer.call``, and what a converter needs besides."""

    def __init__(self, tracing: Tracing, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.tracing, self.layer = tracing, layer
        self.args, self.kwargs = args, kwargs
        self.arguments = _bound(layer, args, kwargs)

    # ---- arguments -----------------------------------------------------------------------------------
    @property
    def first(self) -> Any:
        """The first argument, whatever its name and structure."""
        return next(iter(self.arguments.values()))

    @property
    def x(self) -> Tensor:
        """The first argument when it is one tensor; a list of one is taken apart."""
        value = self.first
        if isinstance(value, (list, tuple)) and len(value) == 1:
            value = value[0]
        if not isinstance(value, Tensor):
            self.refuse("it is called on something other than one tensor")
        return value

    @property
    def real(self) -> Tensor:
        """The first argument as float32."""
        return self.x.cast(F32)

    @property
    def many(self) -> list[Tensor]:
        """The first argument as a list of tensors."""
        return [self.lift(v) for v in keras.tree.flatten(self.first)]

    def given(self, name: str, default: Any = None) -> Any:
        """The argument called ``name``, or ``default`` when it is absent or None."""
        value = self.arguments.get(name)
        return default if value is None else value

    def option(self, name: str, default: Any = None) -> Any:
        """The layer's own attribute ``name``."""
        return getattr(self.layer, name, default)

    # ---- what is around ------------------------------------------------------------------------------
    @property
    def training(self) -> bool:
        """Whether this call is part of a training step."""
        return self.tracing.training

    def apply(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Another layer's result."""
        return self.tracing.apply(layer, *args, **kwargs)

    def symbolically(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """What Python code written with ``keras.ops`` gives for tensors."""
        from a1400.keras.symbolic import run  # which needs this module

        return run(self, function, *args, **kwargs)

    def refuse(self, reason: str) -> NoReturn:
        """Say that this layer, or an option of it, is not supported."""
        raise Refusal(reason)

    # ---- tensors -------------------------------------------------------------------------------------
    def constant(self, array: Any, dtype: Any = F32) -> Tensor:
        """An array as a constant of the graph."""
        return Tensor(self.tracing.graph, self.tracing.graph.constant(array, np.dtype(dtype)))

    def lift(self, value: Any) -> Tensor:
        """A tensor as it is, a number or array as a constant (float64 as float32)."""
        if isinstance(value, Tensor):
            return value
        if isinstance(value, keras.Variable) and id(value) in self.tracing.values:
            return self.weight(value)
        array = np.asarray(keras.ops.convert_to_numpy(value))
        return self.constant(array, F32 if array.dtype.kind == "f" else array.dtype)

    def weight(self, variable: Any, order: Sequence[int] | None = None) -> Tensor:
        """A variable of the layer with its axes in ``order`` (as Keras has them when None)."""
        variable = getattr(variable, "variable", variable)  # the code of a layer around this one may be running
        values, layouts = self.tracing.values, self.tracing.layouts
        if id(variable) not in values:
            self.refuse(f"its variable {getattr(variable, 'path', '')!r} is not one of the model's weights")
        value = values[id(variable)]
        natural = tuple(range(value.rank))
        wanted = natural if order is None else tuple(order)
        if not layouts.frozen:
            layouts.order.setdefault(id(variable), wanted)
            return value.transpose(wanted)
        lies = layouts.order.get(id(variable), natural)
        return value.transpose([lies.index(axis) for axis in wanted])

    def update(self, variable: Any, value: Tensor) -> None:
        """Give a variable that is not trained a new value at the end of the step."""
        self.tracing.updates[id(getattr(variable, "variable", variable))] = value

    @property
    def random(self) -> RandomSource:
        """Where random numbers come from."""
        return self.tracing.random

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Random float32 numbers in [0, 1), other ones at every step."""
        return self.random.uniform(tuple(shape))


def _bound(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    bound = inspect.signature(layer.call).bind_partial(*args, **kwargs).arguments
    flat: dict[str, Any] = {}
    for name, value in bound.items():
        kind = inspect.signature(layer.call).parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            flat.update(value)
        else:
            flat[name] = value
    return flat
