"""One epoch: steps of the optimiser on drawn batches, then a look at the validation part."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from audiocls.classifier.model import Classifier
from audiocls.engine.augmentation import MOST_FOLLOWING
from audiocls.errors import DataError
from audiocls.models.cost import multiply_adds
from audiocls.training.data.examples import Batch, Examples
from audiocls.training.data.feature_augmentation import Draws, FeatureAugmentation, neighbours
from audiocls.training.data.sampling import Sampler
from audiocls.training.fitting.evaluation import logits_of, typical_shape
from audiocls.training.fitting.objective import Row
from audiocls.training.fitting.schedule import learning_rate
from audiocls.training.fitting.state import TrainState
from audiocls.training.recipe import Recipe
from audiocls.training.runtime.device import Device
from audiocls.training.runtime.interrupt import CtrlC
from audiocls.training.runtime.randomness import Purpose, generator, seed_of
from audiocls.training.trial import Trial

# Called after every batch: batches done, batches in all, and the history row when an epoch ended.
Progress = Callable[[int, int, Row | None], None]


def batch_size_of(recipe: Recipe, examples: Examples) -> int:
    """Clips a step: of a training part that is smaller than a batch, its size."""
    return min(recipe.batch_size, max(2, len(examples)))


def batches_of(recipe: Recipe, examples: Examples) -> int:
    """Steps an epoch; all batches are full."""
    return -(-len(examples) // batch_size_of(recipe, examples))


def step_work(recipe: Recipe, classifier: Classifier, examples: Examples) -> int:
    """Multiply-adds of a step's way forward."""
    served = copy.deepcopy(classifier).cpu().eval()
    clip = multiply_adds(served.network, typical_shape(classifier, examples))
    return clip * batch_size_of(recipe, examples)


def train_epoch(
    trial: Trial,
    state: TrainState,
    examples: Examples,
    device: Device,
    progress: Progress | None,
    ctrl_c: CtrlC,
) -> Row:
    """All steps of the next epoch; the training half of its row in the history.

    Raises DataError where the loss is no number any more, or memory does not suffice.
    """
    recipe, epoch = trial.recipe, state.epoch + 1
    size, per_epoch = batch_size_of(recipe, examples), batches_of(recipe, examples)
    torch.manual_seed(seed_of(trial.seed, epoch, Purpose.NETWORK))
    labels, sources = map(torch.from_numpy, (examples.labels, examples.sources))
    sampler = Sampler(
        labels,
        recipe.sampler,
        trial.seed,
        sources if recipe.source else None,
        recipe.source_temperature,
    )
    order = examples.by_length(sampler.draw(per_epoch * size, epoch), size)
    following = None
    if recipe.waveform is not None and recipe.waveform.phrase_p > 0:
        following = sampler.alike(torch.cat(order), MOST_FOLLOWING, epoch)
    augmentation = FeatureAugmentation(
        recipe,
        state.classifier.description.spec,
        generator(trial.seed, epoch, Purpose.AUGMENTATION),
        device,
        stored=examples.augmenter is None,
    )
    state.begin_epoch(epoch <= recipe.freeze_epochs, recipe.freeze_norm)
    started = time.perf_counter()
    sums = state.objective.sums(len(state.classifier.classes_), device)
    step, steps = state.epoch * per_epoch, recipe.epochs * per_epoch
    lr = recipe.lr
    try:
        for batch in examples.drawn(order, epoch, following):
            ctrl_c.check()
            lr = learning_rate(recipe, step, steps)
            draws = augmentation.draw(size)
            x = augmentation.batch(batch.x.float(), batch.lengths, draws, state.classifier)
            batch = batch._replace(x=x)
            sums.add(batch.y, *_step(state, recipe, batch, draws, lr, size, device))
            step += 1
            state.follow(recipe.ema, step)
            if progress:
                progress(step, steps, None)
        row = sums.means()  # waits for the device
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise DataError(f"{error}; try a `batch_size` of {max(2, size // 2)}") from None
    state.training_s += time.perf_counter() - started
    state.clips += per_epoch * size
    if not math.isfinite(loss := row["train_loss"]):
        kept = f"the model of epoch {state.best_epoch} is kept; " if state.best_epoch else ""
        raise DataError(
            f"training diverged in epoch {epoch}: the loss is {loss}; {kept}"
            f"try a lower `lr` than {recipe.lr}"
        )
    return {"epoch": epoch, "lr": lr, **row}


def validate(state: TrainState, examples: Examples, device: Device) -> Row:
    """The validation half of a row of the history."""
    logits = logits_of(state.chosen, examples, device)
    return state.objective.validation(logits, examples.labels, state.classifier.classes_)


def _step(
    state: TrainState,
    recipe: Recipe,
    batch: Batch,
    draws: Draws,
    lr: float,
    size: int,
    device: Device,
) -> tuple[Tensor, Tensor]:
    """One step of the optimiser with this process's part of an augmented batch of `size` clips.

    Returns the loss and the logits of each clip.
    """
    with device.autocast():
        logits = state.trained(batch.x, batch.lengths)

    def loss_for(labels: Tensor) -> Tensor:
        return state.objective.loss(logits, labels, recipe.label_smoothing)

    loss = loss_for(batch.y)
    if recipe.mixup > 0:
        other = loss_for(batch.y[neighbours(len(batch.y), batch.y.device)])
        loss = torch.lerp(loss, other, draws.mix.to(loss))
    # Gradients are averaged over the processes, which may have unequal parts of the batch.
    state.descend(loss.sum() * device.world / size, lr)
    return loss.detach(), logits.detach()
