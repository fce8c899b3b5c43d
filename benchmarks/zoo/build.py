"""Export the zoo's models once each, with their inputs and facts beside them."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from a1400 import config
from benchmarks.zoo.names import NAMES

if TYPE_CHECKING:
    from tests.models.export import Recipe

#: raised when a definition changes, so that files of before are not taken for it
REVISION = 1


@dataclass(frozen=True)
class Built:
    """A model on disk.  ``flops``: operations of one run, two for each multiply-add; ``weights``: parameters' bytes."""

    name: str
    title: str
    path: Path
    flops: float
    weights: int

    def feeds(self) -> dict[str, np.ndarray]:
        """The inputs by name, the same on every machine."""
        with np.load(self.path.with_suffix(".npz")) as archive:
            return {name: archive[name] for name in archive.files}


def folder_of_all(folder: Path | None = None) -> Path:
    """Where the files lie: ``folder`` or ``zoo`` in a1400's cache folder, then the revision."""
    return (folder or config.cache_dir() / "zoo") / f"r{REVISION}"


def recipe(name: str) -> Recipe:
    """The network itself with the weights of its file, in evaluation mode; needs PyTorch and transformers.

    Raises KeyError for a name that is not in the zoo.
    """
    if name not in NAMES:
        raise KeyError(f"the zoo has no {name}; it has {', '.join(NAMES)}")
    from benchmarks.zoo import language, vision
    from tests.models.export import seeded

    make = getattr(vision, name, None) or getattr(language, name)
    made = dataclasses.replace(seeded(name, make), dynamic={})
    made.network.eval()
    return made


def build(name: str, folder: Path | None = None) -> Built:
    """The model's files, made if they are not there yet.  Raises KeyError for a name that is not in the zoo."""
    path = folder_of_all(folder) / f"{name}.onnx"
    facts = path.with_suffix(".json")
    if not facts.exists():  # written last
        _write(name, path, facts)
    told: dict[str, Any] = json.loads(facts.read_text(encoding="utf-8"))
    return Built(name, NAMES[name], path, told["flops"], told["weights"])


def _write(name: str, path: Path, facts: Path) -> None:
    made = recipe(name)
    import torch

    from benchmarks.zoo.flops import count
    from tests.models.export import write

    path.parent.mkdir(parents=True, exist_ok=True)
    write(made, path)
    arrays: dict[str, Any] = {k: v.numpy() for k, v in made.inputs.items()}
    np.savez(path.with_suffix(".npz"), **arrays)
    weights = sum(p.numel() * p.element_size() for p in made.network.parameters())
    told = {"flops": count(made.network, list(made.inputs.values())), "weights": weights, "torch": torch.__version__}
    temporary = facts.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(told) + "\n", encoding="utf-8")
    os.replace(temporary, facts)
