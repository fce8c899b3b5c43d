"""Make every OpenCL runtime visible *before* PyOpenCL looks for platforms.

The OpenCL loader inside PyOpenCL's wheel (ocl-icd) reads ``.icd`` files, each naming a driver library, from
``/etc/OpenCL/vendors`` or from the folder in ``OCL_ICD_VENDORS``, *which replaces it* (``OPENCL_VENDOR_PATH`` does
the same with lower rank; ``OCL_ICD_FILENAMES`` is not honoured by this loader).  Runtimes from pip
have no root and cannot write there: Intel's wheel (``intel-opencl-rt``) even ships an ``.icd`` with a placeholder
path.  :func:`prepare` finds such libraries through their package metadata, preloads what they link
against, and points ``OCL_ICD_VENDORS`` at a folder holding their entries *and* the system's.

``A1400_OPENCL_PLATFORMS`` (comma-separated parts of platform names or ``.icd`` names: ``intel``, ``pocl``)
limits which runtimes are registered.  Intel's runtime 2026.2 and Debian's PoCL 3.1 (LLVM 15) were seen to load,
build and run correctly side by side in one process, but two LLVM-based runtimes may clash in general (other
versions do), so cross-vendor checks limit each process to one platform.

Under ``oclgrind`` (which preloads a library that takes the loader's place) nothing is registered: only
its simulated device is visible.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import os
import shutil
import sys
import tempfile
import threading
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from a1400 import config

INSTALL_OPENCL = "pip install pyopencl intel-opencl-rt intel-cmplr-lib-rt"

_INTEL_PRELOAD = ("libtbb.so.12", "libintlc.so.5", "libirng.so", "libimf.so", "libsvml.so")
_INTEL_PACKAGES = ("intel-opencl-rt", "intel-cmplr-lib-rt", "tbb")
# Platform names a user may filter by, and what their driver library or .icd file is called.
_ALIASES = {
    "portable computing language": "pocl",
    "intel(r) opencl": "intel",
    "nvidia cuda": "nvidia",
    "amd accelerated parallel processing": "amdocl",
    "clover": "mesa",
}
# What an earlier prepare() (perhaps of a parent process) set, and what the variable held before it.
_STATE = "A1400_ICD_STATE"
# Set beside POCL_AFFINITY where that is our choice, not the user's.
_PINNED = "A1400_POCL_PINNED"


@dataclass(frozen=True)
class IcdEntry:
    """One driver to register: ``.icd`` file name and the library (path or soname) it names."""

    name: str
    library: str

    def matches(self, parts: list[str]) -> bool:
        """True if any of ``parts`` (lower case) names this driver by file, library or platform."""
        text = f"{self.name} {self.library}".lower()
        return any(
            part in text or any(part in long and short in text for long, short in _ALIASES.items()) for part in parts
        )


_lock = threading.Lock()
_done = False
_imported_early = False
_problems: list[str] = []


def platform_filter() -> list[str]:
    """``A1400_OPENCL_PLATFORMS`` as a list of lower-case parts; empty when everything is wanted."""
    value = os.environ.get("A1400_OPENCL_PLATFORMS", "")
    return [part.strip().lower() for part in value.split(",") if part.strip()]


def under_oclgrind() -> bool:
    """True when the process was started by ``oclgrind``, whose preloaded library is the only runtime."""
    return "liboclgrind-rt" in os.environ.get("LD_PRELOAD", "")


def prepare() -> None:
    """Register the runtimes; call before PyOpenCL's first platform query.  Idempotent, never raises."""
    global _done, _imported_early
    with _lock:
        if _done:
            return
        _done = True
        _imported_early = "pyopencl" in sys.modules
        if not sys.platform.startswith("linux") or under_oclgrind():
            return
        try:
            _register()
        except Exception as error:
            _problems.append(f"Runtimes from pip could not be registered with the OpenCL loader: {error}.")
        _pin_pocl()


def _pin_pocl() -> None:
    """Let PoCL keep each of its threads on a core of its own, unless the user has decided about that.

    Its threads sleep between kernels, and a system that wakes two of them may put both on one core for milliseconds.
    PoCL counts cores from 0 whatever the process may use, so a process that is limited to some is left alone.
    """
    ours = os.environ.pop(_PINNED, None) is not None  # of a parent process, whose limits may differ
    if not ours and "POCL_AFFINITY" in os.environ:
        return
    if os.sched_getaffinity(0) == set(range(os.cpu_count() or 0)):
        os.environ["POCL_AFFINITY"] = os.environ[_PINNED] = "1"
    elif ours:
        os.environ.pop("POCL_AFFINITY", None)


def after_import() -> None:
    """Call between importing PyOpenCL and its first platform query.

    The wheel's loader also registers every ``pyopencl/.libs/*.icd``, which is where ``pocl-binary-distribution``
    puts itself, whatever the system has and whatever was asked for.  :func:`prepare` has decided about that library,
    so the loader must not find it a second time.
    """
    if not under_oclgrind():
        home = os.environ.get("PYOPENCL_HOME")
        if home and any((Path(home) / ".libs").glob("*.icd")):
            # Somewhere without runtimes: the loader crashes when the variable is not set at all.
            os.environ["PYOPENCL_HOME"] = str(Path(home) / "cl")


def problems() -> list[str]:
    """What went wrong while registering, one sentence each."""
    found = list(_problems)
    if _imported_early:
        found.append(
            "PyOpenCL was imported before a1400: runtimes installed by pip may be missing; import a1400 first."
        )
    return found


def drivers() -> list[IcdEntry]:
    """Every driver that :func:`prepare` would register, one entry each; nothing is loaded, nothing changed.

    Empty where the loader finds drivers by its own rules (not on Linux, or under oclgrind).
    """
    if not sys.platform.startswith("linux") or under_oclgrind():
        return []
    return _wanted(_system_entries(_vendors_before()))


def _wanted(system: list[IcdEntry]) -> list[IcdEntry]:
    """The system's entries and those from pip, as far as ``A1400_OPENCL_PLATFORMS`` lets them."""
    entries = list(system)
    intel_wanted = not any("libintelocl" in entry.library for entry in system)
    for entry in (_intel_entry() if intel_wanted else None, _pip_pocl_entry(system)):
        if entry is not None:
            entries.append(entry)
    parts = platform_filter()
    return [entry for entry in entries if not parts or entry.matches(parts)]


def _register() -> None:
    before = _vendors_before()
    system = _system_entries(before)
    entries = _wanted(system)
    if entries == system:  # the loader finds exactly these by itself
        if os.environ.pop(_STATE, None) is not None:
            os.environ.pop("OCL_ICD_VENDORS", None)
            if before is not None:
                os.environ["OCL_ICD_VENDORS"] = before
        return
    if any(entry.name == "a1400-intel.icd" for entry in entries) and not _preload_intel():
        entries = [entry for entry in entries if entry.name != "a1400-intel.icd"]
    folder = _icd_folder(entries)
    os.environ[_STATE] = f"{folder}|{before or ''}"
    os.environ["OCL_ICD_VENDORS"] = str(folder)


def _vendors_before() -> str | None:
    """The user's own OCL_ICD_VENDORS, seen through what a parent process of ours may have put there."""
    value = os.environ.get("OCL_ICD_VENDORS") or None
    ours, _, before = os.environ.get(_STATE, "").partition("|")
    if value is not None and value == ours:
        return before or None
    os.environ.pop(_STATE, None)  # somebody has set the variable since
    return value


def _system_entries(vendors: str | None) -> list[IcdEntry]:
    """What the loader would find by itself, without entries whose library does not exist or is named twice."""
    places = [vendors or os.environ.get("OPENCL_VENDOR_PATH") or "/etc/OpenCL/vendors"]
    if vendors is None and (Path(sys.prefix) / "conda-meta").is_dir():
        places.append(str(Path(sys.prefix) / "etc/OpenCL/vendors"))  # where conda's loader looks
    entries: list[IcdEntry] = []
    for place in places:
        path = Path(place)
        if path.is_dir():
            files = sorted(path.glob("*.icd"))
        elif path.suffix == ".icd":
            files = [path]
        else:  # ocl-icd also takes the name of a driver library
            entries.append(IcdEntry(f"{path.name}.icd", place))
            continue
        for file in files:
            try:
                library = file.read_text().strip()
            except (OSError, UnicodeDecodeError):
                continue
            if not library or (os.path.isabs(library) and not os.path.exists(library)):
                continue
            if any(os.path.realpath(library) == os.path.realpath(known.library) for known in entries):
                continue
            entries.append(IcdEntry(file.name, library))
    return entries


def _package_file(packages: tuple[str, ...], name: str) -> Path | None:
    """Where pip put the file called ``name`` of one of ``packages``."""
    for package in packages:
        try:
            files = metadata.distribution(package).files or []
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name == name:
                path = Path(str(file.locate())).resolve()
                if path.exists():
                    return path
    return None


def _intel_entry() -> IcdEntry | None:
    library = _package_file(("intel-opencl-rt",), "libintelocl.so")
    return None if library is None else IcdEntry("a1400-intel.icd", str(library))


def _preload_intel() -> bool:
    """Load what libintelocl.so links against; it has no run path to its neighbours."""
    for name in _INTEL_PRELOAD:
        path = _package_file(_INTEL_PACKAGES, name)
        try:
            ctypes.CDLL(str(path or name), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            _problems.append(
                f"Intel's OpenCL runtime is installed but {name} cannot be loaded ({error}): "
                "run `pip install --upgrade intel-opencl-rt intel-cmplr-lib-rt`."
            )
            return False
    return True


def _pip_pocl_entry(system: list[IcdEntry]) -> IcdEntry | None:
    """PoCL from pip, unless a PoCL is registered already: two in one process abort."""
    if any("pocl" in f"{entry.name} {entry.library}".lower() for entry in system):
        return None
    for package in ("pocl-binary-distribution", "pocl-binary-distribution-nightly"):
        try:
            files = metadata.distribution(package).files or []
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name.startswith("libpocl") and ".so" in file.name:
                path = Path(str(file.locate())).resolve()
                if path.exists():
                    return IcdEntry("a1400-pocl.icd", str(path))
    return None


def _icd_folder(entries: list[IcdEntry]) -> Path:
    """A folder holding exactly these entries; named by its content, so processes can share it safely."""
    names: dict[str, str] = {}
    for entry in entries:
        name = entry.name
        while name in names:
            name = f"x{name}"
        names[name] = entry.library + "\n"
    digest = hashlib.sha256(repr(sorted(names.items())).encode()).hexdigest()[:16]
    try:
        parent = config.cache_dir() / "opencl-icd"
        parent.mkdir(parents=True, exist_ok=True)
        final = parent / digest
        if not _holds(final, names):
            fresh = Path(tempfile.mkdtemp(prefix=f".{digest}-", dir=parent))
            _fill(fresh, names)
            try:
                os.rename(fresh, final)
            except OSError:  # another process was first, or a damaged folder stands there
                shutil.rmtree(fresh, ignore_errors=True)
        if _holds(final, names):
            return final
    except OSError:
        pass  # read-only or full cache: use a folder of this process's own
    own = Path(tempfile.mkdtemp(prefix="a1400-icd-"))
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    _fill(own, names)
    return own


def _fill(folder: Path, names: dict[str, str]) -> None:
    for name, text in names.items():
        (folder / name).write_text(text)


def _holds(folder: Path, names: dict[str, str]) -> bool:
    """True if ``folder`` holds exactly the files ``names``."""
    try:
        found = {path.name: path.read_text() for path in folder.iterdir()}
    except (OSError, UnicodeDecodeError):
        return False
    return found == names
