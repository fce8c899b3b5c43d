"""States and whole training steps on the CUDA sources."""

from __future__ import annotations

import pytest

from tests.cuda_on_host.backend import HostCudaDevice
from tests.engine import test_program, test_state_weights, test_states


def test_training_step(host_device: HostCudaDevice) -> None:
    test_program.check_training(host_device)


def test_updates_in_place(host_device: HostCudaDevice) -> None:
    test_states.test_updates_in_place(host_device)


@pytest.mark.parametrize("name", ["lstm_bidirectional_options", "gru_bidirectional_options", "conv_groups"])
def test_weights(name: str, host_device: HostCudaDevice) -> None:
    test_state_weights.test_weights(name, host_device)
