"""``a1400.load``: a model file, or a PyTorch module, onto a device."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, overload

from a1400.errors import InputError

if TYPE_CHECKING:
    import torch

    from a1400.engine.model import Model
    from a1400.torch.export import TorchModel


@overload
def load(
    model: str | PathLike[str], backend: str | None = None, device: str | int | None = None,
    disable: Collection[str] = (), memory_limit: int | None = None, precision: str | None = None,
) -> Model: ...  # fmt: skip
@overload
def load(model: torch.nn.Module, example_inputs: Sequence[Any], **options: Any) -> TorchModel: ...
def load(model: Any, *arguments: Any, **options: Any) -> Any:
    """``load("model.onnx", ...)`` is :func:`a1400.engine.model.load`, for a file's bytes and a ``ModelProto`` too.

    ``load(module, example_inputs, ...)`` with a ``torch.nn.Module`` is :func:`a1400.torch.export.load_module`.  Raises
    :class:`InputError` for anything else.
    """
    if isinstance(model, (str, PathLike, bytes, bytearray, memoryview)) or hasattr(model, "SerializeToString"):
        from a1400.engine.model import load as load_file

        return load_file(model, *arguments, **options)
    if hasattr(model, "named_parameters") and callable(model):
        from a1400.torch import load_module

        return load_module(model, *arguments, **options)
    raise InputError(f"a model is a file's path or a torch.nn.Module, not {type(model).__name__}")
