"""The steps of a network on a device: programs per batch shape over one set of states, and what the states hold."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from a1400.backends.base import Device
from a1400.engine.memory_report import MemoryReport
from a1400.engine.program import Program, States, Weights
from a1400.errors import A1400Error, CheckpointError, InputError
from a1400.graph.graph import Graph
from a1400.train import random
from a1400.train.binding import Batch
from a1400.train.finite import FLAGS
from a1400.train.step import Signature, Steps
from a1400.train.update import HYPER, SCALE, buffer_state, parameter_state, slot_state

Arrays = dict[str, np.ndarray]
#: programs kept; the least recently used goes first
PROGRAM_LIMIT = 16


class Runner:
    """``steps`` on ``device``; its states begin with the network's arrays and ``seed``.

    Programs are made when a batch of a new shape comes.  Used by one thread at a time.
    """

    def __init__(
        self, steps: Steps, device: Device, seed: int, precision: str = "fp32", memory_limit: int | None = None,
        disable: Collection[str] = (),
    ) -> None:  # fmt: skip
        self.steps, self.device = steps, device
        self._options: dict[str, Any] = {
            "precision": precision, "memory_limit": memory_limit, "disable": _several(disable),
        }  # fmt: skip
        self.states, self._shared = States(device), Weights(device)
        self._programs: OrderedDict[tuple[str, Signature], Program] = OrderedDict()
        network = steps.network
        parameters = {name: np.asarray(array) for name, array in network.parameters.items()}
        steps.lay_out(parameters, self.states.alignment)
        steps.info = device.info
        for layout in steps.layouts:
            self.states.allocate(parameter_state(layout), layout.pack(parameters))
            for slot, own in steps.slots(layout).items():
                number = self._slots()[slot]
                first = layout.pack(parameters) if number is None else np.full(own.size, number, own.dtype)
                self.states.allocate(slot_state(layout, slot), first)
        for name, array in network.buffers.items():
            self.states.allocate(buffer_state(name), np.ascontiguousarray(array).reshape(array.shape))
        self.states.allocate(random.STATE, random.initial_state(seed))
        if steps.scale is not None:
            self.states.allocate(SCALE, steps.scale.initial_state())

    def _slots(self) -> dict[str, float | None]:
        return {} if self.steps.optimizer is None else self.steps.optimizer.slots

    # ---- running -------------------------------------------------------------------------------------
    def run(self, kind: str, batch: Batch, step: int = 0) -> Arrays:
        """One batch through the graph ``kind`` ("train", "evaluate" or "predict"): its outputs.

        ``step`` is how many batches the optimizer has seen.
        """
        feeds, optimizer = batch.feeds(), self.steps.optimizer
        trains = kind == "train"
        if trains and optimizer is not None and not optimizer.uses(step):
            kind = "gather"
        program = self.program(kind, signature(feeds))
        if trains:
            assert optimizer is not None
            feeds[HYPER] = optimizer.hyper(step)
        return program.run(feeds)

    def program(self, kind: str, of: Signature) -> Program:
        """The program for batches of this signature."""
        found = self._programs.get((kind, of))
        if found is None:
            found = self._programs[kind, of] = self._program(getattr(self.steps, kind)(of))
            while len(self._programs) > PROGRAM_LIMIT:
                self._programs.popitem(last=False)
        self._programs.move_to_end((kind, of))
        return found

    def _program(self, graph: Graph, *without: str) -> Program:
        options = {**self._options, "disable": (*self._options["disable"], *without)}
        return Program(graph, self.device, self.states, weights=self._shared, **options)

    def memory(self, kind: str = "train") -> MemoryReport:
        """What the program of graph ``kind`` that ran last needs; :class:`InputError` while there is none."""
        for (of, _), program in reversed(self._programs.items()):
            if of == kind:
                return program.memory()
        raise InputError(f"there is no program {kind!r} yet; run a batch first")

    @property
    def scale(self) -> float | None:
        """The loss scale now, where there is one."""
        return None if self.steps.scale is None else float(self.states.read(SCALE)[0])

    def scale_state(self) -> np.ndarray | None:
        """The loss scale and the steps since it changed, float32 [2], where there is one."""
        return None if self.steps.scale is None else self.states.read(SCALE)

    def write_scale(self, state: np.ndarray) -> None:
        """Replace what :meth:`scale_state` gives."""
        if self.steps.scale is not None:
            self.states.write(SCALE, np.asarray(state, np.float32))

    # ---- what the states hold ------------------------------------------------------------------------
    def parameters(self) -> Arrays:
        """Trained arrays by name."""
        found: Arrays = {}
        for layout in self.steps.layouts:
            found.update(layout.unpack(self.states.read(parameter_state(layout))))
        return {name: found[name] for name in self.steps.network.parameters}

    def buffers(self) -> Arrays:
        """Arrays that are not trained, by name."""
        return {name: self.states.read(buffer_state(name)) for name in self.steps.network.buffers}

    def write(self, weights: Mapping[str, np.ndarray]) -> None:
        """Replace parameters and buffers; :class:`InputError` for an unknown name or another shape."""
        left = {name: np.asarray(array) for name, array in weights.items()}
        for layout in self.steps.layouts:
            mine = {n: left.pop(n) for n in layout.places if n in left}
            if mine:
                _check(mine, {n: p.shape for n, p in layout.places.items()})
                before = layout.unpack(self.states.read(parameter_state(layout)))
                self.states.write(parameter_state(layout), layout.pack({**before, **mine}))
        known = {n: np.shape(a) for n, a in self.steps.network.buffers.items() if n in left}
        for name, shape in known.items():
            array = left.pop(name)
            _check({name: array}, {name: shape})
            dtype = self.states.read(buffer_state(name)).dtype
            self.states.write(buffer_state(name), np.ascontiguousarray(array, dtype).reshape(shape))
        if left:
            raise InputError(f"the network has no weight called {', '.join(left)}")

    def slots(self) -> dict[str, Arrays]:
        """The optimizer's slots by name and parameter."""
        found: dict[str, Arrays] = {slot: {} for slot in self._slots()}
        for layout in self.steps.layouts:
            for slot, own in self.steps.slots(layout).items():
                found[slot].update(own.unpack(self.states.read(slot_state(layout, slot))))
        return found

    def write_slots(self, slots: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Replace slots, those of the parameters that are named."""
        for layout in self.steps.layouts:
            for slot, own in self.steps.slots(layout).items():
                mine = {n: np.asarray(a) for n, a in slots.get(slot, {}).items() if n in own.places}
                if not mine:
                    continue
                _check(mine, {n: place.shape for n, place in own.places.items()})
                flat = self.states.read(slot_state(layout, slot))
                for name, array in mine.items():
                    place = own.places[name]
                    flat[place.start : place.start + place.size] = array.reshape(-1)
                self.states.write(slot_state(layout, slot), flat)

    def tensors(self) -> Arrays:
        """Everything that a checkpoint keeps, by the checkpoint's names."""
        made = {f"parameter/{n}": a for n, a in self.parameters().items()}
        made.update({f"buffer/{n}": a for n, a in self.buffers().items()})
        made.update({f"slot/{slot}/{n}": a for slot, arrays in self.slots().items() for n, a in arrays.items()})
        made["random/state"] = self.states.read(random.STATE)
        if self.steps.scale is not None:
            made["random/loss_scale"] = self.states.read(SCALE)
        return made

    def restore(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Take up what :meth:`tensors` gave; :class:`CheckpointError` where it is of another network or optimizer."""
        mine = {n: (a.shape, a.dtype) for n, a in self.tensors().items()}
        theirs = {n: (a.shape, a.dtype) for n, a in tensors.items() if n.split("/")[0] != "callback"}
        if mine != theirs:
            differ = sorted(n for n in {**mine, **theirs} if mine.get(n) != theirs.get(n))
            raise CheckpointError(
                f"the checkpoint is of another network, optimizer or precision: {', '.join(differ[:5])}"
                f"{' and others' if len(differ) > 5 else ''} differ"
            )
        def part(prefix: str) -> Arrays:
            return {n[len(prefix) + 1 :]: a for n, a in tensors.items() if n.startswith(prefix + "/")}

        self.write({**part("parameter"), **part("buffer")})
        self.write_slots({slot: part(f"slot/{slot}") for slot in self._slots()})
        self.states.write(random.STATE, tensors["random/state"])
        if self.steps.scale is not None:
            self.states.write(SCALE, tensors["random/loss_scale"])

    # ---- what went wrong -----------------------------------------------------------------------------
    def blame(self, batch: Batch) -> str:
        """Where the step on ``batch`` first gives what is not finite: half a sentence.

        The states are as they were before that step.
        """
        for name, array in batch.feeds().items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                kind, _, label = name.partition(":")
                return f"it is in the data already, in {kind} {label!r}"
        for name, array in {**self.parameters(), **self.buffers()}.items():
            if not np.isfinite(array.astype(np.float32)).all():
                return f"the weight {name!r} holds it already"
        for backward, text in ((False, "it begins in"), (True, "all values are finite, but not the gradient in")):
            try:
                search = self.steps.debugging(signature(batch.feeds()), backward)
                # a flag fused with its value would be a program of its own for each
                flags = self._program(search.graph, "fusion").run(batch.feeds())[FLAGS]
            except A1400Error as error:
                return f"the layer could not be found: {error}"
            entry = search.flags.origin(flags, search.ends)
            if entry is not None:
                return f"{text} {entry}"
        return "it did not come again when the layer was looked for"


def _several(names: Collection[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def signature(feeds: Mapping[str, np.ndarray]) -> Signature:
    """Names, shapes and dtypes of a batch's arrays."""
    return tuple((name, array.shape, array.dtype) for name, array in feeds.items())


def _check(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, array in arrays.items():
        if array.shape != shapes[name]:
            raise InputError(f"weight {name!r} has shape {list(shapes[name])}, not {list(array.shape)}")
