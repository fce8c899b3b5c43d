"""Python code written with ``keras.ops`` run on tensors of a graph: layers, models, losses and masks of a user's own.

While such code runs, its tensors are Keras's symbolic ones, so every function of ``keras.ops`` asks its operation for a
symbolic result; that is where the operation's converter appends nodes instead.  Layers that the code calls, random
numbers and losses that it adds are intercepted likewise, and the layers' variables stand as symbolic tensors, too.
Shapes are concrete meanwhile, so Python's own control flow may look at them.  What reads a variable in any other way
would freeze its value, and is refused.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import keras
from keras.src import backend as keras_backend  # Keras has no public names for what is intercepted
from keras.src.ops.operation import Operation

from a1400.errors import A1400Error
from a1400.graph.tensor import Tensor

if TYPE_CHECKING:
    from a1400.keras.tracing import Call, Tracing

#: what a layer keeps of its variables for itself
_BOOKKEEPING = frozenset(
    {"_trainable_variables", "_non_trainable_variables", "_seed_generators", "_torch_params", "_variables"}
)
_RANDOM = tuple(
    name for name in ("normal", "uniform", "truncated_normal", "dropout", "randint", "categorical", "shuffle", "gamma",
                      "binomial", "beta") if hasattr(keras_backend.random, name)
)  # fmt: skip


class Symbol(keras.KerasTensor):
    """One of Keras's symbolic tensors that stands for a tensor of a graph; not at home in any functional model."""

    def __init__(self, tensor: Tensor, mask: Tensor | None = None) -> None:
        super().__init__(tensor.shape, tensor.dtype.name)
        self.tensor = tensor
        if mask is not None:
            self._keras_mask = Symbol(mask)


class Weight(keras.KerasTensor):
    """A variable while the code of its layer runs; its tensor is made when it is first used."""

    def __init__(self, call: Call, variable: Any) -> None:
        super().__init__(tuple(variable.shape), str(variable.dtype), name=variable.name)
        self._call, self.variable = call, variable
        self.path, self.trainable = variable.path, variable.trainable

    @property
    def tensor(self) -> Tensor:
        """Its value at this point of the step, axes as Keras has them."""
        tracing = self._call.tracing
        assigned = tracing.updates.get(id(self.variable))
        return self._call.weight(self.variable) if assigned is None else assigned

    @property
    def value(self) -> Weight:
        """Itself: the value in the graph."""
        return self

    def assign(self, value: Any) -> Weight:
        """The variable's value from here on; only variables that are not trained are given one."""
        if self.trainable:
            self._call.refuse(f"it assigns to its trained variable {self.path!r}")
        found = self._call.lift(_unwrapped(self._call.tracing, value)).cast("float32").expand(tuple(self.shape))
        self._call.update(self.variable, found)
        return self

    def assign_add(self, value: Any) -> Weight:
        """Likewise, with ``value`` added."""
        return self.assign(self + value)

    def assign_sub(self, value: Any) -> Weight:
        """Likewise, less ``value``."""
        return self.assign(self - value)


class _Active(threading.local):
    call: Call | None = None


_active = _Active()
_lock = threading.RLock()


def run(call: Call, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What ``function`` gives for tensors, which it sees as symbolic ones; anything it raises is a refusal."""
    from a1400.keras.tracing import Lost, Refusal

    tracing = call.tracing
    args, kwargs = _wrapped(tracing, args), _wrapped(tracing, kwargs)
    with _intercepted(call):
        try:
            result = function(*args, **kwargs)
        except (Refusal, A1400Error, Lost):
            raise
        except Exception as error:  # the code is somebody else's and may raise anything
            text = " ".join(str(error).split()) or type(error).__name__
            raise Refusal(f"its code cannot be followed: {text[:300]}") from error
    return _unwrapped(tracing, result)


def run_layer(call: Call) -> Any:
    """What the ``call`` of a layer of somebody's own gives."""
    layer, args, kwargs = call.layer, call.args, dict(call.kwargs)
    takes = inspect.signature(layer.call).parameters
    any_name = any(p.kind is p.VAR_KEYWORD for p in takes.values())
    for name in [n for n in kwargs if n == "training" and n not in takes and not any_name]:
        del kwargs[name]
    bound = inspect.signature(layer.call).bind_partial(*args, **kwargs).arguments
    for name, value in call.arguments.items():
        if name.endswith("mask") and name in takes and bound.get(name) is None:
            kwargs[name] = value
    if "training" in takes and bound.get("training") is None:
        kwargs["training"] = call.training
    with _as_symbols(call, layer):
        return run(call, layer.call, *args, **kwargs)


# ---- tensors and symbols ---------------------------------------------------------------------------------
def _wrapped(tracing: Tracing, value: Any) -> Any:
    def one(x: Any) -> Any:
        return Symbol(x, tracing.masks.get(x)) if isinstance(x, Tensor) else x

    return keras.tree.map_structure(one, value)


def _unwrapped(tracing: Tracing, value: Any) -> Any:
    def one(x: Any) -> Any:
        if not isinstance(x, (Symbol, Weight)):
            return x
        tensor = x.tensor
        mask = getattr(x, "_keras_mask", None)
        if isinstance(mask, (Symbol, Weight)):
            tracing.masks.put(tensor, mask.tensor)
        return tensor

    return keras.tree.map_structure(one, value)


def _has_symbols(value: Any) -> bool:
    return any(isinstance(x, (Symbol, Weight)) for x in keras.tree.flatten(value))


# ---- interception ----------------------------------------------------------------------------------------
@contextmanager
def _intercepted(call: Call) -> Iterator[None]:
    """In this thread, what Keras would do with symbolic tensors appends nodes; other threads see Keras as it is."""
    with _lock, ExitStack() as stack:
        before, _active.call = _active.call, call
        stack.callback(setattr, _active, "call", before)
        if before is None:
            for owner, name, made in _interceptors():
                stack.callback(setattr, owner, name, inspect.getattr_static(owner, name))
                setattr(owner, name, made)
        yield


def _interceptors() -> Iterator[tuple[Any, str, Any]]:
    """(owner, attribute, what stands there meanwhile)."""
    yield Operation, "symbolic_call", _operation(Operation.symbolic_call)
    layer = keras.layers.Layer
    yield layer, "__call__", _layer(layer.__call__)
    yield layer, "add_loss", _loss(layer.add_loss)
    variable = keras_backend.Variable
    yield variable, "value", property(_value(inspect.getattr_static(variable, "value").fget))
    for name in _RANDOM:
        yield keras_backend.random, name, _random(name, getattr(keras_backend.random, name))


def _operation(keras_own: Any) -> Any:
    def symbolic_call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _active.call is None:
            return keras_own(self, *args, **kwargs)
        return _applied(self, args, kwargs)

    return symbolic_call


def _layer(keras_own: Any) -> Any:
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _active.call is None or not _has_symbols((args, kwargs)):
            return keras_own(self, *args, **kwargs)
        if not self.built and not self.weights:
            self.built = True  # there is nothing to build in a layer without weights
        return _applied(self, args, kwargs)

    return __call__


def _applied(operation: Any, args: Any, kwargs: Any) -> Any:
    assert _active.call is not None
    tracing = _active.call.tracing
    args, kwargs = _unwrapped(tracing, args), _unwrapped(tracing, kwargs)
    return _wrapped(tracing, tracing.apply(operation, *args, **kwargs))


def _loss(keras_own: Any) -> Any:
    def add_loss(self: Any, loss: Any) -> None:
        call = _active.call
        if call is None:
            keras_own(self, loss)
            return
        for term in keras.tree.flatten(_unwrapped(call.tracing, loss)):
            call.tracing.penalties.append(call.lift(term).cast("float32"))

    return add_loss


def _value(keras_own: Any) -> Any:
    def value(self: Any) -> Any:
        call = _active.call
        if call is not None and id(self) in call.tracing.values:
            call.refuse(f"it reads its variable {self.path!r} in a way that cannot be followed; use keras.ops on it")
        return keras_own(self)

    return value


def _random(name: str, keras_own: Any) -> Any:
    def drawn(*args: Any, **kwargs: Any) -> Any:
        call = _active.call
        if call is None:
            return keras_own(*args, **kwargs)
        given = inspect.signature(keras_own).bind(*args, **kwargs).arguments
        return _wrapped(call.tracing, _numbers(call, name, _unwrapped(call.tracing, dict(given))))

    return drawn


def _numbers(call: Call, name: str, given: dict[str, Any]) -> Tensor:
    """Random numbers of the trainer's, other ones at every step."""
    source = call.random
    if name == "dropout":
        return source.dropout(call.lift(given["inputs"]), float(given["rate"]), given.get("noise_shape"))
    ends = (given.get("minval", 0.0), given.get("maxval", 1.0), given.get("mean", 0.0), given.get("stddev", 1.0))
    if name not in ("normal", "uniform", "truncated_normal") or any(isinstance(n, Tensor) for n in ends):
        call.refuse(f"keras.random.{name} with these arguments is not supported; scale normal or uniform numbers")
    shape = tuple(int(n) for n in given["shape"])
    low, high, mean, deviation = (float(n) for n in ends)
    if name == "uniform":
        return source.uniform(shape, low, high)
    return getattr(source, name)(shape, mean, deviation)


@contextmanager
def _as_symbols(call: Call, layer: Any) -> Iterator[None]:
    """The variables of a layer, and of what is within it, stand as :class:`Weight` under their attributes."""
    known, held = call.tracing.values, {}

    def one(x: Any) -> Any:
        return Weight(call, x) if isinstance(x, keras.Variable) and id(x) in known else x

    for each in (*layer._flatten_layers(), *getattr(layer, "holders", ())):
        for name, value in list(vars(each).items()):
            if name in _BOOKKEEPING:
                continue
            if isinstance(value, keras.Variable):
                made = one(value)
            elif isinstance(value, (list, tuple, dict)) and _of_variables(value):
                made = {k: one(x) for k, x in value.items()} if isinstance(value, dict) else [one(x) for x in value]
            else:
                continue
            if made is not value:
                held[id(each), name] = (each, value)
                vars(each)[name] = made
    try:
        yield
    finally:
        for (_, name), (each, value) in held.items():
            vars(each)[name] = value


def _of_variables(value: Any) -> bool:
    return any(isinstance(x, keras.Variable) for x in (value.values() if isinstance(value, dict) else value))
