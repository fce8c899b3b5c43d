"""Training on the device: networks, the train step as one graph, and the loop around it."""
