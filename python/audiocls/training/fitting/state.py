"""A training between two epochs: all that changes while it runs."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from audiocls.classifier.model import Model
from audiocls.schema import Rule, at_least, validate
from audiocls.training.fitting.objective import OBJECTIVES, Objective, Row
from audiocls.training.recipe import Recipe
from audiocls.training.runtime.device import Device


@dataclass
class TrainState:
    """Model, optimiser, averaged weights, and how far they are."""

    model: Model
    training_module: nn.Module  # the model, shared with the other processes where there are some
    optimizer: torch.optim.Optimizer  # of the parameters as they lie in memory
    average: Model | None  # the moving average of the weights, if the recipe asks for one
    history: list[Row] = field(default_factory=list)  # a row an epoch
    best_epoch: int = 0
    best_score: tuple[float, float] = (-1.0, -math.inf)
    clips: int = 0  # seen in training
    training_s: float = 0.0
    went_on: int = 0  # the epoch of a finished run that it went on from
    head_only: bool = False  # whether steps leave the body as it is
    anchor: Model | None = None  # the weights it began with, if a share of them is kept
    keep_start: float = 0.0  # that share
    keep_last: bool = False  # whether the last epoch's model is kept, and not the best

    @classmethod
    def start(cls, model: Model, recipe: Recipe, device: Device) -> TrainState:
        """Makes the state before the first epoch."""
        trained = device.share_module(model)
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[recipe.optimizer]
        # torch's fused optimisers copy what is not contiguous seven times a step.
        flat = [nn.Parameter(_flat(p.data)) for p in model.parameters()]
        optimizer = kind(flat, recipe.lr, weight_decay=recipe.weight_decay, fused=True)
        average = copy.deepcopy(model).eval() if recipe.ema > 0 else None
        anchor = copy.deepcopy(model).eval() if recipe.keep_start > 0 else None
        return cls(
            model, trained, optimizer, average,
            anchor=anchor, keep_start=recipe.keep_start, keep_last=recipe.keep == "last",
        )  # fmt: skip

    @property
    def objective(self) -> Objective:
        """What the task asks of training."""
        return OBJECTIVES[self.model.task.name]

    @property
    def epoch(self) -> int:
        """How many epochs are finished."""
        return len(self.history)

    @property
    def eval_model(self) -> Model:
        """The model that is evaluated and kept.

        It has the averaged weights if there are some, and a share of those it began with.
        """
        model = self.average or self.model
        if self.anchor is None:
            return model
        kept = copy.deepcopy(model)
        _move(kept, self.anchor, self.keep_start)
        return kept

    def notices(self) -> list[str]:
        """Returns what one should know of how it came to be."""
        if not self.went_on:
            return []
        return [
            f"the run was finished and went on from its epoch {self.went_on}, with a new "
            "optimiser: one that was never finished before gives other weights"
        ]

    def is_over(self, recipe: Recipe) -> bool:
        """Returns whether nothing is left to do."""
        waited = self.epoch - self.best_epoch
        return self.epoch >= recipe.epochs or (0 < recipe.patience <= waited)

    def begin_epoch(self, head_only: bool, freeze_norm: bool) -> None:
        """Prepares for steps of the head alone, or of all.

        Batch statistics stay as they are if the body does, or with `freeze_norm`.
        """
        self.head_only = head_only
        self.model.train()
        for module in self.model.modules():
            if head_only or (freeze_norm and isinstance(module, _BatchNorm)):
                module.eval()
        if self.training_module is self.model:  # other processes expect every gradient
            for parameter in self.model.parameters():
                parameter.requires_grad_(not head_only)
            self.model.network.head.requires_grad_(True)

    def descend(self, loss: Tensor, lr: float) -> None:
        """Makes one step of the optimiser, down the gradient of `loss`."""
        self.model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        (group,) = self.optimizer.param_groups
        group["lr"] = lr
        head = {id(p) for p in self.model.network.head.parameters()}
        for flat, parameter in zip(group["params"], self.model.parameters(), strict=True):
            kept = self.head_only and id(parameter) not in head
            # torch lays a gradient out in memory as its parameter.
            flat.grad = None if kept or parameter.grad is None else _flat(parameter.grad)
        self.optimizer.step()

    def update_average(self, decay: float, step: int) -> None:
        """Moves the average towards the weights, faster early in training.

        As TensorFlow's ExponentialMovingAverage: min(decay, (1 + step) / (10 + step)).
        """
        if self.average is None:
            return
        _move(self.average, self.model, 1 - min(decay, (1 + step) / (10 + step)))

    def finish_epoch(self, row: Row) -> bool:
        """Adds an epoch to the history; returns whether its model is kept.

        Epochs are compared by the score of their task on validation, then by loss, unless the last
        is kept.
        """
        self.history.append(row)
        score = (row[f"val_{self.objective.main}"], -row["val_loss"])
        better = self.keep_last or score > self.best_score
        if better:
            self.best_epoch, self.best_score = self.epoch, score
        return better

    # --- as bytes: tensors as safetensors, the rest as JSON in their header ---

    def to_bytes(self, settings: dict[str, Any]) -> bytes:
        """Returns all of it as safetensors, with the `settings` of the run."""
        tensors = _prefixed("classifier", self.model.state_dict())
        if self.average is not None:
            tensors |= _prefixed("average", self.average.state_dict())
        if self.anchor is not None:
            tensors |= _prefixed("anchor", self.anchor.state_dict())
        optimizer = self.optimizer.state_dict()
        parameters = list(self.model.parameters())
        for i, values in optimizer["state"].items():
            like = parameters[i]
            shaped = {k: v.as_strided(like.shape, like.stride()) if v.dim() else v
                      for k, v in values.items()}  # fmt: skip
            tensors |= _prefixed(f"optimizer.{i}", shaped)
        progress = {
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
            "clips": self.clips,
            "training_s": self.training_s,
            "went_on": self.went_on,
            "settings": settings,
        }
        return save_tensors(
            {k: v.detach().cpu().contiguous() for k, v in tensors.items()},
            {"progress": json.dumps(progress)},
        )

    def restore(self, data: bytes, progress: dict[str, Any]) -> None:
        """Makes this state, fresh from `start`, the one that `to_bytes` wrote.

        Raises:
            KeyError: the state is of another model, as for the other errors.
            RuntimeError: a tensor has another shape.
            SafetensorError: the bytes are damaged.
        """
        parts: dict[str, dict[str, Tensor]] = {}
        for name, value in load_tensors(data).items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = value
        self.model.load_state_dict(parts["classifier"])
        if self.average is not None:
            self.average.load_state_dict(parts["average"])
        if self.anchor is not None:
            self.anchor.load_state_dict(parts["anchor"])
        document = self.optimizer.state_dict()
        parameters = list(self.model.parameters())
        for name, value in parts.get("optimizer", {}).items():
            i, _, key = name.partition(".")
            if value.dim():
                value = _flat(torch.empty_like(parameters[int(i)]).copy_(value))
            document["state"].setdefault(int(i), {})[key] = value
        self.optimizer.load_state_dict(document)
        self.history = progress["history"]
        self.best_epoch = progress["best_epoch"]
        first, second = progress["best_score"]
        self.best_score = (first, second)
        self.clips, self.training_s = progress["clips"], progress["training_s"]
        self.went_on = progress.get("went_on", 0)  # earlier versions never did

    def continue_from(self, model: Model, history: list[Row], epoch: int) -> None:
        """Makes this state, fresh from `start`, that of a finished run after its chosen `epoch`.

        The weights are those of `model`. Its optimiser is gone, and begins anew.
        """
        for own in (self.model, self.average, self.anchor):
            if own is not None:
                own.load_state_dict(model.state_dict())
                own.temperature.fill_(1.0)
                if own.offset is not None:
                    own.offset.zero_()
        for row in history[:epoch]:
            self.finish_epoch(row)
        self.went_on = epoch


@torch.no_grad()
def _move(model: Model, other: Model, share: float) -> None:
    """Moves the weights of a network towards those of another."""
    ours, theirs = model.network.state_dict(), other.network.state_dict()
    moved = [name for name, value in ours.items() if value.is_floating_point()]
    torch._foreach_lerp_([ours[n] for n in moved], [theirs[n] for n in moved], share)
    for name in ours.keys() - moved:
        ours[name].copy_(theirs[name])


def _are_epochs(rows: list[dict[str, Any]]) -> bool:
    names = set(rows[0]) if rows else {"epoch"}
    return "epoch" in names and all(
        set(row) == names and all(type(value) in (int, float) for value in row.values())
        for row in rows
    )


def _are_two_numbers(score: list[Any]) -> bool:
    return len(score) == 2 and all(type(number) in (int, float) for number in score)


_PROGRESS = {
    "history": Rule([{str: object}], "must be rows of numbers, one an epoch", _are_epochs),
    "best_epoch": at_least(0),
    "best_score": Rule([object], "must be two numbers", _are_two_numbers),
    "clips": at_least(0),
    "training_s": at_least(0, float),
    "settings": {"store": str, str: object},
}


def read_progress(path: str) -> dict[str, Any]:
    """Reads what a saved state says of itself, without its tensors: history, best, settings.

    Raises:
        SafetensorError: the file is damaged, as for the other errors.
        KeyError: a key is missing.
        ValueError: a value is invalid.
    """
    with safe_open(path, "pt") as file:
        progress: dict[str, Any] = json.loads(file.metadata()["progress"])
    validate(progress, _PROGRESS, "progress")
    return progress


def _prefixed(prefix: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in values.items()}


def _flat(values: Tensor) -> Tensor:
    """Returns the numbers as they lie in memory, [n]; not a copy."""
    return values.as_strided((values.numel(),), (1,))
