"""One model on one feature store: the loop, top to bottom.

The data lies on the device as one tensor and batches are index tensors: no loader, no workers.
The model is chosen on the validation part; the test part is looked at once, at the end.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import platform
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from audiocls import checkpoint, metrics, plots
from audiocls.errors import DataError, SettingError, unknown
from audiocls.files import replace_file
from audiocls.models import MODELS, build_model, count_parameters
from audiocls.training.leakage import near_duplicates
from audiocls.training.sampling import SAMPLERS, Sampler
from audiocls.training.splits import PARTS, TEST, TRAIN, VAL, Split, make_split

if TYPE_CHECKING:
    from audiocls.data.store import Store

WEIGHT_DECAY = 0.01
WARM_UP = 0.1  # share of the steps in which the learning rate rises
EVALUATION_BATCH = 128
# What a run writes, and so what --restart may delete.
FILES = (
    "metrics.json",
    "history.csv",
    "split.csv",
    "curves.png",
    "confusion.png",
    "model/model.json",
    "model/weights.safetensors",
)

# Called after every batch: batches done, batches in all, and the history row when an epoch ended.
Progress = Callable[[int, int, dict[str, float] | None], None]


@dataclass(frozen=True)
class Settings:
    """What decides the result of a run, given the store."""

    model: str
    epochs: int = 30
    batch_size: int = 64
    lr: float = 1e-3  # highest learning rate
    sampler: str = "balanced"
    group_by: str | None = None
    fold: str | None = None
    device: str = "auto"
    seed: int = 0  # of the split, the first weights and the draws

    def validate(self) -> None:
        """Raise SettingError for the first setting that no run could honour."""
        if self.model not in MODELS:
            raise unknown("--model", self.model, MODELS)
        if self.sampler not in SAMPLERS:
            raise unknown("--sampler", self.sampler, SAMPLERS)
        if self.epochs < 1:
            raise SettingError("--epochs", self.epochs, "must be >= 1")
        if self.batch_size < 2:
            rule = "must be >= 2, batch normalisation needs two examples"
            raise SettingError("--batch-size", self.batch_size, rule)
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise SettingError("--lr", self.lr, "must be > 0")
        if not 0 <= self.seed < 2**32:
            raise SettingError("--seed", self.seed, "must be 0 to 4294967295")
        pick_device(self.device)


def train(
    features: str | Path,
    model: str,
    out: str | Path | None = None,
    *,
    epochs: int = Settings.epochs,
    batch_size: int = Settings.batch_size,
    lr: float = Settings.lr,
    sampler: str = Settings.sampler,
    group_by: str | None = None,
    fold: str | None = None,
    device: str = Settings.device,
    seed: int = Settings.seed,
    restart: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train `model` on the feature store `features` and write a run folder.

    out: the run folder, by default runs/FEATURE-MODEL-SEED. A folder that holds a run is refused
    unless `restart`, which replaces it.

    Returns the content of metrics.json. Raises SettingError or DataError before anything is
    written; on KeyboardInterrupt the best model so far is kept, and the error passed on.
    """
    from audiocls.data.store import open_store

    settings = Settings(model, epochs, batch_size, lr, sampler, group_by, fold, device, seed)
    settings.validate()
    name = Path(features).resolve().name
    folder = Path(out) if out is not None else Path("runs") / run_name(name, settings)
    refuse_used(folder, restart)
    store = open_store(features)
    split = make_split(store.recordings, group_by=group_by, fold=fold, seed=seed)
    return fit(store, name, settings, split, folder, progress)


class _CtrlC:
    """Takes Ctrl-C between batches: an exception inside a backward pass may abort torch."""

    def __enter__(self) -> _CtrlC:
        self.asked = False
        # Only the main thread may set handlers, and a caller's own handler stays.
        self.ours = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self.ours:
            signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, *_: object) -> None:
        self.asked = True

    def check(self) -> None:
        """Raise KeyboardInterrupt if it was asked for."""
        if self.asked:
            raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        if self.ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def run_name(feature: str, settings: Settings) -> str:
    """FEATURE-MODEL-SEED, and the fold where there is one."""
    fold = f"-fold{settings.fold.replace('/', 'of')}" if settings.fold else ""
    return f"{feature}-{settings.model}-{settings.seed}{fold}"


def refuse_used(folder: Path, restart: bool) -> None:
    """Raise SettingError unless `folder` is free for a run, or holds one that may be replaced."""
    if folder.exists() and not folder.is_dir():
        raise SettingError("--out", str(folder), "is a file; a folder is needed")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not any((folder / name).exists() for name in FILES):
        raise SettingError("--out", str(folder), "is a folder of something else, not of a run")
    if not restart:
        what = "a finished run" if (folder / "metrics.json").exists() else "an unfinished run"
        raise SettingError("--out", str(folder), f"holds {what}; --restart replaces it")


def fit(
    store: Store,
    name: str,
    settings: Settings,
    split: Split,
    folder: Path,
    progress: Progress | None = None,
    leaks: list[str] | None = None,
) -> dict[str, Any]:
    """Train on an open store with a given split; see `train`. Earlier run files are replaced.

    leaks: what `leak_warnings` says of this store and split, if it has been asked before.
    """
    device = pick_device(settings.device)
    frames, n_features = input_shape(store)
    # The global generators are the caller's: they are as before when this returns.
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(settings.seed)
        model = build_model(settings.model, len(store.classes), (frames, n_features))
    # Channels last: the wide convolutions of newcnn are nearly twice as fast so on a CPU.
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    part = np.array([split.part.get(r.path, -1) for r in store.recordings])[store.clip_recording]
    clips = {p: np.flatnonzero(part == p) for p in (TRAIN, VAL, TEST)}
    trained = set(np.asarray(store.labels)[clips[TRAIN]].tolist())
    if untrained := [c for i, c in enumerate(store.classes) if i not in trained]:
        raise DataError(f"no clip of class {', '.join(untrained)} in the training part")
    mean, std = statistics(store, clips[TRAIN])
    warnings = split.warnings + (leak_warnings(store, split) if leaks is None else leaks)

    # All clips of the split on the device, in the store's own precision.
    used = np.flatnonzero(part >= 0)
    x = torch.from_numpy(np.ascontiguousarray(store.features[used])).to(device)
    y = torch.from_numpy(np.asarray(store.labels)[used].astype(np.int64)).to(device)
    rows = {p: torch.from_numpy(np.searchsorted(used, clips[p])).to(device) for p in clips}
    shift = torch.from_numpy(mean).to(device)
    scale = torch.from_numpy(1 / std).to(device)

    def logits_of(batch: Tensor) -> Tensor:
        inputs = (x[batch].float() - shift) * scale
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            out: Tensor = model(inputs)
        return out.float()

    @torch.no_grad()
    def probabilities(p: int) -> NDArray[np.float64]:
        model.eval()
        batches = torch.split(rows[p], EVALUATION_BATCH)
        return torch.cat([logits_of(b).double().softmax(dim=1) for b in batches]).cpu().numpy()

    def evaluate(p: int) -> dict[str, Any]:
        return metrics.evaluate(probabilities(p), y[rows[p]].cpu().numpy(), store.classes)

    info = checkpoint.ModelInfo(
        architecture=settings.model,
        input_shape=(frames, n_features),
        classes=list(store.classes),
        spec=store.spec,
        clip_s=store.clip_s,
        hop_s=store.hop_s,
        mean=mean,
        std=std,
        versions=versions(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        (folder / file).unlink(missing_ok=True)
    (folder / "split.csv").write_bytes(split.to_csv())

    batch_size = min(settings.batch_size, max(2, len(clips[TRAIN])))
    batches = -(-len(clips[TRAIN]) // batch_size)
    steps = settings.epochs * batches
    optimizer = torch.optim.AdamW(model.parameters(), settings.lr, weight_decay=WEIGHT_DECAY)
    draw = Sampler(y[rows[TRAIN]], settings.sampler, settings.seed)
    history: list[dict[str, float]] = []
    best_weights, best_epoch, best_score = _copy(model), 0, (-1.0, -math.inf)
    training_s = 0.0
    try:
        with _CtrlC() as ctrl_c:
            for epoch in range(1, settings.epochs + 1):
                model.train()
                started = time.perf_counter()
                order = rows[TRAIN][draw.draw(batches * batch_size).to(device)]
                total_loss = torch.zeros((), device=device)
                predicted = []
                for i, batch in enumerate(torch.split(order, batch_size)):
                    ctrl_c.check()
                    step = (epoch - 1) * batches + i
                    rate = settings.lr * learning_rate(step, steps)
                    for group in optimizer.param_groups:
                        group["lr"] = rate
                    logits = logits_of(batch)
                    loss = cross_entropy(logits, y[batch])
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    total_loss += loss.detach()
                    predicted.append(logits.detach().argmax(dim=1))
                    if progress:
                        progress(step + 1, steps, None)
                train_loss = total_loss.item() / batches  # waits for the device
                training_s += time.perf_counter() - started
                if not math.isfinite(train_loss):
                    raise DataError(
                        f"training diverged in epoch {epoch}: the loss is {train_loss}; "
                        f"try a lower --lr than {settings.lr}"
                    )

                validation = probabilities(VAL)
                truth = y[rows[VAL]].cpu().numpy()
                val = metrics.evaluate(validation, truth, store.classes)
                likelihood = validation[np.arange(len(truth)), truth]
                val_loss = float(-np.log(np.maximum(likelihood, 1e-30)).mean())
                history.append(
                    {
                        "epoch": epoch,
                        "lr": rate,
                        "train_loss": train_loss,
                        "train_balanced_accuracy": _mean_recall(torch.cat(predicted), y[order]),
                        "val_loss": val_loss,
                        "val_accuracy": val["accuracy"],
                        "val_balanced_accuracy": val["balanced_accuracy"],
                        "val_macro_f1": val["macro_f1"],
                        "seconds": time.perf_counter() - started,
                    }
                )
                _write_history(folder, history)
                if (score := (val["balanced_accuracy"], -val_loss)) > best_score:
                    best_weights, best_epoch, best_score = _copy(model), epoch, score
                if progress:
                    progress(epoch * batches, steps, history[-1])
                ctrl_c.check()
    except KeyboardInterrupt:
        if best_epoch:
            checkpoint.save(folder / "model", best_weights, info)
            (folder / "curves.png").write_bytes(plots.curves(history, best_epoch))
        raise

    model.load_state_dict(best_weights)
    on_test = probabilities(TEST)
    truth = y[rows[TEST]].cpu().numpy()
    by_recording, ids = metrics.mean_by_recording(on_test, store.clip_recording[clips[TEST]])
    index = {c: i for i, c in enumerate(store.classes)}
    labels = [index[store.recordings[i].label] for i in ids]
    counts = split.counts()
    result: dict[str, Any] = {
        "train": evaluate(TRAIN),
        "val": evaluate(VAL),
        "test": metrics.evaluate(on_test, truth, store.classes),
        "test_recording": metrics.evaluate(by_recording, labels, store.classes),
        "seed": settings.seed,
        "split": split.how
        | {
            "parts": {name: counts[name] | {"clips": len(clips[p])} for p, name in enumerate(PARTS)}
        },
        "parameters": count_parameters(model),
        "samples_per_s": settings.epochs * batches * batch_size / training_s,
        "device": _device_name(device),
        "training_s": training_s,
        "chosen": {"epoch": best_epoch, "by": "balanced accuracy on the validation part"},
        "settings": asdict(settings),
        "store": {"name": name, "identity": identity(store)},
        "classes": list(store.classes),
        "versions": info.versions,
        "warnings": warnings,
    }
    checkpoint.save(folder / "model", best_weights, info)
    (folder / "curves.png").write_bytes(plots.curves(history, best_epoch))
    (folder / "confusion.png").write_bytes(
        plots.confusion(result["test"]["confusion"], store.classes)
    )
    # Last, so that its presence says that the run is finished.
    replace_file(folder / "metrics.json", (json.dumps(result, indent=1) + "\n").encode())
    return result


def input_shape(store: Store) -> tuple[int, int]:
    """(frames, features) of a clip. Raises DataError for a store of clips of unequal length."""
    if store.clip_s <= 0:
        raise DataError(
            "the store holds whole recordings of different lengths; training needs clips of one "
            "length: extract with --clip-s greater than 0"
        )
    _, frames, features = store.features.shape
    return int(frames), int(features)


def statistics(
    store: Store, clips: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each feature over all frames of the given clips.

    Returns two float32 [features], computed in float64; a constant feature has deviation 1, so
    that it becomes 0 and stays finite.
    """
    # The store is read once: blocks are joined as by Chan, Golub & LeVeque 1979, eq. 2.1.
    _, n_frames, n_features = store.features.shape
    n, mean, square = 0, np.zeros(n_features), np.zeros(n_features)
    for i in range(0, len(clips), 1024):
        block = store.features[clips[i : i + 1024]].astype(np.float64)
        frames = len(block) * n_frames
        away = block.mean(axis=(0, 1)) - mean
        block -= mean + away
        square += (block**2).sum(axis=(0, 1)) + away**2 * n * frames / (n + frames)
        mean += away * frames / (n + frames)
        n += frames
    std = np.sqrt(square / n)
    constant = std <= 1e-6 * np.maximum(1.0, np.abs(mean))
    return mean.astype(np.float32), np.where(constant, 1.0, std).astype(np.float32)


def learning_rate(step: int, steps: int) -> float:
    """Factor on --lr: a linear warm-up, then half a cosine to 0.

    Loshchilov & Hutter 2017, "SGDR", arXiv:1608.03983, eq. 5, one cycle; warm-up as Goyal et al.
    2017, arXiv:1706.02677.
    """
    warm_up = max(1, round(WARM_UP * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def pick_device(name: str) -> torch.device:
    """auto: CUDA where there is a device, else the CPU. SettingError for what is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise unknown("--device", name, ("auto", "cpu", "cuda"))
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        rule = f"torch {torch.__version__} sees no CUDA device here; use --device cpu"
        raise SettingError("--device", name, rule)
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def leak_warnings(store: Store, split: Split) -> list[str]:
    """One warning where near-identical recordings are in the training and the test part."""
    pairs = near_duplicates(store, split.part)
    if not pairs:
        return []
    train, test, _ = pairs[0]
    return [
        f"{len(pairs)} test recording(s) are nearly identical to a training recording, "
        f"e.g. {test!r} and {train!r}: the test score flatters; consider --group-by"
    ]


def identity(store: Store) -> str:
    """SHA-256 over what the store holds: spec, clip and hop, recordings with label and clips."""
    content = [
        json.loads(store.spec.to_json()),
        [store.clip_s, store.hop_s],
        [[r.path, r.label, r.n_clips] for r in store.recordings],
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def versions() -> dict[str, str]:
    """What produced a result."""
    import audiocls

    return {
        "audiocls": audiocls.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def newest_store(root: Path = Path("features")) -> Path:
    """The store under `root` that was finished last. Raises DataError where there is none."""
    stores = stores_under(root)
    if not stores:
        raise DataError(
            f"no feature store under {str(root)!r}: run `audiocls extract`, or give --features"
        )
    return max(stores, key=lambda s: (s / "store.json").stat().st_mtime_ns)


def stores_under(root: Path = Path("features")) -> list[Path]:
    """The stores directly under `root`, by name."""
    return sorted(file.parent for file in root.glob("*/store.json"))


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def _mean_recall(predicted: Tensor, labels: Tensor) -> float:
    n = torch.bincount(labels)
    hits = torch.bincount(labels[predicted == labels], minlength=len(n))
    return float((hits[n > 0] / n[n > 0]).mean())


def _write_history(folder: Path, history: list[dict[str, float]]) -> None:
    text = io.StringIO()
    rows = csv.DictWriter(text, history[0], lineterminator="\n")
    rows.writeheader()
    rows.writerows({k: v if k == "epoch" else f"{v:.6g}" for k, v in h.items()} for h in history)
    replace_file(folder / "history.csv", text.getvalue().encode())


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)"
