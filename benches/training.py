"""Training and evaluation against the loop that users write: same clips, model, batch, optimiser.

`make bench` writes the table to docs/evidence/speed.md; by itself, this file prints it.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from paired import ratio, seconds
from plain_network import plain
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from audiocls import Cut, FeatureSpec
from audiocls.models import MODELS
from audiocls.training import Device, Recipe, Trial
from audiocls.training.data.examples import Examples
from audiocls.training.fitting.epoch import train_epoch
from audiocls.training.fitting.evaluation import compute_logits
from audiocls.training.loop import new_state
from audiocls.training.runtime.interrupt import CtrlC
from audiocls.training.runtime.memory import reuse_memory

N_CLASSES, BATCH, LR = 14, 64, 1e-3
SHAPES = {"mel": (44, 128), "mfcc": (49, 13)}  # (frames, features)
# Steps of an epoch: so many that an epoch lasts a second or more, for the quick ones too.
STEPS = {"newcnn": 3, "resnet": 6, "cnn": 6, "lstm": 60}
# As plain as the loop by hand: what differs is how it is computed.
RECIPE = Recipe(
    batch_size=BATCH, lr=LR, schedule="constant", warm_up=0.0, sampler="natural",
    label_smoothing=0.0, mixup=0.0, time_mask=0.0, freq_mask=0.0, mel_shift=0.0,
    mel_band=0.0, mel_noise=0.0, remove_level=False, ema=0.0, epochs=1000,
)  # fmt: skip


def store(feature: str, n: int) -> Any:
    """Noise with a raised band a class, in memory: speed does not depend on what is learnt."""
    rng = np.random.default_rng(0)
    frames, features = SHAPES[feature]
    labels = rng.integers(0, N_CLASSES, n)
    x = rng.normal(-40, 10, (n, frames, features)).astype(np.float32)
    for clip, label in zip(x, labels, strict=True):
        clip[:, features * label // N_CLASSES] += 20
    return SimpleNamespace(
        features=x, labels=labels, clip_recording=np.arange(n), cut=Cut(),
        clip_shape=(frames, features), classes=[str(c) for c in range(N_CLASSES)],
        spec=FeatureSpec.preset(feature), about={},
    )  # fmt: skip


class Clips(Dataset[tuple[torch.Tensor, int]]):
    """What users write: an item is normalised when it is asked for."""

    def __init__(self, x: NDArray[np.float32], y: NDArray[np.int64]) -> None:
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)
        self.mean, self.std = self.x.mean(dim=(0, 1)), self.x.std(dim=(0, 1))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return (self.x[i] - self.mean) / self.std, int(self.y[i])


class ByHand:
    """The loop that users write, with so many loader processes."""

    def __init__(self, model: nn.Module, data: Any, workers: int) -> None:
        self.model = model
        self.optimizer = torch.optim.AdamW(model.parameters(), LR)
        self.loader = DataLoader(
            Clips(data.features, data.labels), BATCH, shuffle=True, num_workers=workers,
            persistent_workers=workers > 0,
        )  # fmt: skip

    def train(self) -> list[float]:
        """The loss of each step of an epoch."""
        self.model.train()
        losses = []
        for x, y in self.loader:
            self.optimizer.zero_grad()
            loss = cross_entropy(self.model(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            losses.append(loss.item())
        return losses

    @torch.no_grad()
    def evaluate(self) -> torch.Tensor:
        self.model.eval()
        return torch.cat([self.model(x).softmax(dim=1) for x, _ in self.loader])


class Ours:
    """An epoch of `audiocls train` in a precision."""

    def __init__(self, name: str, data: Any, precision: str) -> None:
        self.device = Device.pick("cpu", precision)
        self.trial = Trial(name, RECIPE)
        self.examples = Examples(data, np.arange(len(data.features)), self.device)
        self.state = new_state(self.trial, data, self.examples, self.device)

    def train(self) -> float:
        """The mean loss of an epoch."""
        with CtrlC() as ctrl_c:
            row = train_epoch(self.trial, self.state, self.examples, self.device, None, ctrl_c)
        return row["train_loss"]

    def evaluate(self) -> NDArray[np.float64]:
        return compute_logits(self.state.model, self.examples, self.device)


def as_users_write_it(name: str, data: Any) -> nn.Module:
    """The network, fresh, as anyone writes it."""
    network = plain(Ours(name, data, "float32").state.model.network)
    return network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


class Apart:
    """A contender in a process of its own: what one does with memory is nothing to the other."""

    def __init__(self, make: Callable[..., Any], *given: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.line, end = context.Pipe()
        self.process = context.Process(target=_serve, args=(end, make, given))
        self.process.start()
        end.close()  # so that the death of one process ends the line for the other

    def __call__(self, what: str) -> None:
        self.line.send(what)
        self.line.recv()

    def close(self) -> None:
        self.line.close()
        self.process.join()


def _serve(line: Connection, make: Callable[..., Any], given: Sequence[Any]) -> None:
    torch.set_num_threads(1)
    with make(*given) as contender, contextlib.suppress(EOFError):
        while True:
            getattr(contender, line.recv())()
            line.send(None)


@contextlib.contextmanager
def by_hand(feature: str, n: int, name: str, workers: int) -> Iterator[ByHand]:
    data = store(feature, n)
    hand = ByHand(as_users_write_it(name, data), data, workers)
    yield hand
    del hand.loader  # ends its processes


@contextlib.contextmanager
def ours(feature: str, n: int, name: str, precision: str) -> Iterator[Ours]:
    with reuse_memory():  # as `fit` does for a whole training
        yield Ours(name, store(feature, n), precision)


def check_equal(name: str, data: Any) -> None:
    """Checks that both loops learn alike.

    From equal weights, their mean losses over an epoch differ by less than the order of the clips
    makes
    of them.
    """
    both = [Ours(name, data, precision) for precision in ("float32", "bfloat16")]
    weights = {k: v.clone() for k, v in both[0].state.model.network.state_dict().items()}
    network = as_users_write_it(name, data)
    losses = []
    for seed in range(3):
        network.load_state_dict(weights)
        torch.manual_seed(seed)
        losses.append(statistics.mean(ByHand(network, data, 0).train()))
    noise = max(statistics.stdev(losses), 0.01 * statistics.mean(losses))
    for one in both:
        assert abs(one.train() - statistics.mean(losses)) < 5 * noise, (name, losses)


def rows(feature: str, name: str, rounds: int) -> Iterator[list[str]]:
    """Training and evaluation of one architecture."""
    n = BATCH * STEPS.get(name, 12)
    check_equal(name, store(feature, n))
    with contextlib.ExitStack() as stack:

        def apart(*contender: Any) -> Apart:
            return stack.enter_context(contextlib.closing(Apart(*contender)))

        hands = {f"{k} loaders": apart(by_hand, feature, n, name, k) for k in (0, 2)}
        own = {p: apart(ours, feature, n, name, p) for p in ("float32", "bfloat16")}
        for what in ("train", "evaluate"):
            runs = {key: partial(one, what) for key, one in (hands | own).items()}
            taken = seconds(runs, rounds, at_least=0.0)
            hand = min(hands, key=lambda key: statistics.median(taken[key]))
            rates = [n / statistics.median(taken[key]) for key in (hand, *own)]
            yield [
                feature,
                f"`{name}`",
                {"train": "training", "evaluate": "evaluation"}[what],
                *(f"{float(f'{rate:.3g}'):,g}" for rate in rates),
                *(f"{ratio(taken[hand], taken[precision]):.2f}" for precision in own),
            ]


HEAD = [
    "features", "model", "", "by hand, clips/s", "float32", "bfloat16", "ratio float32",
    "ratio bfloat16",
]  # fmt: skip


def every_model(
    features: Sequence[str] = tuple(SHAPES), models: Sequence[str] = tuple(MODELS), rounds: int = 5
) -> list[list[str]]:
    """The table, on one core."""
    torch.set_num_threads(1)
    return [row for f in features for name in models for row in rows(f, name, rounds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--features", default=",".join(SHAPES))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for feature in options.features.split(","):
        for name in options.models.split(","):
            for row in every_model([feature], [name], options.rounds):
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
