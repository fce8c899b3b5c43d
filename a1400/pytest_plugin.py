"""Fixtures that run a test on every device: a pytest plugin for whoever writes kernels or deploys models.

=======================  ===========================================================================================
``a1400_device_info``    a :class:`~a1400.backends.base.DeviceInfo`; a test that asks for it runs once per device
``a1400_device``         the same device, opened
``a1400_verify``         ``a1400_verify(model, feeds)``: run a model on the device and compare with a reference
``--a1400-devices``      which devices: ids or parts of names with commas (``opencl:0,radeon``); default: all, or those
                         that ``A1400_TEST_DEVICES`` names
``a1400_needs``          marker ``a1400_needs("fp16", kind="gpu")``: skip on devices that lack it, and say so
=======================  ===========================================================================================

pytest imports this module in every project where a1400 is installed, so importing it must cost nothing: no driver is
touched before a test that asks for a device is collected.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    import numpy as np

    from a1400.backends.base import Device, DeviceInfo
    from a1400.engine.model import Model

NO_DEVICE = (
    "no device is here, or none that --a1400-devices or A1400_TEST_DEVICES names; `a1400 doctor` says how to get one"
)
FIXTURE = "a1400_device_info"
#: largest difference relative to an output's largest magnitude that ``a1400_verify`` accepts, by dtype
TOLERANCE = {"float64": 1e-9, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}


class Verify(Protocol):
    """What the fixture ``a1400_verify`` gives: runs ``model`` on the test's device and returns the outputs.

    ``model`` is a path for :func:`a1400.load` (which takes ``options``) or a loaded model, ``feeds`` are arrays by
    input name.  ``expected`` are outputs by name, or in the model's order; without it they come from the NumPy
    references of the ops on the unoptimised graph.  ``tolerance`` bounds the difference relative to each output's
    largest magnitude; integers must be equal.  A difference is an ``AssertionError`` that says where and how far.
    """

    def __call__(
        self, model: Any, feeds: Mapping[str, Any], expected: Mapping[str, Any] | Sequence[Any] | None = None,
        *, tolerance: float | None = None, **options: Any,
    ) -> dict[str, np.ndarray]: ...  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--a1400-devices``."""
    parser.getgroup("a1400").addoption(
        "--a1400-devices", default=None, metavar="NAMES",
        help="devices that tests with a1400 fixtures run on: ids or parts of names, with commas (default: all, or "
             "those of A1400_TEST_DEVICES)",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        'a1400_needs(*features, **facts): skip on devices without these features ("fp16", "subgroups" ...) or with '
        'other facts (kind="gpu", backend="cuda"; numbers such as memory are least values)',
    )


def wanted(config: pytest.Config) -> str:
    """The devices that the command line, else the environment, names; empty: all."""
    named = config.getoption("--a1400-devices", default=None)
    return os.environ.get("A1400_TEST_DEVICES", "") if named is None else str(named)


def devices(config: pytest.Config) -> list[DeviceInfo]:
    """The devices to test on, in the registry's order."""
    from a1400.backends import registry

    found = registry.list_devices()
    parts = [part.strip().lower() for part in wanted(config).split(",") if part.strip()]
    if not parts:
        return found
    return [i for i in found if any(p == i.id or p in f"{i.name} {i.platform}".lower() for p in parts)]


def parametrize(metafunc: pytest.Metafunc, fixture: str, backend: str = "") -> None:
    """Run a test that uses ``fixture`` once for each device (of one backend); skip it, with the reason, for none."""
    if fixture not in metafunc.fixturenames:
        return
    chosen = [info for info in devices(metafunc.config) if backend in ("", info.backend)]
    if chosen:
        metafunc.parametrize(fixture, chosen, ids=[info.id for info in chosen], scope="session")
    else:
        nothing = pytest.param(None, marks=pytest.mark.skip(reason=NO_DEVICE), id="no-device")
        metafunc.parametrize(fixture, [nothing], scope="session")


def open_device(info: DeviceInfo) -> Device:
    """The device that ``info`` describes, opened."""
    from a1400.backends import registry

    return registry.all_backends()[info.backend].open(info.index)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per device."""
    parametrize(metafunc, FIXTURE)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip where the device lacks what the test's markers ask for."""
    marks = list(item.iter_markers("a1400_needs"))
    given = getattr(item, "callspec", None)
    info: DeviceInfo | None = given.params.get(FIXTURE) if given is not None else None
    if info is None:
        return
    for mark in marks:
        if lacks := lacking(info, mark.args, mark.kwargs):
            pytest.skip(f"{info.id} ({info.name}) {lacks}")


def lacking(info: DeviceInfo, features: Sequence[str], facts: Mapping[str, Any]) -> str:
    """What ``info`` lacks, in words; empty if nothing.  Raises ``pytest.UsageError`` for what no device has."""
    for name in (*features, *facts):
        if not isinstance(name, str) or not hasattr(info, name) or name.startswith("_"):
            raise pytest.UsageError(f"a1400_needs: devices have no {name!r}; see a1400.backends.base.DeviceInfo")
    for name in features:
        if not getattr(info, name):
            return f"has no {name}"
    for name, least in facts.items():
        value = getattr(info, name)
        number = isinstance(value, int) and not isinstance(value, bool)
        if value < least if number else value != least:
            return f"has {name} {value}, the test needs {'at least ' if number else ''}{least}"
    return ""


@pytest.fixture(scope="session")
def a1400_device(a1400_device_info: DeviceInfo) -> Device:
    """The device under test, opened."""
    return open_device(a1400_device_info)


@pytest.fixture
def a1400_verify(a1400_device_info: DeviceInfo) -> Verify:
    """Run a model on the device under test and compare its outputs: see :class:`Verify`."""

    def verify(
        model: Any, feeds: Mapping[str, Any], expected: Mapping[str, Any] | Sequence[Any] | None = None,
        *, tolerance: float | None = None, **options: Any,
    ) -> dict[str, np.ndarray]:  # fmt: skip
        import a1400
        from a1400.engine.model import Model

        loaded = model if isinstance(model, Model) else a1400.load(model, device=a1400_device_info.id, **options)
        got = loaded.run(feeds)
        if expected is None:
            wanted: Mapping[str, Any] = reference(loaded, feeds)
        elif isinstance(expected, Mapping):
            wanted = expected
        else:
            assert len(expected) == len(got), f"{len(expected)} expected outputs for a model with {list(got)}"
            wanted = dict(zip(got, expected))
        assert wanted, "nothing is expected: name at least one output"
        for name, want in wanted.items():
            assert name in got, f"the model has no output {name!r}; it has {list(got)}"
            message = difference(got[name], want, tolerance)
            assert not message, f"output {name!r} on {a1400_device_info.id} ({a1400_device_info.name}): {message}"
        return got

    return verify


def reference(model: Model, feeds: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Outputs of the unoptimised graph by the NumPy references of its ops."""
    from a1400.graph.graph import evaluate

    arrays = model._check(feeds)
    graph = model._trace(arrays)
    return evaluate(graph, {**arrays, **graph.told})


def difference(got: np.ndarray, want: Any, tolerance: float | None = None) -> str:
    """Empty where ``got`` agrees with ``want``, else how it differs."""
    import numpy as np

    from a1400 import dtypes

    want = np.asarray(want)
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{got.dtype}{list(got.shape)} instead of {want.dtype}{list(want.shape)}"
    if not got.size:
        return ""
    exact = not dtypes.is_float(got.dtype)
    bound = 0.0 if exact else TOLERANCE[str(got.dtype)] if tolerance is None else tolerance
    a, b = got.astype(got.dtype if exact else np.float64), want.astype(want.dtype if exact else np.float64)
    same = (a == b) | ((a != a) & (b != b))
    if exact:
        bad, far = ~same, ""
    else:
        finite = np.abs(b[np.isfinite(b)])
        scale = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
        with np.errstate(invalid="ignore"):
            apart = np.where(same, 0.0, np.abs(a - b) / scale)
        bad = ~(apart <= bound)  # NaN is bad too
        far = f", largest {np.nanmax(apart):.3g} of the largest value (allowed: {bound:g})" if bad.any() else ""
    if not bad.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(bad)[0])
    return f"{int(bad.sum())} of {bad.size} values differ{far}; first at {at}: {got[at]} instead of {want[at]}"
