"""The CUDA sources under NVIDIA's own compiler, which needs no GPU."""
