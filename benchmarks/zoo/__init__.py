"""Full-size models with random weights, as ONNX files of fixed input shapes: what the CPU engines are compared on.

    python -m benchmarks.zoo resnet50 bert_base      # builds what is missing, prints the paths
    python -m benchmarks.zoo --list

Each is exported once, into ``zoo`` in a1400's cache folder, beside its inputs (``.npz``) and its facts (``.json``).
"""

from benchmarks.zoo.build import Built, build, folder_of_all, recipe
from benchmarks.zoo.names import NAMES

__all__ = ["NAMES", "Built", "build", "folder_of_all", "recipe"]
