"""The graph optimizer: passes over the primitive graph, each of which can be switched off by name."""

from a1400.optimizer.passes import PASSES, optimize
from a1400.optimizer.precision import PRECISIONS
from a1400.optimizer.report import PassResult, Report

__all__ = ["PASSES", "PRECISIONS", "PassResult", "Report", "optimize"]
