"""What a clip costs, against counts by hand."""

from __future__ import annotations

import pytest
import torch
from plain_network import plain
from torch.utils.flop_counter import FlopCounterMode

from audiocls.models import MODELS, build_model
from audiocls.models.cost import count_multiply_adds, measure_cpu_ms

HEAD = 128 * 64 + 64 * 14  # of the LSTMs, after their first dense layer


def lstm(frames: int, features: int, hidden: int, layers: int) -> int:
    """Four gates, each from the input and the last state."""
    inputs = [features] + [hidden] * (layers - 1)
    recurrent = sum(frames * 4 * hidden * (n + hidden) for n in inputs)
    return recurrent + layers * hidden * 128 + HEAD


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("lstm", (44, 128), lstm(44, 128, 16, 3)),
        ("lstm-large", (49, 13), lstm(49, 13, 128, 8)),
        (
            "cnn",
            (49, 13),
            47 * 11 * 9 * 16 + 45 * 9 * 9 * 16 * 32 + 45 * 9 * 32 * 512 + 512 * 64 + 64 * 14,
        ),
        (
            "newcnn",
            (44, 128),
            44 * 128 * 9 * 64 * (1 + 4 * 64) + 1024 * 256 + 256 * 64 + 64 * 14,
        ),
    ],
)
def test_multiply_adds(name: str, shape: tuple[int, int], expected: int) -> None:
    assert count_multiply_adds(build_model(name, 14, shape).eval(), shape) == expected


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_as_torch_counts(name: str) -> None:
    shape = (20, 24)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        # Weights that meet only padding count: so does everyone who states a network's cost.
        plain(build_model(name, 3, shape)).eval()(torch.empty(1, *shape))
    expected = counter.get_total_flops() / 2
    assert count_multiply_adds(build_model(name, 3, shape).eval(), shape) == expected


def test_time_is_measured_on_one_thread() -> None:
    seen = []

    class Watched(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append((torch.get_num_threads(), x.shape))
            return x

    threads = torch.get_num_threads()
    assert measure_cpu_ms(Watched(), (6, 5)) > 0
    assert set(seen) == {(1, (1, 6, 5))}
    assert torch.get_num_threads() == threads
    assert measure_cpu_ms(build_model("lstm", 3, (6, 5)), (6, 5)) > 0
