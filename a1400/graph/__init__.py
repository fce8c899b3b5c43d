"""The typed graph between front-ends and engine."""

from a1400.graph.graph import Graph, Node, Value

__all__ = ["Graph", "Node", "Value"]
