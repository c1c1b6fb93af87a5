"""What a clip costs: multiply-adds, and time on a CPU."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import torch
from torch import nn

# Enough for a median; a slow network is stopped by the time.
REPEATS, LONGEST_S = 30, 1.0


@torch.no_grad()
def count_multiply_adds(network: nn.Module, input_shape: tuple[int, int]) -> int:
    """Counts the multiply-adds of one clip in dense, convolutional and recurrent layers.

    The numbers are those of torch's FlopCounterMode on the meta device, whose first use takes
    seconds.

    Args:
        network: in evaluation mode.
        input_shape: (frames, features) of the clip.
    """
    total = 0

    def add(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal total
        if isinstance(layer, nn.LSTM):  # four gates a frame, from the input and the last state
            frames = inputs[0].shape[1 if layer.batch_first else 0]
            total += frames * sum(w.numel() for n, w in layer.named_parameters() if "weight" in n)
        elif isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
            total += output.numel() * layer.weight[0].numel()

    hooks = [layer.register_forward_hook(add) for layer in network.modules()]
    try:
        network(torch.zeros(1, *input_shape))
    finally:
        for hook in hooks:
            hook.remove()
    return total


@torch.no_grad()
def measure_cpu_ms(model: nn.Module, input_shape: tuple[int, int]) -> float:
    """Measures the milliseconds that one clip takes alone, on one thread of the CPU.

    The result is a median of several.

    Args:
        model: on the CPU, in evaluation mode; takes float32 [1, frames, features].
        input_shape: (frames, features) of the clip.
    """
    x = torch.zeros(1, *input_shape)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times: list[float] = []
    try:
        model(x)  # the first call sets up
        while len(times) < REPEATS and sum(times) < LONGEST_S:
            started = time.perf_counter()
            model(x)
            times.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return 1e3 * median(times)
