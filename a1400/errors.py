"""Every error a user can meet, one class per kind of mistake.

All derive from :class:`A1400Error`, so ``except a1400.A1400Error`` catches whatever the library
reports on purpose.  A message is one clear sentence that says what is wrong and what to do.
"""

from __future__ import annotations


class A1400Error(Exception):
    """Base class of every error that this library raises on purpose."""


class BackendNotFoundError(A1400Error):
    """The backend or device asked for is not there; the message lists what is."""


class ModelFileError(A1400Error):
    """The model file is missing, is not of the format claimed, or is damaged."""


class UnsupportedOpError(A1400Error):
    """The model holds operators this library does not implement; all are listed with their nodes."""


class GraphError(A1400Error):
    """The model's graph is not well formed: a cycle, an undefined value, a shape or dtype that cannot be."""


class GradientError(A1400Error):
    """The way from the loss to a parameter leads through an operation that has no gradient; its node is named."""


class CheckpointError(A1400Error):
    """A training checkpoint is missing, damaged, of another kind or of another network, or cannot be written."""


class NonFiniteError(A1400Error):
    """Training met NaN or infinity; the message names the layer where it began."""


class InputError(A1400Error):
    """An input given to ``run`` has a wrong name, shape or dtype."""


class KernelCompileError(A1400Error):
    """A kernel did not compile; the message names spec, device, driver and the offending line."""


class KernelArgumentError(A1400Error):
    """A launch does not fit its kernel spec: a missing, extra or wrongly typed argument or tunable."""


class DeviceMemoryError(A1400Error):
    """The device cannot hold what is asked; the message gives the numbers."""


class DeviceError(A1400Error):
    """The driver reported a failure at run time."""
