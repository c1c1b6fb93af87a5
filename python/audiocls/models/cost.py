"""What a clip costs: multiply-adds, and time on a CPU."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

# Enough for a median; a slow network is stopped by the time.
REPEATS, LONGEST_S = 30, 1.0


@torch.no_grad()
def multiply_adds(network: nn.Module, input_shape: tuple[int, int]) -> int:
    """Multiply-adds of matrix products and convolutions for one clip of (frames, features).

    torch's counter does not see inside the fused LSTM of a CPU: those are added by formula, four
    gates a layer and frame, each from the layer's input and its last state.
    """
    lstm = 0

    def add(module: nn.Module, inputs: tuple[Any, ...], _output: Any) -> None:
        nonlocal lstm
        assert isinstance(module, nn.LSTM)
        frames = inputs[0].shape[1 if module.batch_first else 0]
        lstm += frames * sum(w.numel() for name, w in module.named_parameters() if "weight" in name)

    hooks = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, nn.LSTM)]
    try:
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, *input_shape))
    finally:
        for hook in hooks:
            hook.remove()
    return int(counter.get_total_flops()) // 2 + lstm


@torch.no_grad()
def cpu_ms(model: nn.Module, input_shape: tuple[int, int]) -> float:
    """Milliseconds for one clip, alone, on one thread of the CPU in float32: the median of several.

    model: on the CPU, in evaluation mode; takes float32 [1, frames, features].
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
