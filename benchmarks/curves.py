"""The same Keras script in several engines: how far apart the losses are; ``benchmarks/README.md`` says how.

    python benchmarks/curves.py [--steps 50] [--optimizers sgd,momentum,adam] [--output FILE.json]

Prints Markdown and writes ``benchmarks/results/curves_<device>.json`` and ``.md``.  Exit status: 0 all is well, 1 an
engine failed, 2 the command line is wrong.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.common.document import slug, surroundings, versions, write, write_text  # noqa: E402
from benchmarks.cpu import processor  # noqa: E402
from benchmarks.cpu_parts.engines import cpu_devices  # noqa: E402
from benchmarks.curve_parts import report  # noqa: E402

_PACKAGES = ("a1400", "jax", "keras", "numpy", "tensorflow", "torch")
_OPTIMIZERS = ("sgd", "momentum", "adam")
_BACKENDS = {"torch": "Keras on PyTorch", "jax": "Keras on JAX", "tensorflow": "Keras on TensorFlow"}


def main(
    steps: Annotated[int, typer.Option(min=2, help="Steps of each curve.")] = 50,
    optimizers: Annotated[str, typer.Option(help=f"With commas: {', '.join(_OPTIMIZERS)}.")] = ",".join(_OPTIMIZERS),
    output: Annotated[Path | None, typer.Option(help="The JSON; the Markdown lies beside it.")] = None,
) -> None:
    """Compare loss curves."""
    wanted = [name.strip() for name in optimizers.split(",") if name.strip()]
    if unknown := sorted({*wanted} - {*_OPTIMIZERS}):
        raise typer.BadParameter(f"there is no {', '.join(unknown)}; there are {', '.join(_OPTIMIZERS)}")
    device = processor(cpu_devices())
    path = output or ROOT / f"benchmarks/results/curves_{slug(device)}.json"
    jobs = engines()
    curves: dict[str, dict[str, list[float]]] = {}
    left_out = []
    with tempfile.TemporaryDirectory(prefix="a1400-curves-") as folder:
        data = Path(folder) / "data.npz"
        prepare(data)
        for name, (title, job, environment) in jobs.items():
            job = {**job, "data": str(data), "output": f"{folder}/out.npz", "steps": steps, "optimizers": wanted}
            print(f"{title} ...", flush=True)
            command = [sys.executable, "-m", "benchmarks.curve_parts.worker", json.dumps(job)]
            done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)
            if done.returncode:
                lines = [line for line in done.stderr.splitlines() if "Error" in line]  # drivers chat, too
                left_out.append(f"{title}: {(lines or ['it ended without a word'])[-1]}")
                continue
            with np.load(job["output"]) as archive:
                for optimizer in wanted:
                    curves.setdefault(optimizer, {})[name] = archive[optimizer].tolist()
    if any(not {report.TRUE, report.NUDGED, report.BIASED} <= {*found} for found in curves.values()) or not curves:
        raise SystemExit(f"there are no float64 curves to compare with; {'; '.join(left_out)}")
    found = {name: {"curves": one, **report.differences(one)} for name, one in curves.items()}
    document: dict[str, Any] = {
        "facts": {"device": device, "versions": versions(_PACKAGES), **surroundings()}, "steps": steps,
        "engines": {name: title for name, (title, _, _) in jobs.items()}, "optimizers": found,
        "verdicts": report.verdicts(found), "left_out": left_out,
    }  # fmt: skip
    text = report.markdown(document)
    write(document, path)
    write_text(text, path.with_suffix(".md"))
    print(f"\n{text}\nwritten to {path}")
    raise typer.Exit(1 if left_out else 0)


def engines() -> dict[str, tuple[str, dict[str, Any], dict[str, str]]]:
    """Title, job and environment of each engine that is here."""
    from importlib.util import find_spec

    there = [backend for backend in _BACKENDS if find_spec(backend)]
    if not there:
        raise SystemExit("Keras needs TensorFlow, PyTorch or JAX; install one of them")
    plain = {"dtype": "float32", "device": "", "nudge": 0.0, "bias32": False}
    double = {"KERAS_BACKEND": there[0]}
    double |= {"JAX_ENABLE_X64": "1"} if double["KERAS_BACKEND"] == "jax" else {}
    made: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
        report.TRUE: ("Keras in float64", {**plain, "dtype": "float64"}, double),
        report.NUDGED: ("Keras in float64, first weights off by 6e-8",
                        {**plain, "dtype": "float64", "nudge": 2.0**-24}, double),
        report.BIASED: ("Keras in float64, Adam's correction in float32",
                        {**plain, "dtype": "float64", "bias32": True}, double),
    }  # fmt: skip
    for backend in there:
        made[f"keras-{backend}"] = (_BACKENDS[backend], plain, {"KERAS_BACKEND": backend})
    for device, title in _devices():
        made[f"a1400-{device}"] = (title, {**plain, "device": device}, {"KERAS_BACKEND": there[0]})
    return made


def _devices() -> list[tuple[str, str]]:
    """Ids and titles of a1400's devices, asked in a process of its own."""
    code = (
        "import json; from a1400.backends import registry; "
        "print(json.dumps([(i.id, i.platform or i.backend) for i in registry.list_devices()]))"
    )
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True,
                          text=True)  # fmt: skip
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return []
    return [(device, f"a1400, {platform}") for device, platform in found]


def prepare(path: Path) -> None:
    """scikit-learn's digits, enlarged to 28 x 28, and the network's first weights (Glorot's, zeros) as ``.npz``."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits, numbers = load_digits(), np.random.default_rng(1)
    order = numbers.permutation(len(digits.target))
    pictures = np.stack([
        np.asarray(Image.fromarray(image.astype(np.float32)).resize((28, 28), Image.Resampling.BILINEAR))
        for image in digits.images[order] / 16
    ])[..., None]  # fmt: skip
    shapes = [(3, 3, 1, 32), (3, 3, 32, 64), (3, 3, 64, 128), (128, 128), (128, 10)]
    weights: list[np.ndarray] = []
    for shape in shapes:
        fan = int(np.prod(shape[:-2])) * (shape[-2] + shape[-1])
        weights += [numbers.uniform(-1, 1, shape) * (6 / fan) ** 0.5, np.zeros(shape[-1])]
    named = {f"weight{i:02}": w.astype(np.float32) for i, w in enumerate(weights)}
    np.savez(path, x=pictures, y=digits.target[order].astype(np.int32), **named)


if __name__ == "__main__":
    typer.run(main)
