"""What the project's papers promise: commands, variables, figures and links; and where the kernels are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import onnx

import a1400
from a1400.kernels.source import kernel_root

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/image_classification"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_readme_holds_both_commands_for_ci():
    readme = read("README.md")
    for number, words in (
        (1, "a1400 run examples/image_classification/digits.onnx"),
        (2, 'pip install ".[test]" && pytest'),
    ):
        block = re.search(rf"<!-- command {number} -->\n```sh\n(.*?)\n```", readme, re.S)
        assert block is not None and words in block[1] and "\n" not in block[1]


def test_version_stands_once():
    assert f'version = "{a1400.__version__}"' in read("pyproject.toml")


def test_every_public_environment_variable_is_in_the_readme():
    private = {"A1400_ICD_STATE", "A1400_POCL_PINNED"}  # from one of our processes to its children
    used = {
        name
        for path in (ROOT / "a1400").rglob("*.py")
        for name in re.findall(r"\bA1400_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8"))
    }
    told = set(re.findall(r"`(A1400_[A-Z_]+)`", read("README.md")))
    assert used - private <= told, f"not in the README: {sorted(used - private - told)}"


def test_links_in_the_papers_lead_somewhere():
    for paper in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"), EXAMPLE / "README.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", paper.read_text(encoding="utf-8")):
            assert (paper.parent / target).exists(), f"{paper.name}: {target}"


def test_the_example_is_small_and_says_its_accuracy():
    path = EXAMPLE / "digits.onnx"
    assert path.stat().st_size < 1_000_000
    onnx.checker.check_model(onnx.load(path), full_check=True)
    facts = json.loads((EXAMPLE / "accuracy.json").read_text())
    assert facts["held_out_accuracy"] == round(facts["held_out_right"] / facts["held_out"], 4) > 0.97
    assert (
        f"{facts['held_out_right']} of the {facts['held_out']} held-out digits" in (EXAMPLE / "README.md").read_text()
    )


def test_kernels_are_found():
    for folder in ("kernels_common", "kernels_cuda", "kernels_opencl"):
        assert any((kernel_root() / folder).iterdir())
