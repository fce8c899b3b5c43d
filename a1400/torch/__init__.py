"""PyTorch on any device of this package: ``torch.compile(model, backend="a1400")``; see docs/torch.md.

Importing this module registers the backend; after installation PyTorch finds it by itself.
"""

from __future__ import annotations

from a1400.errors import A1400Error

try:
    import torch
except ImportError as error:
    raise A1400Error(f"a1400.torch needs PyTorch: pip install 'a1400[torch]' ({error})") from error

from torch._dynamo.backends import registry

from a1400.torch.backend import a1400
from a1400.torch.export import TorchModel, load_module
from a1400.torch.options import Options

if "a1400" not in registry._COMPILER_FNS:
    registry.register_backend(a1400, name="a1400")

__all__ = ["Options", "TorchModel", "a1400", "load_module", "torch"]
