"""One epoch: steps of the optimiser on drawn batches, then a look at the validation part."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from audiocls.classifier.model import Model
from audiocls.engine.augmentation import MOST_FOLLOWING
from audiocls.errors import DataError
from audiocls.models.cost import count_multiply_adds
from audiocls.training.data.examples import Examples, TrainingBatch
from audiocls.training.data.feature_augmentation import Draws, FeatureAugmentation, neighbours
from audiocls.training.data.sampling import make_sampler
from audiocls.training.fitting.evaluation import compute_logits, typical_shape
from audiocls.training.fitting.objective import Row
from audiocls.training.fitting.schedule import learning_rate
from audiocls.training.fitting.state import TrainState
from audiocls.training.recipe import Recipe
from audiocls.training.runtime.device import Device
from audiocls.training.runtime.interrupt import CtrlC
from audiocls.training.runtime.randomness import Purpose, derive_seed, make_generator
from audiocls.training.trial import Trial

# Called after every batch: batches done, batches in all, and the history row when an epoch ended.
EpochProgress = Callable[[int, int, Row | None], None]


def effective_batch_size(recipe: Recipe, examples: Examples) -> int:
    """Returns the clips a step; a training part that is smaller than a batch is one."""
    return min(recipe.batch_size, max(2, len(examples)))


def count_batches(recipe: Recipe, examples: Examples) -> int:
    """Returns the steps an epoch; all batches are full."""
    return -(-len(examples) // effective_batch_size(recipe, examples))


def count_step_work(recipe: Recipe, model: Model, examples: Examples) -> int:
    """Returns the multiply-adds of a step's way forward."""
    served = copy.deepcopy(model).cpu().eval()
    clip = count_multiply_adds(served.network, typical_shape(model, examples))
    return clip * effective_batch_size(recipe, examples)


def train_epoch(
    trial: Trial,
    state: TrainState,
    examples: Examples,
    device: Device,
    progress: EpochProgress | None,
    ctrl_c: CtrlC,
) -> Row:
    """Makes all steps of the next epoch.

    Returns:
        The training half of its row in the history.

    Raises:
        DataError: the loss is no number any more, or memory does not suffice.
    """
    recipe, epoch = trial.recipe, state.epoch + 1
    size, per_epoch = effective_batch_size(recipe, examples), count_batches(recipe, examples)
    torch.manual_seed(derive_seed(trial.seed, epoch, Purpose.NETWORK))
    order, following = _draw_order(trial, examples, epoch)
    augmentation = FeatureAugmentation(
        recipe,
        state.model.description.spec,
        make_generator(trial.seed, epoch, Purpose.AUGMENTATION),
        device,
        stored=examples.augmenter is None,
    )
    state.begin_epoch(epoch <= recipe.freeze_epochs, recipe.freeze_norm)
    started = time.perf_counter()
    sums = state.objective.start_sums(len(state.model.classes_), device)
    step, steps = state.epoch * per_epoch, recipe.epochs * per_epoch
    lr = recipe.lr
    try:
        for batch in examples.training_batches(order, epoch, following):
            ctrl_c.check()
            lr = learning_rate(recipe, step, steps)
            draws = augmentation.draw(size)
            x = augmentation.batch(batch.x.float(), batch.lengths, draws, state.model)
            batch = batch._replace(x=x)
            sums.add(batch.y, *_step(state, recipe, batch, draws, lr, size, device))
            step += 1
            state.update_average(recipe.ema, step)
            if progress:
                progress(step, steps, None)
        row = sums.take_means()  # waits for the device
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise DataError(f"{error}; try a `batch_size` of {max(2, size // 2)}") from None
    state.training_s += time.perf_counter() - started
    state.clips += per_epoch * size
    if not math.isfinite(row["train_loss"]):
        raise _diverged(state, epoch, row["train_loss"], recipe.lr)
    return {"epoch": epoch, "lr": lr, **row}


def _draw_order(trial: Trial, examples: Examples, epoch: int) -> tuple[list[Tensor], Tensor | None]:
    """Draws the batches of an epoch, and what may follow each of its clips in a phrase.

    Returns:
        Batches, int64 [size] each, of clips of `examples`; and int64 [clips of the epoch, k], or
        None for a recipe without phrases.
    """
    recipe = trial.recipe
    size, n_batches = effective_batch_size(recipe, examples), count_batches(recipe, examples)
    sampler = make_sampler(trial, examples)
    order = examples.split_by_length(sampler.draw(n_batches * size, epoch), size)
    if recipe.waveform is None or recipe.waveform.phrase_p == 0:
        return order, None
    return order, sampler.draw_alike(torch.cat(order), MOST_FOLLOWING, epoch)


def _diverged(state: TrainState, epoch: int, loss: float, lr: float) -> DataError:
    kept = f"the model of epoch {state.best_epoch} is kept; " if state.best_epoch else ""
    return DataError(
        f"training diverged in epoch {epoch}: the loss is {loss}; {kept}try a lower `lr` than {lr}"
    )


def validate_epoch(state: TrainState, examples: Examples, device: Device) -> Row:
    """Returns the validation half of a row of the history."""
    logits = compute_logits(state.eval_model, examples, device)
    return state.objective.score_validation(logits, examples.labels, state.model.classes_)


def _step(
    state: TrainState,
    recipe: Recipe,
    batch: TrainingBatch,
    draws: Draws,
    lr: float,
    size: int,
    device: Device,
) -> tuple[Tensor, Tensor]:
    """Makes one step of the optimiser with this process's part of a batch of `size` clips.

    Returns:
        The loss and the logits of each clip.
    """
    with device.autocast():
        logits = state.training_module(batch.x, batch.lengths)

    def loss_for(labels: Tensor) -> Tensor:
        return state.objective.loss(logits, labels, recipe.label_smoothing)

    loss = loss_for(batch.y)
    if recipe.mixup > 0:
        other = loss_for(batch.y[neighbours(len(batch.y), batch.y.device)])
        loss = torch.lerp(loss, other, draws.mix.to(loss))
    # Gradients are averaged over the processes, which may have unequal parts of the batch.
    state.descend(loss.sum() * device.world / size, lr)
    return loss.detach(), logits.detach()
