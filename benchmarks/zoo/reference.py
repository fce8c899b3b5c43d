"""The right answer: a model of the zoo in float64, by PyTorch.

Where a network itself casts to float32 - RMS norms and rotary angles do -, that is kept.
``python -m benchmarks.zoo.reference NAME [FOLDER]`` computes it once, beside the model, and prints the path.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.zoo.build import build, folder_of_all, recipe


def path_of(name: str, folder: Path | None = None) -> Path:
    """Where the outputs lie: ``000``, ``001`` ... in the file's order, in float64."""
    return folder_of_all(folder) / f"{name}.reference.npz"


def compute(name: str, folder: Path | None = None) -> Path:
    """The outputs' file, made in this process if it is not there yet."""
    import numpy as np
    import torch

    path = path_of(name, folder)
    if path.exists():
        return path
    feeds = build(name, folder).feeds()
    inputs = [torch.from_numpy(array) for array in feeds.values()]
    with torch.inference_mode():
        network = recipe(name).network.double()
        made = network(*(x.double() if x.is_floating_point() else x for x in inputs))
    outputs = made if isinstance(made, tuple) else (made,)
    if not all(t.dtype == torch.float64 or not t.is_floating_point() for t in outputs):
        raise TypeError(f"{name} does not keep to float64")
    arrays: dict[str, Any] = {f"{i:03}": t.numpy() for i, t in enumerate(outputs)}
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **arrays)
    partial.rename(path)
    return path


def in_child(name: str, folder: Path | None = None) -> Path:
    """The same in a process of its own, so that PyTorch stays out of this one; raises CalledProcessError."""
    if not path_of(name, folder).exists():
        command = [sys.executable, "-m", "benchmarks.zoo.reference", name, *([str(folder)] if folder else [])]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    return path_of(name, folder)


if __name__ == "__main__":
    print(compute(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None))
