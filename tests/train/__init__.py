"""Training: networks, steps, the trainer and what surrounds it."""
