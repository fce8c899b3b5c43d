"""Helper processes that build programs: what they make is used, and whatever befalls them every program is built."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from a1400.backends import opencl_builders
from a1400.backends.base import Device, DeviceInfo
from a1400.backends.opencl import OpenCLDevice
from a1400.backends.opencl_builders import Builders, serve
from a1400.backends.program_cache import ProgramCache, digest

SOURCE = "__kernel void plus{0}(__global float *a) {{ a[get_global_id(0)] += {0}.0f; }}"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProgramCache:
    monkeypatch.setenv("A1400_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("A1400_BUILD_PROCESSES", "2")
    return ProgramCache()


@pytest.fixture
def builders(device: Device, cache: ProgramCache) -> Builders:
    """Those of a fresh device object, with this process at work on a program."""
    assert isinstance(device, OpenCLDevice)
    made = OpenCLDevice(device.handle, device.info)._builders
    if made is None:
        pytest.skip(f"{device.info.platform} builds programs in this process only")
    assert not made.elsewhere(digest("own"), "", ""), "the first program is this process's"
    return made


def _key(device: Device, number: int) -> bytes:
    assert isinstance(device, OpenCLDevice)
    return digest(device.cache_identity, "", SOURCE.format(number))


def test_helpers_fill_the_cache(device: OpenCLDevice, builders: Builders, cache: ProgramCache) -> None:
    for number in (1, 2, 3):
        assert builders.elsewhere(_key(device, number), SOURCE.format(number), "")
    assert len(builders._idle) == 1, "one after the other: one helper did them all"
    builders.done()
    fresh = OpenCLDevice(device.handle, device.info)
    assert fresh._fetch(_key(device, 2), "") is not None
    assert not builders.elsewhere(_key(device, 4), SOURCE.format(4), ""), "nobody is building now"


def test_an_idle_helper_leaves_and_another_comes(device: OpenCLDevice, builders: Builders) -> None:
    assert builders.elsewhere(_key(device, 1), SOURCE.format(1), "")
    first = builders._idle[0]
    first.wait(timeout=opencl_builders._PATIENCE + 20)
    assert builders.elsewhere(_key(device, 2), SOURCE.format(2), "")
    assert builders._idle[0] is not first and first.stdin is not None and first.stdin.closed


@pytest.mark.parametrize("how", ["broken source", "dies", "other device", "cannot start", "silent"])
def test_a_failing_helper_leaves_the_program_to_us(
    device: OpenCLDevice, builders: Builders, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    source = SOURCE.format(1)
    if how == "broken source":
        source = "__kernel void broken("
    elif how == "other device":
        builders._identity += "?"
    elif how == "cannot start":
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
    else:
        text = "raise SystemExit(3)" if how == "dies" else "print('hello'); import time; time.sleep(100)"
        pipe = subprocess.PIPE
        monkeypatch.setattr(opencl_builders, "_LONGEST", 1.0)
        monkeypatch.setattr(
            builders, "_start", lambda: subprocess.Popen([sys.executable, "-c", text], stdin=pipe, stdout=pipe)
        )
    freed = threading.Timer(0.2, builders.done)  # the program that this process is building
    freed.start()
    assert not builders.elsewhere(digest("x"), source, ""), "this thread's turn, whatever became of the helper"
    assert builders._failed and builders._take() is None
    builders.done()


def test_none_where_python_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A1400_BUILD_PROCESSES", "2")
    assert opencl_builders.most_helpers() == 2
    monkeypatch.setattr(sys, "executable", "/opt/program/server")
    assert opencl_builders.most_helpers() == 0


def test_a_helper_ends_with_its_parent(info: DeviceInfo, device: OpenCLDevice, tmp_path: Path) -> None:
    (tmp_path / "pipe").write_bytes(b"")  # the end of a pipe that nobody writes to any more
    with (tmp_path / "pipe").open("rb", buffering=0) as raw, pytest.raises(SystemExit):
        assert isinstance(raw, io.FileIO)
        serve(info.index, device.cache_identity, raw)
