"""Registration of OpenCL runtimes, each case in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import a1400
from a1400.backends import opencl_runtime

LIST = """
from a1400.backends.opencl import OpenCLBackend
backend = OpenCLBackend()
print("\\n".join(info.platform for info in backend.devices()))
"""


def child(code: str, prefix: tuple[str, ...] = (), **environment: str) -> list[str]:
    """Output lines of ``code`` run in a new process, without what this process registered."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("A1400_") and k != "OCL_ICD_VENDORS"}
    variables["PYTHONPATH"] = str(Path(a1400.__path__[0]).parent)
    done = subprocess.run(
        [*prefix, sys.executable, "-c", code],
        env={**variables, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.fixture(scope="module")
def everything() -> list[str]:
    found = [line for line in child(LIST) if line]
    if not found:
        pytest.skip("no OpenCL runtime is installed")
    return found


def has(platforms: list[str], part: str) -> None:
    if not any(part in name for name in platforms):
        pytest.skip(f"no {part} platform is installed")


@pytest.mark.parametrize("part", ["intel", "Portable Computing Language", "pocl"])
def test_one_platform_alone(everything, part):
    name = "Intel" if part == "intel" else "Portable"
    has(everything, name)
    found = child(LIST, A1400_OPENCL_PLATFORMS=part)
    assert len(found) == 1
    assert name in found[0]


def test_no_platform_registered_twice(everything):
    assert sum("Portable" in name for name in everything) <= 1
    assert sum("Intel" in name and "CPU" not in name for name in everything) <= 1


def test_filter_that_matches_nothing(everything):
    if everything == ["Oclgrind"]:
        pytest.skip("Oclgrind is not registered, so no filter concerns it")
    code = LIST + "print(*backend.problems())"
    text = " ".join(child(code, A1400_OPENCL_PLATFORMS="no-such-platform"))
    assert "no-such-platform" in text
    assert "pip install" in text


@pytest.mark.parametrize("cache", ["file/in/the/way", "not/there/yet"])
def test_cache_missing_or_unusable(everything, tmp_path, cache):
    (tmp_path / "file").write_text("in the way")
    assert child(LIST, A1400_CACHE_DIR=str(tmp_path / cache)) == everything


def test_many_processes_at_once(everything, tmp_path):
    variables = {**os.environ, "A1400_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(a1400.__path__[0]).parent)}
    crowd = [
        subprocess.Popen([sys.executable, "-c", LIST], env=variables, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in crowd]
    assert len(set(outputs)) == 1
    assert all(process.returncode == 0 for process in crowd)
    assert not list(tmp_path.glob("opencl-icd/.*"))


def test_child_process_may_choose_another_platform(everything):
    has(everything, "Intel")
    has(everything, "Portable")
    code = f"""
import os, subprocess, sys
{LIST}
os.environ["A1400_OPENCL_PLATFORMS"] = "pocl"
print(subprocess.run([sys.executable, "-c", {LIST!r}], capture_output=True, text=True).stdout)
"""
    found = [line for line in child(code, A1400_OPENCL_PLATFORMS="intel") if line]
    assert "Intel" in found[0]
    assert "Portable" in found[1]


def test_imported_pyopencl_is_reported(everything):
    text = " ".join(child("import pyopencl\n" + LIST + "print(*backend.problems())"))
    assert "import a1400 first" in text


def test_vendors_folder_of_the_user_is_kept(everything, tmp_path):
    has(everything, "Intel")
    (tmp_path / "mine.icd").write_text("libdoes-not-exist-a1400.so\n")
    code = LIST + "import os; print(sorted(os.listdir(os.environ['OCL_ICD_VENDORS'])))"
    found = child(code, OCL_ICD_VENDORS=str(tmp_path))
    assert "mine.icd" in found[-1]
    assert "a1400-intel.icd" in found[-1]


def test_oclgrind_is_alone():
    if shutil.which("oclgrind") is None:
        pytest.skip("oclgrind is not installed")
    code = LIST + "print(backend.devices()[0].kind)"
    assert child(code, ("oclgrind",)) == ["Oclgrind", "gpu"]
    assert child(code, ("oclgrind",), A1400_OPENCL_KIND="cpu") == ["Oclgrind", "cpu"]


def test_pip_pocl_yields_to_a_registered_one(tmp_path, monkeypatch):
    home = tmp_path / "pyopencl"
    (home / ".libs").mkdir(parents=True)
    monkeypatch.setenv("PYOPENCL_HOME", str(home))
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    opencl_runtime.after_import()
    assert os.environ.get("PYOPENCL_HOME") == str(home)
    (home / ".libs" / "pocl.icd").write_text("libpocl-x.so\n")
    opencl_runtime.after_import()
    hidden = Path(os.environ["PYOPENCL_HOME"])
    assert not list(hidden.glob(".libs/*.icd"))
    known = [opencl_runtime.IcdEntry("pocl.icd", "libpocl.so.2")]
    assert opencl_runtime._pip_pocl_entry(known) is None


PINNED = """
import os
allowed = os.environ.get("TEST_CORES")
if allowed:
    os.sched_setaffinity(0, {int(allowed)})
from a1400.backends.opencl import OpenCLBackend
device = OpenCLBackend().open(0)
masks = []
for task in os.listdir("/proc/self/task"):
    masks.append(os.sched_getaffinity(int(task)))
print(sum(len(mask) == 1 for mask in masks), os.environ.get("POCL_AFFINITY"))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are listed in /proc")
def test_threads_of_pocl_stay_on_their_cores(everything):
    has(everything, "Portable")
    cores = os.cpu_count() or 1
    if cores == 1 or len(os.sched_getaffinity(0)) < cores:
        pytest.skip("this process is limited to some cores, where PoCL's threads are left alone")
    here = {"A1400_OPENCL_PLATFORMS": "pocl"}
    threads = int(child(PINNED, **here)[0].split()[0])
    assert threads == cores  # PoCL has a thread for each
    assert child(PINNED, POCL_AFFINITY="0", **here)[0].split() == ["0", "0"]  # the user's word counts
    # a child that may use fewer cores than its parent decides anew
    assert child(PINNED, TEST_CORES="0", POCL_AFFINITY="1", A1400_POCL_PINNED="1", **here)[0].split()[1] == "None"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a process's cores")
def test_pocl_is_left_alone_where_cores_are_not_counted_through(monkeypatch):
    """With core 1 switched off, PoCL would still put its second thread there."""
    for name in ("POCL_AFFINITY", "A1400_POCL_PINNED"):
        monkeypatch.setenv(name, "")  # noted, so that both are as before afterwards
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for cores, expected in (({0, 2}, None), ({0, 1}, "1")):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: cores)
        opencl_runtime._pin_pocl()
        assert os.environ.get("POCL_AFFINITY") == expected
