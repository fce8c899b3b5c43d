"""From ``--input`` options to the arrays a model is run with."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.cli.common import UsageError, shape_text
from a1400.errors import InputError
from a1400.io import audio
from a1400.io.image import SUFFIXES, PictureFormat, format_for, read_picture

Array = np.ndarray


@dataclass(frozen=True)
class Given:
    """One file given for an input; ``picture`` says how it was read when it is one."""

    path: Path
    array: Array
    picture: PictureFormat | None = None


@dataclass(frozen=True)
class Reading:
    """How files become arrays.

    ``pictures`` holds options of :func:`format_for`; ``sound`` is None where a model does not say what it hears.
    """

    pictures: Mapping[str, Any] = field(default_factory=dict)
    sound: audio.AudioFormat | None = None

    @classmethod
    def of(cls, model: Any, pictures: Mapping[str, Any] | None = None) -> Reading:
        """As the metadata of ``model`` and the user's options say."""
        return cls(pictures or {}, audio.AudioFormat.of_model(model.metadata))


@dataclass
class Feed:
    """One run's inputs.

    ``labels`` names what it came from; of the ``stacked`` pictures in a batch, those beyond the labels are fillers.
    """

    labels: list[str]
    arrays: dict[str, Array]
    stacked: int = 1


@dataclass
class Inputs:
    """All runs asked for, and remarks on how the inputs were made."""

    feeds: list[Feed]
    notes: list[str] = field(default_factory=list)


def gather(
    declared: Mapping[str, Any],
    items: Sequence[str],
    reading: Reading,
    dims: Mapping[str, int],
    shapes: Mapping[str, tuple[int, ...]],
    fill: bool = False,
    batch: int = 1,
) -> Inputs:
    """The feeds that ``items`` (``NAME=FILE`` or ``FILE``) describe for the model inputs ``declared``.

    Several files for one input make several runs; an input with a single file keeps it in all of them.  Without any
    item, or for inputs left over with ``fill``, values are random (seed 0).  ``batch`` pictures are stacked per run.
    """
    given: dict[str, list[Given]] = {}
    loose: list[Path] = []
    for item in items:
        name, path = _split(item, declared)
        if name is not None:
            given.setdefault(name, []).extend(_read(path, name, declared[name], reading))
        else:
            loose.extend(_expand(path))
    _place(loose, given, declared, reading)
    counts = {len(files) for files in given.values() if len(files) != 1}
    if len(counts) > 1:
        raise UsageError(
            f"inputs have different numbers of files: {', '.join(f'{k} {len(v)}' for k, v in given.items())}"
        )
    missing = [name for name in declared if name not in given]
    if given and missing and not fill:
        raise UsageError(
            f"no value for input {', '.join(map(repr, missing))}: give --input {missing[0]}=FILE for each, "
            "or --random to fill what is missing with random numbers"
        )
    notes: list[str] = []
    constants = random_inputs({name: declared[name] for name in missing}, dims, shapes, notes)
    runs = max((len(files) for files in given.values()), default=1)
    feeds = [_feed(given, constants, k) for k in range(runs)]
    return Inputs(_stack(feeds, given, declared, batch), notes)


def random_inputs(
    declared: Mapping[str, Any],
    dims: Mapping[str, int],
    shapes: Mapping[str, tuple[int, ...]],
    notes: list[str],
    seed: int = 0,
) -> dict[str, Array]:
    """A random array for each declared input; ``notes`` is told what was made up.

    Floats are standard normal; integers are 0 or 1, which is legal as an index, a mask and a token alike.
    """
    rng = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    assumed: dict[str, int] = {}
    for name, spec in declared.items():
        if not getattr(spec, "is_plain", True):
            held = "strings" if spec.kind == "tensor" else f"a {spec.kind}"
            raise InputError(f"input {name!r} is {held}, which cannot be made up: run the model from Python")
        shape = concrete_shape(name, spec.shape, dims, shapes, assumed)
        if np.prod(shape, dtype=float) > 2**31:
            raise InputError(f"input {name!r} of shape {shape_text(shape)} is too large")
        dtype = np.dtype(spec.dtype)
        try:
            values = rng.standard_normal(shape) if dtypes.is_float(dtype) else rng.integers(0, 2, shape)
            made[name] = np.asarray(values).astype(dtype)
        except MemoryError:
            raise InputError(f"there is no memory for input {name!r} of shape {shape_text(shape)}") from None
    if made:
        listed = ", ".join(f"{name} ({array.dtype} {shape_text(array.shape)})" for name, array in made.items())
        notes.append(f"random numbers for {listed}")
    if assumed:
        listed = ", ".join(f"{name}={size}" for name, size in assumed.items())
        notes.append(f"assumed {listed}: change with --dim or --shape")
    return made


def concrete_shape(
    name: str,
    shape: Sequence[int | str | None] | None,
    dims: Mapping[str, int],
    shapes: Mapping[str, tuple[int, ...]],
    assumed: dict[str, int],
) -> tuple[int, ...]:
    """The shape to use for input ``name``; symbolic dimensions come from ``dims``, else 1 (entered in ``assumed``)."""
    if name in shapes:
        return shapes[name]
    if shape is None:
        raise UsageError(f"the model does not say what shape input {name!r} has: give --shape {name}=...")
    result = []
    for position, size in enumerate(shape):
        if isinstance(size, int):
            result.append(size)
            continue
        label = size or f"{name}[{position}]"
        if label not in dims:
            assumed[label] = 1
        result.append(dims.get(label, 1))
    return tuple(result)


def check_names(declared: Mapping[str, Any], dims: Mapping[str, int], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse --dim and --shape options that name nothing of the model."""
    symbols = {size or f"{name}[{i}]" for name, spec in declared.items() for i, size in enumerate(spec.shape or ())
               if not isinstance(size, int)}  # fmt: skip
    for name in dims:
        if name not in symbols:
            have = ", ".join(sorted(symbols)) or "none"
            raise UsageError(f"the model has no symbolic dimension {name!r}; it has {have}")
    for name in shapes:
        if name not in declared:
            raise UsageError(_no_input(name, declared))


def _no_input(name: str, declared: Mapping[str, Any]) -> str:
    return f"the model has no input {name!r}; its inputs are {', '.join(map(repr, declared))}"


def _split(item: str, declared: Mapping[str, Any]) -> tuple[str | None, Path]:
    """``NAME=FILE`` or ``FILE``; a file whose own name holds ``=`` is still a file."""
    if not item:
        raise UsageError("--input wants a file, not an empty name")
    # Input names may hold "=" too: the longest declared name that fits wins.
    for name in sorted(declared, key=len, reverse=True):
        if item.startswith(f"{name}="):
            if item == f"{name}=":
                raise UsageError(f"--input {name}= wants a file after the =")
            return name, Path(item[len(name) + 1 :])
    if "=" in item and not Path(item).exists():
        raise UsageError(_no_input(item.partition("=")[0], declared))
    return None, Path(item)


def _expand(path: Path) -> list[Path]:
    """A folder stands for the pictures in it."""
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    if not found:
        raise InputError(f"folder {path} holds no pictures")
    return found


def _place(
    loose: Sequence[Path],
    given: dict[str, list[Given]],
    declared: Mapping[str, Any],
    reading: Reading,
) -> None:
    """Find the inputs of files given without a name."""
    files = []
    for path in loose:
        if path.suffix.lower() == ".npz" and set(_names(path)) & set(declared):
            for name in set(_names(path)) & set(declared):
                given.setdefault(name, []).append(Given(path, _load(path, name)))
        else:
            files.append(path)
    free = [name for name in declared if name not in given]
    if not files:
        return
    if not free:
        raise UsageError(f"every input has its file already; {files[0]} is one too many")
    targets = free * len(files) if len(free) == 1 else free
    if len(free) > 1 and len(files) != len(free):
        named = ", ".join(map(repr, free))
        raise UsageError(f"the model has several inputs ({named}): write --input NAME=FILE")
    for name, path in zip(targets, files):
        given.setdefault(name, []).extend(_read(path, name, declared[name], reading))


def _read(path: Path, name: str, spec: Any, reading: Reading) -> list[Given]:
    """What the file (or folder of pictures) ``path`` holds for input ``name``."""
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        return [Given(path, _load(path, name))]
    if suffix in SUFFIXES or path.is_dir():
        # An input of unknown rank takes pictures as most models do: NCHW.
        form = format_for(spec.shape or (None,) * 4, np.dtype(spec.dtype), **reading.pictures)
        return [Given(file, read_picture(file, form), form) for file in _expand(path)]
    if not path.exists():
        raise InputError(f"input file {path} does not exist")
    if suffix in audio.SUFFIXES:
        if reading.sound is None:
            raise InputError(
                f"the model does not say how the recording {path} becomes its input: its metadata has no entry "
                f"{audio.METADATA_KEY!r}; give a .npy file of what it takes"
            )
        return [Given(path, audio.spectrogram_for(path, reading.sound, spec.shape or (), np.dtype(spec.dtype)))]
    known = " ".join(sorted(SUFFIXES | audio.SUFFIXES))
    raise InputError(f"cannot tell what {path} is: inputs are .npy, .npz, pictures and recordings ({known})")


def _open(path: Path) -> Any:
    """An array, or an archive of arrays: what the file holds counts, not how its name ends."""
    if path.exists() and not path.is_file():  # a pipe would keep us waiting
        raise InputError(f"{path} is not a file")
    with _errors(str(path)):
        return np.load(path, allow_pickle=False)


@contextmanager
def _errors(what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"input file {what} does not exist") from None
    except MemoryError as error:
        raise InputError(f"cannot read {what}: {error}") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        text = " ".join(str(error).split())
        if "pickle" in text:  # NumPy says this of everything that does not begin as its files do
            text = "it is no .npy or .npz file, or holds Python objects instead of numbers"
        raise InputError(f"cannot read {what}: {text}") from None


def _names(path: Path) -> list[str]:
    opened = _open(path)
    if isinstance(opened, np.ndarray):
        return []
    with opened as archive:
        return list(archive.files)


def _load(path: Path, name: str) -> Array:
    opened = _open(path)
    if isinstance(opened, np.ndarray):
        return opened
    with opened as archive:
        key = name if name in archive.files else archive.files[0] if len(archive.files) == 1 else None
        if key is None:
            raise InputError(f"{path} holds no array {name!r}; it holds {', '.join(archive.files) or 'nothing'}")
        with _errors(f"{key!r} of {path}"):
            return np.asarray(archive[key])


def _feed(given: Mapping[str, Sequence[Given]], constants: Mapping[str, Array], index: int) -> Feed:
    chosen = {name: files[min(index, len(files) - 1)] for name, files in given.items()}
    label = ", ".join(dict.fromkeys(str(one.path) for name, one in chosen.items() if len(given[name]) > 1))
    if not label:
        label = ", ".join(dict.fromkeys(str(one.path) for one in chosen.values())) or "random"
    arrays = {**constants, **{name: one.array for name, one in chosen.items()}}
    return Feed([label], arrays)


def _stack(
    feeds: list[Feed], given: Mapping[str, Sequence[Given]], declared: Mapping[str, Any], batch: int
) -> list[Feed]:
    """Join the feeds of pictures into batches of ``batch``, or of the size that the model's input fixes."""
    stacked = [n for n, files in given.items() if files[0].picture and files[0].picture.layout.startswith("N")]
    if not stacked:
        return feeds
    fixed = {size for size in ((declared[name].shape or (None,))[0] for name in stacked) if isinstance(size, int)}
    wanted = max(fixed, default=batch)
    result = []
    for start in range(0, len(feeds), wanted):
        part = feeds[start : start + wanted]
        # A last batch that is not full repeats its last picture where the model insists on a size.
        rows = part + part[-1:] * (wanted - len(part) if fixed else 0)
        arrays = dict(part[0].arrays)
        for name in stacked:
            if len({row.arrays[name].shape for row in rows}) > 1:
                raise UsageError("pictures of different sizes cannot share a batch: give --resize HxW")
            arrays[name] = np.concatenate([row.arrays[name] for row in rows])
        result.append(Feed([row.labels[0] for row in part], arrays, len(rows)))
    return result
