"""The child's side: plans the model on its device, and then measures what the parent asks for, setting by setting.

Each question is an object with ``do``; each answer a message with ``answer``.  Nothing here may be trusted to come
back: a driver may hang or abort in any question.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from statistics import median
from typing import Any

import numpy as np

from a1400 import config, dtypes
from a1400.backends.base import Device
from a1400.engine.model import Model
from a1400.errors import A1400Error
from a1400.kernels.check import data_of_call
from a1400.kernels.launches import CANARY, LoadedLaunch
from a1400.kernels.spec import KernelCall
from a1400.memory.storage import Ref
from a1400.tuning.choice import FILE_NAME
from a1400.tuning.space import Space, bound_scalars
from a1400.tuning.tuner.clock import Clock
from a1400.tuning.tuner.judge import Judge
from a1400.tuning.tuner.results import ERROR, OK, WRONG, CallFound, Trial, Whole
from a1400.verify.capture import take_call
from a1400.verify.model_checks import traced_of
from a1400.verify.stepper import Stepper
from a1400.verify.tracing import Traced, coarsest

Tell = Callable[[dict[str, Any]], None]
_PLAN_RUNS = 3
#: bytes of copies of a call's weights: more than caches hold
_MOST_COLD = 192 << 20
_MOST_COPIES = 256
_COMPARE_ROUNDS = 15


def serve(device: Device, job: dict[str, Any], tell: Tell, told: Callable[[], dict[str, Any]]) -> None:
    """A worker's task: answer until the question ``stop``."""
    if str(config.cache_dir()) != job["cache"]:  # this process writes tables of its own there
        raise A1400Error("a tuning runs with a cache folder of its own")
    bench = Bench(device, traced_of(job, 0))
    tell({"answer": "ready"})
    while (question := told())["do"] != "stop":
        tell({"answer": getattr(bench, question.pop("do"))(**question)})


class Bench:
    """A model on a device, one of its launches taken out and ready to run with any tunables."""

    def __init__(self, device: Device, traced: Traced) -> None:
        self._device, self._traced = device, traced
        self._stepper: Stepper | None = None
        self._call: KernelCall | None = None
        self._weights: list[str] = []  # names of the call's buffers that hold weights
        self._base: LoadedLaunch | None = None  # the default setting, whose memory all others use
        self._judge: Judge | None = None
        self._clock = Clock(device.info)

    # ---- questions: each returns what JSON can hold --------------------------------------------------
    def plan(self) -> dict[str, Any]:
        """Every kind of call of the plan with its share of the time, the heaviest first."""
        stepper = self._planned()
        times = np.min([stepper.time(self._traced.feeds) for _ in range(_PLAN_RUNS)], axis=0)
        total = float(times.sum()) or 1.0
        groups: dict[tuple[Any, ...], list[int]] = {}
        for number, launch in enumerate(stepper.plan.launches):
            groups.setdefault(_kind(launch.call), []).append(number)
        found = []
        for numbers in groups.values():
            slowest = max(numbers, key=lambda n: float(times[n]))
            seconds = float(times[numbers].sum())
            call = stepper.plan.launches[slowest].call
            space = self.space(call)
            found.append(CallFound(
                slowest, call.spec.name, call.variant.name, {n: dtypes.short(t) for n, t in call.types.items()},
                _plain(call), sorted(call.slots), len(numbers), seconds, seconds / total,
                {name: call.tunables[name] for name in space.values}, space.size,
                {name: value for name, value in call.tunables.items() if name not in space.values},
            ))  # fmt: skip
        found.sort(key=lambda c: -c.seconds)
        kind = coarsest(stepper.graph, self._traced.precision)
        return {"calls": [asdict(call) for call in found], "launches": len(times), "seconds": total, "kind": kind}

    def open(self, number: int) -> dict[str, Any]:
        """Take a launch out of the plan with the data it has in a run, and judge its default setting."""
        stepper = self._planned()
        stepper.feed(self._traced.feeds)
        for before in range(number):
            stepper.step(before)
        self._judge, self._clock = None, Clock(self._info)
        self._base = None
        self._call = take_call(stepper, stepper.plan.launches[number])
        self._weights = _weights(stepper.plan.launches[number].call)
        if self._call is None:
            return {"note": "its data is too large to be taken out of the model"}
        default = self._default()
        self._judge = Judge(self._call, default)
        if self._judge.problem:
            return {"note": self._judge.problem}
        return {"seconds": self._clock.measure(default), "checked": self._judge.checked, "clock": self._clock.name}

    def try_(self, tunables: dict[str, int], give_up: float | None) -> dict[str, Any]:
        """Compile a setting, judge what it computes, and time it."""
        assert self._judge is not None
        try:
            loaded = self._loaded(tunables)
            if wrong := self._judge.verdict(loaded):
                self._base = None  # it may have spoiled the inputs
                return asdict(Trial(tunables, WRONG, None, wrong))
            return asdict(Trial(tunables, OK, self._clock.measure(loaded, give_up)))
        except A1400Error as error:
            return asdict(Trial(tunables, ERROR, None, " ".join(str(error).split())[:500]))

    def race(self, settings: list[dict[str, int]], rounds: int) -> list[float]:
        """Median seconds of each setting, repeated in turn."""
        loaded = [self._loaded(setting) for setting in settings]
        return self._clock.race(loaded, rounds)

    def whole(self, table: str) -> dict[str, Any]:
        """The model as users run it, without a table and with ``table``; outputs compared, runs in turn."""
        self._call = self._judge = self._base = self._stepper = None
        own = config.cache_dir() / FILE_NAME
        models = []
        for text in ("", table):
            own.unlink(missing_ok=True)
            if text:
                own.write_text(text, encoding="utf-8")
            model = Model(self._traced.source, self._device, self._traced.disable,
                          precision=self._traced.precision or "fp32")  # fmt: skip
            models.append((model, model.run(self._traced.feeds)))
        own.unlink(missing_ok=True)
        return asdict(_compared(models, self._traced.feeds))

    # ---- the work ------------------------------------------------------------------------------------
    @property
    def _info(self) -> Any:
        return self._device.info

    def _planned(self) -> Stepper:
        if self._stepper is None:
            graph, report = self._traced.optimised(self._device)
            self._stepper = Stepper(graph, report, self._device, self._traced.precision)
        return self._stepper

    def space(self, call: KernelCall) -> Space:
        """The settings that may be tried for a call."""
        return Space(call.spec, call.variant, self._info, call.types, call.scalars, call.tunables)

    def _loaded(self, tunables: Mapping[str, int]) -> LoadedLaunch:
        assert self._call is not None
        made = replace(self._call, tunables={**self._call.tunables, **tunables})
        return LoadedLaunch(data_of_call(made, self._info.backend), self._device, CANARY, self._default())

    def _default(self) -> LoadedLaunch:
        """The default setting, with as many copies of the call's weights as make the model's.

        In a model the weights of all other launches pass through the caches between two runs of this one.
        """
        assert self._call is not None
        if self._base is None:
            data = data_of_call(self._call, self._info.backend)
            own = sum(host.nbytes for host in data.buffers() if host.name in self._weights)
            total = min(self._planned().plan.weight_bytes, _MOST_COLD)
            copies = max(1, min(_MOST_COPIES, total // max(own, 1)))
            self._base = LoadedLaunch(data, self._device, CANARY, None, self._weights, copies)
        return self._base


def _weights(call: KernelCall) -> list[str]:
    """Names, as in a call taken out of the plan, of the buffers that are weights."""
    names = [n for n, ref in call.buffers.items() if isinstance(ref, Ref) and ref.storage.kind == "weight"]
    for slot, arguments in call.slot_arguments.items():
        names += [f"{slot}_p{k}" for k, a in enumerate(arguments) if a.buffer and a.buffer.storage.kind == "weight"]
    return names


def _plain(call: KernelCall) -> dict[str, int | float]:
    """Scalars in Python's own types."""
    return {name: float(v) if isinstance(v, float | np.floating) else int(v) for name, v in call.scalars.items()}


def _kind(call: KernelCall) -> tuple[Any, ...]:
    """Equal for calls that one row of a table covers."""
    types = tuple(sorted((name, dtypes.short(t)) for name, t in call.types.items()))
    return call.spec.name, call.variant.name, types, tuple(bound_scalars(call.spec, call.scalars).items())


def _compared(models: list[tuple[Model, dict[str, np.ndarray]]], feeds: Mapping[str, np.ndarray]) -> Whole:
    difference = 0.0
    (before, expected), (after, got) = models
    for name, array in expected.items():
        if array.size and dtypes.is_float(array.dtype):
            one, other = array.astype(np.float64), got[name].astype(np.float64)
            scale = float(np.abs(one[np.isfinite(one)]).max(initial=0.0)) or 1.0
            apart = np.where((one == other) | (np.isnan(one) & np.isnan(other)), 0.0, np.abs(one - other))
            difference = max(difference, float(np.nan_to_num(apart, nan=np.inf).max()) / scale)
        elif array.size:
            difference = max(difference, float(np.mean(array != got[name])))  # an index may tip where two values tie
    samples: tuple[list[float], list[float]] = ([], [])
    begin = time.perf_counter()
    before.run(feeds)
    once = max(time.perf_counter() - begin, 1e-6)
    runs = max(1, min(200, int(0.05 / once)))
    for number in range(_COMPARE_ROUNDS):
        for index in (0, 1) if number % 2 == 0 else (1, 0):
            begin = time.perf_counter()
            for _ in range(runs):
                models[index][0].run(feeds)
            samples[index].append((time.perf_counter() - begin) / runs)
    programs = [len(model._latest().plan.programs) for model in (before, after)]
    return Whole(median(samples[0]), median(samples[1]), programs[0], programs[1], difference)
