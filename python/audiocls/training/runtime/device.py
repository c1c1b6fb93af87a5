"""Where a model computes: the device, its arithmetic, and the other processes of the run."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from time import perf_counter

import torch
import torch.distributed as dist
from torch import Tensor, nn

from audiocls.errors import ChoiceError, SettingError
from audiocls.training.runtime.batch_norm import share_batch_norm
from audiocls.training.runtime.subnormals import flush_subnormals

DEVICES = ("auto", "cpu", "cuda")
# Multiply-adds of a step forward that keep a thread of the CPU busy: about ten milliseconds. With
# less to do, threads wait for each other longer than they compute.
THREAD_WORK = 200e6
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """A torch device of this process, one of `world` that train together."""

    torch: torch.device
    bfloat16: bool = False
    rank: int = 0
    world: int = 1

    @classmethod
    def pick(cls, name: str = "auto", precision: str = "float32") -> Device:
        """Chooses a device; in a process that torchrun started, rank and world are torchrun's.

        It warns if bfloat16 is asked for and slower than float32.

        Args:
            name: cpu, cuda, or auto: CUDA if there is a device, else the CPU.
            precision: as in `Recipe`.

        Raises:
            SettingError: the device is not there.
        """
        if name not in DEVICES:
            raise ChoiceError("device", name, DEVICES)
        available = torch.cuda.is_available()
        if name == "cuda" and not available:
            rule = f"torch {torch.__version__} sees no CUDA device here; use `device` cpu"
            raise SettingError("device", name, rule)
        kind = "cuda" if available and name != "cpu" else "cpu"
        rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        local = int(os.environ.get("LOCAL_RANK", 0))
        device = torch.device(kind, local) if kind == "cuda" else torch.device(kind)
        slow = None if precision == "float32" else _why_not_bfloat16(device)
        if precision == "bfloat16" and slow:
            said = f"precision bfloat16: {kind} {slow} here, float32 is faster"
            warnings.warn(said, stacklevel=2)
        bfloat16 = precision == "bfloat16" or (precision == "auto" and not slow)
        return cls(device, bfloat16, rank, world)

    @property
    def leads(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    @property
    def name(self) -> str:
        """For people: kind, threads or model, precision, processes."""
        arithmetic = ", bfloat16" if self.bfloat16 else ""
        several = f", {self.world} processes" if self.world > 1 else ""
        if self.torch.type == "cuda":
            return f"cuda ({torch.cuda.get_device_name(self.torch)}{arithmetic}{several})"
        return f"cpu ({torch.get_num_threads()} threads{arithmetic}{several})"

    def autocast(self) -> AbstractContextManager[None]:
        """Returns a context in which convolutions and matrix products have the chosen precision."""
        return torch.autocast(self.torch.type, torch.bfloat16, enabled=self.bfloat16)

    @contextmanager
    def limit_threads(self, work: float) -> Iterator[None]:
        """Gives torch no more CPU threads than a step of `work` multiply-adds keeps busy."""
        before = torch.get_num_threads()
        wanted = min(before, max(1, int(work / THREAD_WORK)))
        _log.debug("a step has %.3g multiply-adds: %d of %d threads", work, wanted, before)
        torch.set_num_threads(wanted)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    @contextmanager
    def join(self) -> Iterator[None]:
        """Connects the processes of the run."""
        if self.world == 1 or dist.is_initialized():
            yield
            return
        if self.torch.type == "cuda":
            torch.cuda.set_device(self.torch)
        dist.init_process_group("nccl" if self.torch.type == "cuda" else "gloo")
        try:
            yield
        finally:
            dist.destroy_process_group()

    def take_share(self, batch: Tensor) -> Tensor:
        """Returns this process's part of a batch: every `world`-th pair of rows.

        Neighbours stay together, because mixup mixes them.
        """
        if self.world == 1:
            return batch
        pairs = torch.arange(len(batch)) // 2
        return batch[pairs % self.world == self.rank]

    def add_up(self, value: Tensor) -> Tensor:
        """Returns the sum over all processes."""
        if self.world > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def share_module(self, module: nn.Module) -> nn.Module:
        """Returns the module as all processes train it.

        It has the mean of their gradients, and batch normalisation over all of their rows.
        """
        if self.world == 1:
            return module
        share_batch_norm(module)
        ids = None if self.torch.type == "cpu" else [self.torch.index]
        return nn.parallel.DistributedDataParallel(module, device_ids=ids)

    def gather(self, rows: Tensor) -> Tensor:
        """Returns the rows of all processes on the CPU, [n, …], process after process."""
        if self.world == 1:
            return rows.cpu()
        parts: list[Tensor] = [rows] * self.world
        dist.all_gather_object(parts, rows.cpu())
        return torch.cat(parts)

    def wait(self) -> None:
        """Waits until all processes are here."""
        if self.world > 1:
            dist.barrier()

    def free_bytes(self) -> int:
        """Returns the memory of the device that nobody uses."""
        if self.torch.type == "cuda":
            return int(torch.cuda.mem_get_info(self.torch)[0])
        import psutil

        return int(psutil.virtual_memory().available)


def _why_not_bfloat16(device: torch.device) -> str | None:
    """Returns what makes it slower there than float32, for people; None if it is not."""
    if device.type == "cuda":
        native = fast = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        native = any(getattr(torch.cpu, check, lambda: False)() for check in checks)
        fast = native and _faster_in_bfloat16()
    if fast:
        return None
    return "has slow instructions for it" if native else "only emulates it"


@cache
@flush_subnormals()  # the threads that torch starts here stay
def _faster_in_bfloat16() -> bool:
    """Returns whether a matrix product is faster in bfloat16 on this processor.

    AVX512_BF16 alone does not say so. With it AMD's EPYC takes about half of float32's time,
    Intel's Xeon twice as long, unless it has AMX.
    """
    factors = [torch.ones(512, 512, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    fastest = [float("inf")] * 2
    for _ in range(6):
        for i, factor in enumerate(factors):
            started = perf_counter()
            factor @ factor
            fastest[i] = min(fastest[i], perf_counter() - started)
    return fastest[1] < fastest[0]
