"""Front-ends: what turns a model of some framework into an :class:`a1400.graph.Graph`."""
