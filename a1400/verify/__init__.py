"""The same answer on every device: run kernels and models everywhere, compare with float64, report what departs."""
