"""The pytest plugin in a project of its own: fixtures, choice of devices, skips with reasons, readable failures."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from a1400.backends import registry
from a1400.backends.base import DeviceInfo
from a1400.pytest_plugin import NO_DEVICE, difference, lacking
from tests.engine.onnx_models import mlp

#: as an installed copy's entry point would load it, but from this checkout
PLUGIN = ("-p", "no:a1400", "-p", "a1400.pytest_plugin", "-p", "no:cacheprovider", "-rs", "--strict-markers")
FIRST = """
def test_it(a1400_device, a1400_device_info):
    assert a1400_device.info == a1400_device_info
"""


@pytest.fixture(autouse=True)
def _this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """What child processes import; drivers do not bear being imported twice, so no test runs pytest in its own."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


@pytest.fixture
def here() -> list[DeviceInfo]:
    found = registry.list_devices()
    if not found:
        pytest.skip(NO_DEVICE)
    return found


def test_importing_it_is_light() -> None:
    """pytest imports it in every project."""
    code = (
        "import sys, a1400.pytest_plugin; "
        "heavy = {'numpy', 'pyopencl', 'cupy', 'onnx', 'rich', 'typer', 'a1400.backends', 'a1400.engine'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_driver_is_touched_without_a_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import sys\ndef test_plain():\n    assert not {'pyopencl', 'a1400.backends'} & set(sys.modules)\n"
    )
    pytester.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=1)


def test_the_entry_point_is_declared() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert '[project.entry-points.pytest11]\na1400 = "a1400.pytest_plugin"\n' in text
    found = [e.value for e in metadata.entry_points(group="pytest11") if e.name == "a1400"]
    assert found in ([], ["a1400.pytest_plugin"])  # an installed copy has it; a bare checkout has none


def test_one_test_per_device(
    pytester: pytest.Pytester, here: list[DeviceInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("A1400_TEST_DEVICES", raising=False)
    pytester.makepyfile(FIRST)
    done = pytester.runpytest_subprocess(*PLUGIN, "-v")
    done.assert_outcomes(passed=len(here))
    for info in here:
        done.stdout.fnmatch_lines([f"*test_it[[]{info.id}]*PASSED*"])


def test_devices_by_option_and_environment(
    pytester: pytest.Pytester, here: list[DeviceInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(FIRST)
    last = here[-1]
    monkeypatch.setenv("A1400_TEST_DEVICES", "no such thing")
    pytester.runpytest_subprocess(*PLUGIN, f"--a1400-devices={last.id}").assert_outcomes(passed=1)
    by_name = pytester.runpytest_subprocess(*PLUGIN, f"--a1400-devices=nothing, {last.platform.upper()}")
    by_name.assert_outcomes(passed=sum(last.platform.lower() in f"{i.name} {i.platform}".lower() for i in here))
    none = pytester.runpytest_subprocess(*PLUGIN)
    none.assert_outcomes(skipped=1)
    none.stdout.fnmatch_lines([f"*SKIPPED*{NO_DEVICE[:40]}*"])
    monkeypatch.setenv("A1400_TEST_DEVICES", last.id)
    pytester.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=1)


def test_needs(pytester: pytest.Pytester, here: list[DeviceInfo]) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.a1400_needs("fp64", memory=1)
        def test_has(a1400_device_info):
            assert a1400_device_info.fp64

        @pytest.mark.a1400_needs(memory=2**60)
        def test_lacks(a1400_device_info):
            assert False

        @pytest.mark.a1400_needs("antigravity")
        def test_unknown(a1400_device_info):
            pass
        """
    )
    done = pytester.runpytest_subprocess(*PLUGIN, f"--a1400-devices={here[0].id}")
    done.assert_outcomes(passed=int(here[0].fp64), skipped=2 - int(here[0].fp64), errors=1)
    done.stdout.fnmatch_lines(
        [f"*{here[0].id} ({here[0].name}) has memory {here[0].memory}, the test needs at least {2**60}*"]
    )
    done.stdout.fnmatch_lines(["*devices have no 'antigravity'*"])


def test_what_a_device_lacks() -> None:
    info = DeviceInfo(
        backend="opencl", index=0, name="x", vendor="v", platform="p", driver="1", kind="cpu", memory=100,
        max_allocation=1, local_memory=1, compute_units=1, max_group_size=1, alignment=1, fp16=False, fp64=True,
        subgroups=False, integer_dot=False, unified_memory=True,
    )  # fmt: skip
    assert lacking(info, ("fp64",), {"kind": "cpu", "memory": 100, "fp16": False}) == ""
    assert lacking(info, ("fp64", "fp16"), {}) == "has no fp16"
    assert lacking(info, (), {"kind": "gpu"}) == "has kind cpu, the test needs gpu"
    assert lacking(info, (), {"memory": 101}) == "has memory 100, the test needs at least 101"
    with pytest.raises(pytest.UsageError, match="no 'speed'"):
        lacking(info, (), {"speed": 1})


def test_verify_a_model(pytester: pytest.Pytester, here: list[DeviceInfo]) -> None:
    mlp(pytester.path / "mlp.onnx")
    pytester.makepyfile(
        """
        import numpy as np
        import pytest
        import a1400

        FEEDS = {"x": np.linspace(-1, 1, 96, dtype=np.float32).reshape(3, 32)}

        def test_by_reference(a1400_verify):
            assert a1400_verify("mlp.onnx", FEEDS)["y"].shape == (3, 10)

        def test_loaded_and_given(a1400_verify, a1400_device_info):
            model = a1400.load("mlp.onnx", device=a1400_device_info.id)
            y = a1400_verify(model, FEEDS, tolerance=1e-5)["y"]
            a1400_verify(model, FEEDS, [y], tolerance=0)
            a1400_verify("mlp.onnx", FEEDS, {"y": y}, disable=["layout"])

        def test_wrong(a1400_verify):
            a1400_verify("mlp.onnx", FEEDS, {"y": np.zeros((3, 10), np.float32)})

        def test_wrong_name(a1400_verify):
            a1400_verify("mlp.onnx", FEEDS, {"z": np.zeros((3, 10), np.float32)})
        """
    )
    done = pytester.runpytest_subprocess(*PLUGIN, f"--a1400-devices={here[0].id}")
    done.assert_outcomes(passed=2, failed=2)
    done.stdout.fnmatch_lines([f"*output 'y' on {here[0].id} ({here[0].name}): 30 of 30 values differ, largest *"])
    done.stdout.fnmatch_lines(["*the model has no output 'z'; it has *'y'*"])


def test_differences() -> None:
    a = np.array([1.0, -2.0, np.nan, np.inf], np.float32)
    assert difference(a, a.copy()) == ""
    assert difference(a, a.astype(np.float64)) == "float32[4] instead of float64[4]"
    assert difference(a, a[:3]) == "float32[4] instead of float32[3]"
    b = a.copy()
    b[0] += 1e-3
    told = difference(a, b)
    assert told.startswith("1 of 4 values differ, largest 0.0005 of the largest value (allowed: 0.0001); first at (0,)")
    assert difference(a, b, tolerance=1e-3) == ""
    for value in (np.nan, -np.inf):
        c = a.copy()
        c[1] = value
        assert difference(c, a).startswith("1 of 4 values differ") and difference(a, c).startswith("1 of 4")
    i = np.array([2**62, 3], np.int64)
    assert difference(i, i.copy()) == "" and "first at (0,)" in difference(i, i + 1)
    assert difference(np.zeros((0, 3), np.float16), np.ones((0, 3), np.float16)) == ""
