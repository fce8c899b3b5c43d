"""``a1400 verify --plugin tests.cuda_on_host.plugin``: the CUDA sources on the host take CUDA's place."""

from a1400.backends import registry
from tests.cuda_on_host.backend import HostCudaBackend

registry.add_backend(HostCudaBackend())
