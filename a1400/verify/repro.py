"""Files that hold one failing launch whole: program text, geometry, data, expected values, and where it failed.

They are JSON with arrays as base64 of deflated bytes, and need neither the kernel's spec nor the version that wrote
them.  A file is untrusted when read: nothing in it is imported, unpickled or opened, and every size is checked before
memory is taken.  Its program is run on the device, which is what it is for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo, TensorMap
from a1400.errors import A1400Error, InputError
from a1400.kernels.launches import HostArgument, HostBuffer, LaunchData
from a1400.verify.results import MODES, Result
from a1400.verify.worker import info_to_json

FORMAT = "a1400-repro"
VERSION = 1
LARGEST_FILE = 1 << 30
#: bytes of all arrays of a file together, unpacked
LARGEST_DATA = 2 << 30
_ROLES = ("in", "out", "inout")


@dataclass
class Repro:
    """A launch and what it should have left.

    ``expected`` (written buffers by name, floats as float64) and ``tolerance`` ((rtol, atol) by name) are empty in the
    mode ``repeat``.  ``facts`` is everything else the file tells: the failure, device, kernel, versions.
    """

    launch: LaunchData
    mode: str
    runs: int
    expected: dict[str, np.ndarray] = field(default_factory=dict)
    tolerance: dict[str, tuple[float, float]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def document(repro: Repro, result: Result, info: DeviceInfo, version: str) -> dict[str, Any]:
    """The file's content for a failure ``result`` on ``info``."""
    data = repro.launch
    numbers = {id(host): i for i, host in enumerate(data.arguments) if isinstance(host, HostBuffer)}
    return {
        "format": FORMAT, "format_version": VERSION, "a1400": version,
        "failure": {k: v for k, v in asdict(result).items() if k not in ("repro", "seconds")},
        "device": {"id": info.id, "key": info.key, **info_to_json(info)},
        **repro.facts,
        "mode": repro.mode, "runs": repro.runs,
        "name": data.name, "language": data.language, "entry": data.entry, "options": list(data.options),
        "groups": [int(n) for n in data.groups], "group_size": [int(n) for n in data.group_size],
        "local_bytes": int(data.local_bytes),
        "arguments": [_argument(a, numbers) for a in data.arguments],
        "expected": {name: pack(_wide(array)) for name, array in repro.expected.items()},
        "tolerance": {name: list(pair) for name, pair in repro.tolerance.items()},
        "source": data.source,
    }  # fmt: skip


def model_document(
    facts: Mapping[str, Any], feeds: Mapping[str, np.ndarray], result: Result, info: DeviceInfo, version: str
) -> dict[str, Any]:
    """The content for a model's failure whose launch could not be taken alone: the model's own name, sum and inputs."""
    return {
        "format": FORMAT, "format_version": VERSION, "a1400": version, "kind": "model",
        "failure": {k: v for k, v in asdict(result).items() if k not in ("repro", "seconds")},
        "device": {"id": info.id, "key": info.key, **info_to_json(info)},
        "mode": result.mode, "language": info.backend, **facts,
        "feeds": {name: pack(array) for name, array in feeds.items()},
    }  # fmt: skip


def parse_feeds(content: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The inputs in a model's repro file; raises :class:`InputError`."""
    reader, feeds = _Reader(), content.get("feeds")
    if not isinstance(feeds, dict):
        raise InputError("the repro file's feeds are not an object")
    return {str(name): reader.array(item) for name, item in feeds.items()}


def _wide(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    return array.astype(np.float64) if array.dtype not in dtypes.EVERY or dtypes.is_float(array.dtype) else array


def _argument(argument: HostArgument, numbers: Mapping[int, int]) -> dict[str, Any]:
    if isinstance(argument, HostBuffer):
        shown: dict[str, Any] = {"kind": "buffer", "name": argument.name, "role": argument.role}
        array = argument.array
        if argument.role == "out":
            return {**shown, "dtype": dtypes.short(array.dtype), "shape": list(array.shape)}
        return {**shown, **pack(array)}
    if isinstance(argument, TensorMap):
        return {
            "kind": "tensor_map", "buffer": numbers[id(argument.buffer)], "dtype": dtypes.short(argument.dtype),
            "dims": list(argument.dims), "strides": list(argument.strides), "box": list(argument.box),
            "swizzle": argument.swizzle, "offset": argument.offset,
        }  # fmt: skip
    value = argument.item()
    exact = value if not isinstance(value, float) or math.isfinite(value) else str(value)
    return {"kind": "scalar", "dtype": dtypes.short(argument.dtype), "value": exact}


def pack(array: np.ndarray) -> dict[str, Any]:
    """An array as JSON: dtype, shape and its deflated bytes in base64."""
    array = np.ascontiguousarray(array).reshape(np.shape(array))
    packed = base64.b64encode(zlib.compress(array.tobytes(), 6)).decode()
    return {"dtype": dtypes.short(array.dtype), "shape": list(array.shape), "deflated": packed}


def file_name(info: DeviceInfo, result: Result) -> str:
    """A name that is safe everywhere and the same for the same check on the same device."""
    identity = [info.key, result.subject, result.variant, result.case, result.mode, result.tunables, result.types]
    digest = hashlib.sha256(json.dumps([*identity, result.node], sort_keys=True).encode()).hexdigest()[:10]
    words = [info.id, Path(result.subject).name, result.variant, result.node or result.case, result.mode]
    text = re.sub(r"[^A-Za-z0-9]+", "_", "-".join(w.replace("-", "_") for w in words if w).replace("-", "\0"))
    return f"{text.strip('_')[:100]}-{digest}.json"


def write(folder: Path, info: DeviceInfo, result: Result, content: Mapping[str, Any]) -> str:
    """Write ``content`` into ``folder``; returns the path, or raises :class:`InputError`."""
    path = folder / file_name(info, result)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1, allow_nan=True) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"the repro file {path} cannot be written: {error.strerror}") from None
    return str(path)


# ---- reading ------------------------------------------------------------------------------------------------
def read(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``, known to be a repro file of a version we read; raises :class:`InputError`."""
    try:
        if not path.is_file():
            raise InputError(f"repro file {path} does not exist" if not path.exists() else f"{path} is not a file")
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"{path} is larger than a repro file may be ({LARGEST_FILE:,} bytes)")
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a repro file: {' '.join(str(error).split())[:120]}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputError(f'{path} is not a repro file: it lacks "format": "{FORMAT}"')
    if found.get("format_version") != VERSION:
        raise InputError(f"{path} has repro format {found.get('format_version')!r}; this version reads {VERSION}")
    return found


def parse(content: Mapping[str, Any]) -> Repro:
    """The launch in a repro file; raises :class:`InputError` that names the field that cannot be."""
    reader = _Reader()
    mode = reader.text(content, "mode")
    if mode not in MODES:
        raise InputError(f"the repro file's mode {mode!r} is none of {', '.join(MODES)}")
    language = reader.text(content, "language")
    if language not in ("opencl", "cuda"):
        raise InputError(f"the repro file's language {language!r} is neither opencl nor cuda")
    arguments: list[HostArgument] = []
    for number, item in enumerate(reader.items(content, "arguments")):
        try:
            arguments.append(reader.argument(item, arguments))
        except A1400Error as error:
            raise InputError(f"argument {number} of the repro file: {error}") from None
    launch = LaunchData(
        reader.text(content, "name"), language, reader.text(content, "entry"), reader.text(content, "source"),
        reader.grid(content, "groups", 2**31 - 1), reader.grid(content, "group_size", 4096), arguments,
        reader.whole(content.get("local_bytes"), "local_bytes", 1 << 24),
        tuple(str(o) for o in reader.items(content, "options")),
    )  # fmt: skip
    runs = reader.whole(content.get("runs"), "runs", 1000)
    written = {b.name: b.array for b in launch.buffers() if b.role != "in"}
    repro = Repro(launch, mode, runs)
    if mode == "repeat":
        return repro
    expected, tolerance = content.get("expected"), content.get("tolerance")
    if not isinstance(expected, dict) or not isinstance(tolerance, dict) or not set(expected) <= set(written):
        raise InputError("the repro file's expected values and tolerances do not belong to its written buffers")
    if not expected:
        raise InputError("the repro file says nothing of what is expected")
    for name, item in expected.items():
        repro.expected[name] = reader.array(item)
        if repro.expected[name].shape != written[name].shape:
            raise InputError(f"the repro file's expected values of {name} have another shape than the buffer")
        pair = tolerance.get(name)
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(t, int | float) for t in pair):
            raise InputError(f"the repro file's tolerance of {name} is not two numbers")
        repro.tolerance[name] = (float(pair[0]), float(pair[1]))
    return repro


class _Reader:
    """Takes fields out of untrusted JSON; counts the bytes of all arrays against one limit."""

    def __init__(self) -> None:
        self.left = LARGEST_DATA

    def text(self, content: Mapping[str, Any], name: str) -> str:
        value = content.get(name)
        if not isinstance(value, str) or "\0" in value:
            raise InputError(f"the repro file's {name} is not a text")
        return value

    def items(self, content: Mapping[str, Any], name: str) -> list[Any]:
        value = content.get(name)
        if not isinstance(value, list) or len(value) > 4096:
            raise InputError(f"the repro file's {name} is not a list of at most 4096")
        return value

    def whole(self, value: Any, name: str, most: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise InputError(f"{name} is not a whole number from 0 to {most}")
        return value

    def numbers(self, value: Any, name: str, most: int, count: int = 32) -> tuple[int, ...]:
        if not isinstance(value, list) or len(value) > count:
            raise InputError(f"{name} is not a list of at most {count} numbers")
        return tuple(self.whole(n, name, most) for n in value)

    def grid(self, content: Mapping[str, Any], name: str, most: int) -> tuple[int, int, int]:
        sizes = self.numbers(content.get(name), name, most, 3)
        if len(sizes) != 3 or 0 in sizes:
            raise InputError(f"the repro file's {name} is not three sizes")
        return sizes[0], sizes[1], sizes[2]

    def dtype(self, item: Mapping[str, Any]) -> np.dtype:
        try:
            return dtypes.from_short(item["dtype"])
        except (KeyError, TypeError):
            raise InputError(f"the element type {item.get('dtype')!r} is not known") from None

    def shape(self, item: Mapping[str, Any]) -> tuple[tuple[int, ...], np.dtype]:
        dtype, shape = self.dtype(item), self.numbers(item.get("shape"), "shape", 2**40)
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes > self.left:
            raise InputError(f"its arrays take more than {LARGEST_DATA:,} bytes")
        self.left -= nbytes
        return shape, dtype

    def array(self, item: Any) -> np.ndarray:
        if not isinstance(item, dict):
            raise InputError("it is not an object")
        shape, dtype = self.shape(item)
        nbytes = math.prod(shape) * dtype.itemsize
        try:
            packed = base64.b64decode(str(item.get("deflated", "")), validate=True)
            inflater = zlib.decompressobj()
            raw = inflater.decompress(packed, nbytes + 1)
        except (binascii.Error, ValueError, zlib.error) as error:
            raise InputError(f"its data is damaged ({error})") from None
        if len(raw) != nbytes:
            raise InputError(f"its data does not have the {nbytes:,} bytes of its shape")
        return np.frombuffer(bytearray(raw), dtype).reshape(shape)

    def argument(self, item: Any, before: list[HostArgument]) -> HostArgument:
        if not isinstance(item, dict):
            raise InputError("it is not an object")
        kind = item.get("kind")
        if kind == "buffer":
            role, name = item.get("role"), self.text(item, "name")
            if role not in _ROLES:
                raise InputError(f"its role {role!r} is none of {', '.join(_ROLES)}")
            if role != "out":
                return HostBuffer(name, role, self.array(item))
            shape, dtype = self.shape(item)
            return HostBuffer(name, role, np.zeros(shape, dtype))
        if kind == "scalar":
            value = item.get("value")
            try:
                return self.dtype(item).type(float(value) if isinstance(value, str) else value)
            except (TypeError, ValueError, OverflowError):
                raise InputError(f"its value {str(value)[:40]!r} does not fit {item.get('dtype')}") from None
        if kind == "tensor_map":
            number = self.whole(item.get("buffer"), "buffer", len(before))
            if number >= len(before) or not isinstance(before[number], HostBuffer):
                raise InputError("its buffer is none of the arguments before it")
            lists = [self.numbers(item.get(name), name, 2**40, 5) for name in ("dims", "strides", "box")]
            sizes = (self.whole(item.get("swizzle"), "swizzle", 128), self.whole(item.get("offset"), "offset", 2**40))
            return TensorMap(before[number], self.dtype(item), lists[0], lists[1], lists[2], *sizes)
        raise InputError(f"its kind {kind!r} is not known")
