"""The CUDA sources run on the CPU: a third implementation of the backend interface, for tests and debugging.

``g++`` compiles the program text that NVRTC would get against ``cuda_host.h``, which supplies CUDA's execution model.
"""
