"""The acceleration engine: from an optimised graph to a plan of launches, and its execution."""
