"""The public model: load once, run from any thread, with plans made for the shapes that come."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from a1400.backends.base import Device, DeviceInfo
from a1400.engine.chain import PART_LIMIT, Chain
from a1400.engine.contexts import PlanEntry, host_memory, out_of_host_memory
from a1400.engine.device_array import DeviceArray, adopt
from a1400.engine.executor import DeviceWeights
from a1400.engine.explain import Explanation
from a1400.engine.feeds import as_array, check_shape
from a1400.engine.memory_report import MemoryReport
from a1400.engine.plan import make_plan
from a1400.engine.source import Source, TensorInfo
from a1400.engine.structures import assembled, leaves, parts, texts
from a1400.engine.weight_store import WeightStore
from a1400.errors import InputError
from a1400.frontends.errors import NeedsRun, NeedsValue
from a1400.frontends.signature import map_parts
from a1400.graph.draws import STATE, Draws
from a1400.graph.graph import MAX_ELEMENTS, Graph
from a1400.optimizer import PASSES, PRECISIONS, optimize

if TYPE_CHECKING:
    from a1400.profile import Profile

T = TypeVar("T")
#: plans kept per model; the least recently used goes first
PLAN_LIMIT = 16
#: remembered constants per model; every new shape adds some, so a model that meets endless shapes starts afresh in time
MEMO_LIMIT = 50_000


class Model:
    """A loaded model on one device.  ``run`` may be called from many threads at once."""

    def __init__(
        self, source: Source, device: Device, disable: Collection[str] = (), memory_limit: int | None = None,
        precision: str = "fp32",
    ) -> None:  # fmt: skip
        disable = (disable,) if isinstance(disable, str) else tuple(disable)
        unknown = sorted(set(disable) - set(PASSES))
        if unknown:
            raise InputError(f"there is no optimizer pass {', '.join(unknown)}; the passes are {', '.join(PASSES)}")
        if memory_limit is not None and (not isinstance(memory_limit, (int, float)) or not memory_limit >= 0):
            raise InputError(f"memory_limit is a number of bytes, not {memory_limit!r}")
        if precision not in PRECISIONS:
            raise InputError(f"there is no precision {precision!r}; choose one of {', '.join(PRECISIONS)}")
        self._source, self._device = source, device
        self._disable, self._memory_limit, self._precision = tuple(disable), memory_limit, precision
        self._store, self._weights = WeightStore(), DeviceWeights(device)
        self._memo: dict[Any, Any] = {}
        self._steering: set[str] = set()  # inputs whose values decide shapes
        self._optional: Mapping[str, Any] = getattr(source, "defaults", {})
        self._plain = all(getattr(info, "is_plain", True) for info in source.inputs.values())
        files = [n for n, info in source.inputs.items() if getattr(info, "encoded", False)]
        self._files = {part for n in files for part in (n, *map_parts(n))}
        self._draws = Draws()
        self._plans: OrderedDict[Any, PlanEntry | Chain] = OrderedDict()
        self._recent: tuple[tuple[tuple[str, np.dtype, tuple[int, ...]], ...], PlanEntry] | None = None
        self._lock = threading.Lock()
        self._planning = threading.Lock()

    @property
    def name(self) -> str:
        """The model's name."""
        return self._source.name

    @property
    def device(self) -> DeviceInfo:
        """The device it runs on."""
        return self._device.info

    @property
    def precision(self) -> str:
        """How float32 tensors are treated: fp32, tf32, fp16 or bf16."""
        return self._precision

    @property
    def inputs(self) -> dict[str, TensorInfo]:
        """Inputs by name."""
        return {n: TensorInfo.of(n, i) for n, i in self._source.inputs.items()}

    @property
    def defaults(self) -> dict[str, TensorInfo]:
        """Inputs that need not be given, by name: the model holds what they are then."""
        return {n: TensorInfo.of(n, i) for n, i in self._optional.items()}

    @property
    def outputs(self) -> dict[str, TensorInfo]:
        """Outputs by name."""
        return {n: TensorInfo.of(n, i) for n, i in self._source.outputs.items()}

    @property
    def metadata(self) -> dict[str, str]:
        """What the model's author wrote beside the graph, key to text."""
        return dict(self._source.metadata)

    # ---- running -------------------------------------------------------------------------------------
    def run(self, feeds: Mapping[str, Any], outputs: str | Mapping[str, str] = "host") -> dict[str, Any]:
        """Run on ``feeds`` (input name -> array); returns output name -> new array.

        ``feeds`` holds all :attr:`inputs`, and those of :attr:`defaults` that are to be another array this time (each
        set of names and shapes is a plan of its own).  An input is a NumPy array or what becomes one, or any object
        with ``__dlpack__`` (tensors of PyTorch, CuPy, JAX ...): one in the host's memory, or on the model's own device,
        is used where it lies.  ``outputs`` is ``"host"`` for NumPy arrays or ``"device"`` for :class:`DeviceArray`
        objects, which may be fed to the next run; a mapping says it for each output (``{"cache": "device"}``), the
        others then come to the host.

        A sequence is a list of arrays, in and out, a map a dict; an optional that holds nothing is None, or left out;
        strings are arrays of ``str`` (dtype object), or what becomes such.  The host works on strings and dicts and
        decodes files, the device works on the numbers that come of them.

        Raises :class:`InputError` for a wrong name, shape, dtype or device, and :class:`ModelFileError` when weights
        that are used where they lie in the model's file were written to.  Blocks until the results are there.
        """
        on_device = self._places(outputs)
        entry = self._again(feeds)
        if entry is None:
            feeds = self._check(feeds)
            found, feeds, structure = self._ready(feeds)
            while isinstance(found, Chain):
                try:
                    return found.run({**feeds, STATE: self._draws.next()}, on_device)
                except NeedsValue as need:
                    self._steer(need)
                    found, feeds, structure = self._ready(feeds)
            entry = found
            if self._plain:
                self._recent = (tuple((n, a.dtype, a.shape) for n, a in feeds.items()), entry)
        else:
            structure = entry.plan.graph.results
        self._check_files(entry)
        feeds = self._draws.fed(feeds, entry.plan.graph.inputs)
        context = entry.take()
        try:
            if structure is None:
                return context.run(feeds, on_device)
            return assembled(structure, context.run(feeds, parts(structure, on_device)))
        except MemoryError as error:
            raise out_of_host_memory(error) from None
        finally:
            entry.give_back(context)

    def seed(self, number: int | None) -> None:
        """Have the runs from now on draw their random numbers with ``number``; None: with a seed that nobody knows."""
        self._draws.seed(number)

    def _check_files(self, entry: PlanEntry) -> None:
        if entry.maps:
            self._source.check(entry.maps)

    def _again(self, feeds: Any) -> PlanEntry | None:
        """The latest plan, where ``feeds`` are dense NumPy arrays of its very shapes and dtypes: the usual case."""
        recent = self._recent
        if recent is None or type(feeds) is not dict or len(feeds) != len(recent[0]) or self._steering:
            return None
        for name, dtype, shape in recent[0]:
            array = feeds.get(name)
            if type(array) is not np.ndarray or array.shape != shape or array.dtype != dtype:
                return None
            if not array.flags.c_contiguous:
                return None
        return recent[1]

    def _places(self, outputs: str | Mapping[str, str]) -> frozenset[str]:
        """Names of the outputs that stay on the device."""
        if outputs == "host":
            return frozenset()
        known = self._source.outputs
        places = dict.fromkeys(known, outputs) if isinstance(outputs, str) else dict(outputs)
        for name, place in places.items():
            if name not in known:
                raise InputError(f"the model has no output {name!r}; its outputs are {', '.join(known)}")
            if place not in ("host", "device"):
                raise InputError(f"an output can stay on the 'device' or come to the 'host', not {place!r}")
            maps = "map" in getattr(known[name], "kind", "")
            if place == "device" and (maps or known[name].dtype == np.dtype(object)):
                raise InputError(f"output {name!r} holds strings or dicts, which cannot stay on the device")
        return frozenset(name for name, place in places.items() if place == "device")

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Inputs by position or name; one output comes bare, several as a tuple in the model's order."""
        if len(inputs) > len(self._source.inputs):
            raise InputError(f"the model takes {len(self._source.inputs)} inputs, {len(inputs)} were given")
        feeds = dict(zip(self._source.inputs, inputs, strict=False))
        for name in named:
            if name in feeds:
                raise InputError(f"input {name!r} is given twice")
        outputs = tuple(self.run({**feeds, **named}).values())
        return outputs[0] if len(outputs) == 1 else outputs

    def prepare(self, shapes: Mapping[str, Any]) -> None:
        """Make the plan and compile its programs ahead of the first run.

        ``shapes`` gives for each input an array, or a shape as a tuple; what :meth:`run` takes where an input is
        strings, a sequence or an optional.  Of a model whose shapes depend on what tensors hold it is the part in front
        of the first such value that is made.
        """
        arrays = {}
        for name, value in self._named(shapes).items():
            shape = isinstance(value, (tuple, list)) and getattr(self._declared(name), "is_plain", True)
            arrays[name] = self._zeros(name, value) if shape else value
        feeds = self._check(arrays)
        while True:
            found = self._ready(feeds)[0]
            if isinstance(found, PlanEntry):
                with found.context():
                    return
            try:
                return found.begin(feeds)
            except NeedsValue as need:
                self._steer(need)

    def _unknown(self, name: str) -> bool:
        raise InputError(f"the model has no input {name!r}; its inputs are {', '.join(self._source.inputs)}")

    def _zeros(self, name: str, shape: Sequence[Any]) -> np.ndarray:
        whole = all(isinstance(d, (int, np.integer)) and d >= 0 for d in shape)
        if not whole or math.prod(int(d) for d in shape) > MAX_ELEMENTS:
            raise InputError(f"input {name!r} cannot have the shape {list(shape)}")
        return np.zeros(tuple(shape), self._declared(name).dtype)

    def _declared(self, name: str) -> Any:
        return self._optional[name] if name in self._optional else self._source.inputs[name]

    def _named(self, feeds: Mapping[str, Any]) -> Mapping[str, Any]:
        if not isinstance(feeds, Mapping):
            raise InputError(f"inputs are given as a dict of name to array, not as {type(feeds).__name__}")
        for name in feeds:
            if name not in self._source.inputs and name not in self._optional:
                self._unknown(name)
        return feeds

    def _check(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Each input as a NumPy array or a :class:`DeviceArray`, dense and of the model's dtype and shape."""
        self._named(feeds)
        arrays: dict[str, Any] = {}
        symbols: dict[str, tuple[int, str]] = {}
        for name, info in self._source.inputs.items():
            if not self._plain and not info.is_plain:
                arrays |= leaves(name, info, feeds.get(name))
                continue
            if name not in feeds:
                raise InputError(f"input {name!r} is missing; the model needs {', '.join(self._source.inputs)}")
            arrays[name] = self._array(name, feeds[name], info, symbols)
        for name in (n for n in self._optional if n in feeds):
            arrays[name] = self._array(name, feeds[name], self._optional[name], symbols)
        return arrays

    def _array(self, name: str, given: Any, info: Any, symbols: dict[str, tuple[int, str]]) -> np.ndarray | DeviceArray:
        given = adopt(name, given, self._device)
        array = given if isinstance(given, DeviceArray) else as_array(name, given, np.dtype(info.dtype))
        if array.dtype != info.dtype:
            raise InputError(f"input {name!r} is {array.dtype}, the model needs {info.dtype}; convert with .astype()")
        if info.shape is not None:
            check_shape(name, array.shape, info.shape, symbols)
        if isinstance(array, np.ndarray) and not array.flags.c_contiguous:
            array = np.ascontiguousarray(array)
        return array

    # ---- plans ---------------------------------------------------------------------------------------
    def _key(self, arrays: Mapping[str, Any], signature: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        steering = tuple((n, np.asarray(arrays[n]).tobytes()) for n in self._steered(arrays))
        # a file's length decides nothing: what it decodes to is part of the signature
        shapes = tuple((n, None if a is None else a.shape) for n, a in arrays.items() if n not in self._files)
        return shapes, steering, signature

    def _steered(self, arrays: Mapping[str, Any]) -> list[str]:
        """Names of those of ``arrays`` whose values decide shapes."""
        return sorted(n for n in self._steering if arrays.get(n) is not None)

    def _ready(self, arrays: dict[str, Any]) -> tuple[PlanEntry | Chain, dict[str, Any], dict[str, Any] | None]:
        """The plan for ``arrays``, what it is fed with, and what the outputs are made of (see :class:`Graph`)."""
        words = {} if self._plain else texts(arrays, self._files)
        if not words:
            found = self._entry(arrays)
            return found, arrays, None if isinstance(found, Chain) else found.plan.graph.results
        # a plan serves all texts that give its graph; a chain, whose later parts are not traced yet, these very texts
        said = (Chain, *((n, a.tobytes() if a.dtype != object else tuple(a.ravel())) for n, a in words.items()))
        with self._planning, host_memory():
            with self._lock:
                known = self._plans.get(self._key(arrays, said))
            if known is not None:
                return known, arrays, None
            try:
                graph = self._trace(arrays)  # that is the work on strings
            except NeedsRun:
                chain = self._chain(arrays)
                self._keep(self._key(arrays, said), chain)
                return chain, arrays, None
            told, results = graph.told, graph.results
            key = self._key(arrays, graph.signature)
            with self._lock:
                known = self._plans.get(key)
            entry = known if isinstance(known, PlanEntry) else self._plan(graph)
            self._keep(key, entry)
        return entry, {**arrays, **told}, results

    def _keep(self, key: tuple[Any, ...], entry: PlanEntry | Chain) -> None:
        with self._lock:
            self._plans[key] = entry
            self._plans.move_to_end(key)
            while len(self._plans) > PLAN_LIMIT:
                self._plans.popitem(last=False)

    def _entry(self, arrays: Mapping[str, Any]) -> PlanEntry | Chain:
        key = self._key(arrays)
        with self._lock:
            entry = self._plans.get(key)
            if entry is not None:
                self._plans.move_to_end(key)
                return entry
        with self._planning:  # one plan at a time: they share the memo and the weights
            with self._lock:
                entry = self._plans.get(key)
            if entry is None:
                with host_memory():
                    entry = self._make(arrays)
                # tracing may have found that more input values matter: the key is taken afresh
                self._keep(self._key(arrays), entry)
        return entry

    def _make(self, arrays: Mapping[str, Any]) -> PlanEntry | Chain:
        try:
            return self._plan(self._trace(arrays))
        except NeedsRun:
            return self._chain(arrays)

    def _chain(self, arrays: Mapping[str, Any]) -> Chain:
        trace = partial(self._source.graph, *self._known(arrays))
        return Chain(trace, self._plan, self._check_files, self._planning)

    def _known(self, arrays: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What a trace is told: the shapes, and the values that steer them or are strings."""
        words = {} if self._plain else texts(arrays, self._files)
        values = {n: np.asarray(arrays[n]) for n in self._steered(arrays)} | words
        return {n: None if a is None else a.shape for n, a in arrays.items()}, values

    def _trace(self, arrays: Mapping[str, Any]) -> Graph:
        """Trace; inputs whose values turn out to steer shapes become part of the plan's key from then on."""
        while True:
            try:
                return self._source.graph(*self._known(arrays))
            except NeedsValue as need:
                self._steer(need)

    def _steer(self, need: NeedsValue) -> None:
        """Let the values of the inputs that ``need`` names be part of the plan's key; raises it if they are."""
        if set(need.inputs) <= self._steering:
            raise need
        self._steering |= set(need.inputs)

    def _plan(self, graph: Graph) -> PlanEntry:
        if len(self._memo) > MEMO_LIMIT:
            self._memo.clear()
        report = optimize(
            graph, disable=self._disable, memo=self._memo, info=self._device.info, precision=self._precision
        )
        allow = frozenset({"tf32"}) if self._precision == "tf32" else frozenset[str]()
        plan = make_plan(graph, report, self._device, self._store, self._memory_limit, allow)
        return PlanEntry(plan, self._device, self._weights, self._make_room)

    def _make_room(self, wanting: PlanEntry) -> bool:
        """Free the idle contexts of other plans; whether there were any."""
        with self._lock:
            known = list(self._plans.values())
        entries = [e for found in known for e in (found.entries() if isinstance(found, Chain) else (found,))]
        others = [entry for entry in entries if entry is not wanting]
        return sum(entry.drop_idle() for entry in others) > 0

    # ---- looking -------------------------------------------------------------------------------------
    def _entries(self) -> tuple[list[PlanEntry], Chain | None]:
        """The plans of the latest run in order, and the chain that they are parts of."""
        if not self._plans:
            shapes = {}
            for name, info in self._source.inputs.items():
                if not getattr(info, "is_plain", True):
                    raise InputError(f"run the model once first: what {name!r} holds is part of its plan")
                shape = tuple(d if isinstance(d, int) else 1 for d in info.shape or ())
                shapes[name] = np.zeros(shape, info.dtype)
            self.prepare(shapes)
        with self._lock:
            found = next(reversed(self._plans.values()))
        return (found.latest(), found) if isinstance(found, Chain) else ([found], None)

    def _latest(self) -> PlanEntry:
        return self._entries()[0][-1]

    def explain(self) -> Explanation:
        """What became of the model's nodes in the latest plan (made with every unknown dimension 1 if none was).

        Of a model that runs in parts: in those of the latest run.
        """
        entries, chain = self._entries()
        info, nodes = self._device.info, dict(self._source.node_ops)
        plans = [entry.plan for entry in entries]
        kept = (chain.kept, PART_LIMIT) if chain is not None else None
        made = len(self._plans), PLAN_LIMIT
        return Explanation(self.name, f"{info.name} ({info.id})", nodes, plans, self._precision, kept, made)

    def launch_count(self) -> int:
        """How many kernels the latest plan launches; 0 while there is none."""
        return sum(len(entry.plan.launches) for entry in self._entries()[0]) if self._plans else 0

    def memory(self) -> MemoryReport:
        """Bytes the latest plan needs."""
        return MemoryReport.of(*self._entries()[0])

    def profile(
        self, feeds: Mapping[str, Any], runs: int = 20, warmup: int = 3, calibrate: bool = False
    ) -> Profile:
        """Where the time goes on ``feeds``: each launch timed by the device, held against the device's peaks.

        Plain and profiled runs alternate, ``runs`` of each after ``warmup`` of each.  The peaks are measured once per
        device and kept in the cache folder; ``calibrate`` measures them again.
        """
        from a1400.profile.joined import joined
        from a1400.profile.measure import measure
        from a1400.profile.roofline import roofline

        if runs < 1 or warmup < 0:
            raise InputError(f"a profile takes at least one run and no less than no warm-up, not {runs} and {warmup}")
        peaks = roofline(self._device, calibrate)

        def one(entry: PlanEntry, arrays: Mapping[str, Any]) -> Profile:
            return measure(entry, arrays, self._device, peaks, self.name, self._precision, runs, warmup)

        arrays = self._check(feeds)
        parts = self._each(arrays, one)
        return parts[0][1] if len(parts) == 1 else joined(parts, {name: a.shape for name, a in arrays.items()})

    def time_launches(self, feeds: Mapping[str, Any]) -> list[tuple[str, float]]:
        """(kernel, device seconds) of every launch of one run, one after the other."""

        def one(entry: PlanEntry, arrays: Mapping[str, Any]) -> list[tuple[str, float]]:
            with entry.context() as context:
                seconds = context.time_launches(arrays)
            names = [f"{x.call.spec.name}/{x.call.variant.name}" for x in entry.plan.launches]
            return list(zip(names, seconds, strict=True))

        return [launch for _, launches in self._each(self._check(feeds), one) for launch in launches]

    def _each(
        self, arrays: dict[str, Any], look: Callable[[PlanEntry, Mapping[str, Any]], T]
    ) -> list[tuple[PlanEntry, T]]:
        """The plans that a run on ``arrays`` goes through, each with what ``look`` says of it and its inputs."""
        seen: list[tuple[PlanEntry, T]] = []
        while True:
            found, fed, _ = self._ready(arrays)
            if isinstance(found, PlanEntry):
                return [(found, look(found, dict(self._draws.fed(fed, found.plan.graph.inputs))))]
            fed = {**fed, STATE: self._draws.next()}
            try:
                found.run(fed, ())  # so that all its parts are there
                found.run(fed, (), lambda entry, given: seen.append((entry, look(entry, given))))
                return seen
            except NeedsValue as need:
                self._steer(need)


def load(
    path: str | PathLike[str], backend: str | None = None, device: str | int | None = None,
    disable: Collection[str] = (), memory_limit: int | None = None, precision: str | None = None,
) -> Model:  # fmt: skip
    """Load a model file (ONNX) onto a device.

    ``backend`` ("cuda" or "opencl") and ``device`` (index, ``opencl:1`` or part of a name) default to the environment,
    then to the best device.  ``disable`` names optimizer passes to leave out.  ``memory_limit`` in bytes is honoured or
    refused with numbers.

    ``precision`` says how float32 tensors are treated; inputs and outputs keep the model's dtypes.  "fp32" (default, or
    ``A1400_PRECISION``): as the model says.  "tf32": products and convolutions may round what they read to tf32 where
    the device has such units.  "fp16", "bf16": tensors between kernels and weights are stored so, sums and everything
    inside a kernel stay float32; on every device, whether it computes with half types or not.

    Raises :class:`~a1400.errors.ModelFileError`, :class:`~a1400.errors.UnsupportedOpError`,
    :class:`~a1400.errors.GraphError` or :class:`~a1400.errors.BackendNotFoundError`.
    """
    from a1400.backends.registry import choose
    from a1400.config import precision_from_environment
    from a1400.frontends.onnx import load_onnx

    source = load_onnx(path)
    precision = precision or precision_from_environment() or "fp32"
    return Model(source, choose(backend, device), disable, memory_limit, precision)
