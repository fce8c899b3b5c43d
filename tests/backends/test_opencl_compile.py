"""Compile errors and the disk cache of programs."""

from __future__ import annotations

import numpy as np
import pytest

from a1400.backends.compile_log import error_place, source_line
from a1400.backends.opencl import OpenCLDevice
from a1400.backends.program_cache import ProgramCache, digest
from a1400.errors import KernelCompileError

DOUBLE = """
__kernel void twice(__global float *a) { a[get_global_id(0)] *= 2.0f; }
"""


def test_compile_error_names_everything(device):
    source = "__kernel void broken(__global float *a)\n{\n    a[0] = no_such_name;\n}\n"
    with pytest.raises(KernelCompileError) as caught:
        device.compile("my_spec", source, "broken")
    text = str(caught.value)
    for part in ("my_spec", device.info.name, device.info.driver, "line 3", "a[0] = no_such_name;"):
        assert part in text


def test_missing_entry_is_reported(device):
    with pytest.raises(KernelCompileError, match="no_such_kernel"):
        program = device.compile("my_spec", DOUBLE, "no_such_kernel")
        program.bind([device.alloc(4)], (1, 1, 1), (1, 1, 1))


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("Compilation started\n2:3:7: error: use of undeclared identifier", 3),
        ("error: /root/.cache/pocl/kcache/tempfile_x.cl:12:7: use of undeclared", 12),
        ("input.cl:4:1: error: expected ';'", 4),
        ("<kernel>:9:1: error: x\n<kernel>:10:1: error: y", 9),
        ("input.cl:2:1: warning: unused\ninput.cl:5:1: fatal error: y", 5),
        ('/tmp/tmpx/kernel.cu(17): error: identifier "zz" is undefined', 17),
        ("something went wrong", None),
    ],
)
def test_error_line(log, line):
    place = error_place(log)
    assert (None if place is None else place[1]) == line


def test_source_line_follows_line_directives():
    source = 'a\n#line 1 "gemm.cl"\nfirst\nsecond\n#line 10 "other.h"\ntenth\n'
    assert source_line(source, "/tmp/gemm.cl", 2) == "second"
    assert source_line(source, "other.h", 10) == "tenth"
    assert source_line(source, "", 1) == "a"
    assert source_line(source, "gemm.cl", 99) is None


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("A1400_CACHE_DIR", str(tmp_path))
    return ProgramCache()


def test_cache_returns_what_was_stored(cache):
    key = digest("a", "b")
    assert cache.load(key) is None
    cache.store(key, b"payload")
    assert cache.load(key) == b"payload"
    assert [path.name for path in cache.path(key).parent.iterdir()] == [cache.path(key).name]
    cache.discard(key)
    assert cache.load(key) is None


def test_cache_keys_do_not_run_together():
    assert digest("ab", "c") != digest("a", "bc") != digest("abc")


def damage_truncate(data: bytes) -> bytes:
    return data[: len(data) // 2]


def damage_flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def damage_empty(data: bytes) -> bytes:
    return b""


def damage_foreign(data: bytes) -> bytes:
    return b"\x7fELF" + data


DAMAGES = [damage_truncate, damage_flip, damage_empty, damage_foreign]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_entry_counts_as_absent(cache, damage):
    key = digest("x")
    cache.store(key, b"payload")
    cache.path(key).write_bytes(damage(cache.path(key).read_bytes()))
    assert cache.load(key) is None


def test_entry_of_another_key_counts_as_absent(cache):
    one, two = digest("1"), digest("2")
    cache.store(one, b"payload")
    cache.path(one).rename(cache.path(two))
    assert cache.load(two) is None


def test_unwritable_cache_is_harmless(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("A1400_CACHE_DIR", str(blocked))
    cache = ProgramCache()
    cache.store(digest("x"), b"payload")
    assert cache.load(digest("x")) is None
    cache.discard(digest("x"))


def fresh(device) -> OpenCLDevice:
    """A device object with an empty in-memory cache, as a new process would have."""
    return OpenCLDevice(device.handle, device.info)


def runs(device) -> bool:
    program = device.compile("twice", DOUBLE, "twice")
    stream = device.stream()
    buffer = device.alloc(64)
    stream.write(buffer, np.full(16, 3, np.float32))
    stream.run([program.bind([buffer], (1, 1, 1), (16, 1, 1))])
    back = np.zeros(16, np.float32)
    stream.read(buffer, back)
    return bool((back == 6).all())


def needs_disk_cache(device, cache) -> None:
    if device._disk_cache is None:
        pytest.skip(f"{device.info.platform} keeps no binaries of ours")


def test_second_process_reuses_the_binary(device, cache, monkeypatch):
    needs_disk_cache(device, cache)
    assert runs(fresh(device))
    monkeypatch.setattr(OpenCLDevice, "_build", lambda *a: pytest.fail("built again"))
    second = fresh(device)
    assert runs(second)
    assert second.compiled_programs == 1


@pytest.mark.parametrize("damage", [*DAMAGES, None])
def test_damaged_binary_is_rebuilt(device, cache, tmp_path, damage):
    needs_disk_cache(device, cache)
    assert runs(fresh(device))
    (path,) = (tmp_path / "programs").iterdir()
    good = path.read_bytes()
    if damage is None:  # an intact entry whose payload the driver refuses
        cache.store(bytes.fromhex(path.stem), b"not a program")
    else:
        path.write_bytes(damage(good))
    assert runs(fresh(device))
    assert path.stat().st_size == len(good)


def test_one_object_builds_a_source_once(device, cache):
    device = fresh(device)
    for _ in range(3):
        assert runs(device)
    assert device.compiled_programs == 1
    device.compile("twice", DOUBLE, "twice", ["-DOTHER=1"])
    assert device.compiled_programs == 2
