"""Batch normalisation over the batches of all processes, on any device."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class SharedBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` whose mean and variance are those of all processes' rows together.

    torch's own SyncBatchNorm computes on GPUs only. Gradients flow through the reduction.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Returns normalised maps, as `nn.BatchNorm2d`."""
        if not self.training:
            return super().forward(x)
        rows = x.float()
        own = torch.cat([rows.sum(dim=(0, 2, 3)), rows.new_tensor([rows.numel() / rows.shape[1]])])
        total: Tensor = all_reduce(own)  # type: ignore[no-untyped-call]
        n, mean = total[-1].detach(), total[:-1] / total[-1].detach()
        away = rows - mean[:, None, None]
        # Deviations from the common mean, not E[x²] − E[x]²: that difference cancels in float32.
        spread: Tensor = all_reduce((away**2).sum(dim=(0, 2, 3)))  # type: ignore[no-untyped-call]
        variance = spread / n
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            assert self.momentum is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * n / (n - 1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt()
        y: Tensor = away * scale[:, None, None] + self.bias[:, None, None]
        return y.to(x.dtype)


def share_batch_norm(module: nn.Module) -> None:
    """Lets every batch normalisation in a module see the rows of all processes."""
    assert dist.is_initialized()
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d:
                shared = SharedBatchNorm2d(child.num_features, child.eps, child.momentum)
                shared.load_state_dict(child.state_dict())
                parent.register_module(name, shared.to(child.weight.device))
