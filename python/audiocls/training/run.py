"""A run folder and its metrics.json. Only this module knows the names of its files."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiocls.engine.dataset import FileLock
from audiocls.errors import DataError, SettingError
from audiocls.files import read_csv, read_json, replace_file, write_csv, write_json
from audiocls.schema import one_of, optional, validate
from audiocls.scores.measures import MEASURES
from audiocls.training.fitting.predictions import (
    MultilabelRow,
    PredictionRow,
    read_predictions,
    write_predictions,
)

if TYPE_CHECKING:
    from audiocls.classifier.model import Model
    from audiocls.training.data.splits import Split
    from audiocls.training.fitting.evaluation import Judgement
    from audiocls.training.fitting.objective import LabelledPredictions, Row
    from audiocls.training.fitting.state import TrainState
    from audiocls.training.runtime.device import Device
    from audiocls.training.trial import Trial

# What a run writes, and so what a restart may delete.
FILES = (
    "metrics.json",
    "history.csv",
    "split.csv",
    "predictions.csv",
    "predictions_recording.csv",
    "state.safetensors",
    "curves.png",
    "confusion.png",
    "model/model.json",
    "model/weights.safetensors",
    "model/network.onnx",
    "model/heard.csv",
)
_LOCK = ".lock"
# metrics.json, without its scores.
_RESULT = {
    "seed": int,
    "split": {str: object},
    "parameters": int,
    "clips_per_s": float,
    "device": str,
    "training_s": float,
    "chosen": {str: object},
    "temperature": object,
    "threshold": optional(float),
    "cost": {str: object},
    "settings": {str: object},
    "store": {"name": str, "identity": str},
    "classes": [str],
    "versions": {str: str},
    "init": optional({str: str}),
    "warnings": [str],
    "thresholds": optional([float]),
}
Scores = dict[str, Any]  # as `metrics.evaluate` gives them


@dataclass(frozen=True)
class Result:
    """What a finished run reports: metrics.json."""

    train: Scores  # of clips
    val: Scores
    test: Scores
    test_recording: Scores  # of whole recordings
    seed: int
    split: dict[str, Any]
    parameters: int
    clips_per_s: float  # in training
    device: str
    training_s: float
    chosen: dict[str, Any]  # the epoch, and by what
    temperature: float | list[float]  # of several labels, of each class
    threshold: float | None  # of probability, below which the answer is `unknown`
    cost: dict[str, float]  # a clip's: multiply_adds, cpu_ms; empty in runs of earlier versions
    settings: dict[str, Any]
    store: dict[str, str]  # name, identity
    classes: list[str]
    versions: dict[str, str]
    init: dict[str, str] | None = None  # the model it began with: model, identity
    warnings: list[str] = field(default_factory=list)
    task: str = "one"  # or `several` labels a clip
    thresholds: list[float] | None = None  # of several: from which on each is said

    @classmethod
    def of(
        cls,
        trial: Trial,
        split: Split,
        state: TrainState,
        judgement: Judgement,
        device: Device,
        warnings: list[str],
    ) -> Result:
        """Returns what a training came to, and how good its model is on every part."""
        from audiocls.models import count_parameters
        from audiocls.training.data.splits import PARTS, TEST, TRAIN, VAL

        objective, model = state.objective, judgement.model
        about, counts = model.description, split.counts()

        def scores(judged: LabelledPredictions) -> Scores:
            intervals = objective.bootstrap(judged, about, trial.seed)
            return objective.score(judged, about) | {"interval_95": intervals}

        clips = judgement.clips
        sizes = {n: counts[n] | {"clips": len(clips[p].labels)} for p, n in enumerate(PARTS)}
        return cls(
            task=model.task.name,
            train=objective.score(clips[TRAIN], about),
            val=objective.score(clips[VAL], about),
            test=scores(clips[TEST]),
            test_recording=scores(judgement.recordings),
            seed=trial.seed,
            split=split.settings() | {"parts": sizes},
            parameters=count_parameters(model.network),
            clips_per_s=state.clips / state.training_s,
            device=device.name,
            training_s=state.training_s,
            chosen={
                "epoch": state.best_epoch,
                "by": "the recipe: the last"
                if state.keep_last
                else f"{objective.measures.title} on the validation part",
            },
            temperature=model.temperature.tolist(),
            threshold=about.threshold,
            thresholds=about.thresholds,
            cost=judgement.cost,
            settings=trial.settings(),
            store={"name": trial.feature, "identity": trial.store},
            classes=list(about.classes),
            versions=about.versions,
            init=about.init,
            warnings=[*warnings, *state.notices()],
        )

    @classmethod
    def read(cls, folder: Path) -> Result | None:
        """Reads the result in a run folder; None if there is none.

        Raises:
            DataError: metrics.json is damaged.
        """
        file = folder / "metrics.json"
        try:
            document = read_json(file)
        except (FileNotFoundError, NotADirectoryError):
            return None
        source = f"{str(file)!r} is damaged"
        validate(document, {str: object}, source)
        old = {"clips_per_s": document.get("samples_per_s"), "temperature": 1.0, "cost": {}}
        document = old | {"task": "one", "warnings": []} | document
        validate(document, {"task": one_of(*MEASURES)}, source)
        measures = MEASURES[document["task"]]
        each = dict.fromkeys(measures.per_class, optional(float)) | {"n": int}
        part = dict.fromkeys(measures.part, optional(float)) | {"n": int, "per_class": {str: each}}
        parts = dict.fromkeys(("train", "val", "test", "test_recording"), part)
        validate(document, _RESULT | parts, source)
        return cls(**{f.name: document.get(f.name) for f in dataclasses.fields(cls)})

    def to_dict(self) -> dict[str, Any]:
        """Returns metrics.json; `samples_per_s` is the older name of `clips_per_s`."""
        return dataclasses.asdict(self) | {"samples_per_s": self.clips_per_s}


@dataclass(frozen=True)
class Run:
    """A folder that holds a run, or will."""

    folder: Path

    @property
    def model(self) -> Path:
        """The folder of its model."""
        return self.folder / "model"

    @classmethod
    def at(cls, out: str | Path | None, trial: Trial) -> Run:
        """Returns the run in the folder `out`, by default runs/FEATURE-MODEL-SEED of a trial."""
        return cls(Path(out) if out is not None else Path("runs") / trial.name)

    def claim(self, restart: bool = False, resume: bool = False) -> None:
        """Checks that the folder is free, or holds a run that may be replaced or continued.

        Raises:
            SettingError: it is not.
        """
        folder = str(self.folder)
        if restart and resume:
            raise SettingError("resume", True, "cannot be together with `restart`: choose one")
        if self.folder.exists() and not self.folder.is_dir():
            raise SettingError("out", folder, "is a file; a folder is needed")
        if not self.folder.is_dir() or not {f.name for f in self.folder.iterdir()} - {_LOCK}:
            return
        if not any((self.folder / name).exists() for name in FILES):
            raise SettingError("out", folder, "is a folder of something else, not of a run")
        if restart or resume:
            return
        if (self.folder / "metrics.json").exists():
            raise SettingError("out", folder, "holds a finished run; `restart` replaces it")
        rule = "holds an unfinished run; `resume` goes on with it, `restart` replaces it"
        raise SettingError("out", folder, rule)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the folder, made if it is not there, for this process alone.

        Raises:
            DataError: another process writes a run there.
        """
        new = not self.folder.exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = FileLock(self.folder / _LOCK)
        except BlockingIOError:
            raise DataError(f"{self.folder}: another training is writing this run") from None
        try:
            yield
        finally:
            if [file.name for file in self.folder.iterdir()] == [_LOCK]:  # nothing was begun
                (self.folder / _LOCK).unlink()
                if new:
                    self.folder.rmdir()
            del lock

    def read_finished(self, trial: Trial, split: Split, longer: bool = False) -> Result | None:
        """Returns the result of a finished run; None if the run is not finished.

        Args:
            trial: the run must be of it.
            split: the run must be of it.
            longer: a run of fewer epochs than the trial is not finished.

        Raises:
            SettingError: the run is of another trial.
        """
        result = Result.read(self.folder)
        if result is None:
            return None
        epochs = result.settings["epochs"]
        goes_on = longer and epochs < trial.recipe.epochs
        if goes_on:
            trial = replace(trial, recipe=replace(trial.recipe, epochs=epochs))
        self._refuse_other(trial, split, result.settings, result.store["identity"])
        return None if goes_on else result

    def begin(self, split: Split, state: TrainState) -> None:
        """Makes room for a new run: deletes what is left of an earlier one.

        Raises:
            DataError: the disk has no room for what the run will write.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in FILES:
            (self.folder / file).unlink(missing_ok=True)
        self._refuse_full(state.model)
        write_csv(self.folder / "split.csv", *split.table())

    def restore(self, trial: Trial, split: Split, state: TrainState) -> bool:
        """Brings a fresh state to where the run was left; returns false if nothing was kept.

        A finished run is left at its chosen epoch, and is unfinished then.

        Raises:
            SettingError: the run is of another trial.
            DataError: it is damaged.
        """
        from safetensors import SafetensorError

        from audiocls.training.fitting.state import read_progress

        file = self.folder / "state.safetensors"
        if not file.is_file() and not self._reopen(trial, state):
            return False
        try:
            progress = read_progress(str(file))
            settings, store = progress["settings"], progress["settings"].pop("store")
            self._refuse_other(trial, split, settings, store)
            state.restore(file.read_bytes(), progress)
        except SettingError:
            raise
        except (
            SafetensorError,
            LookupError,
            TypeError,
            ValueError,
            RuntimeError,
            AttributeError,
            ArithmeticError,
        ) as error:
            raise DataError(
                f"{str(file)!r} is damaged ({str(error).splitlines()[0]}); `restart` begins anew"
            ) from None
        (self.folder / "metrics.json").unlink(missing_ok=True)
        return True

    def _reopen(self, trial: Trial, state: TrainState) -> bool:
        """Saves the state from which a finished run continues; false if there is none."""
        from audiocls.classifier.model import Model

        result = Result.read(self.folder)
        if result is None:
            return False
        state.continue_from(Model.load(self.model), self.read_history(), result.chosen["epoch"])
        state.training_s = result.training_s
        state.clips = round(result.clips_per_s * result.training_s)
        document = state.to_bytes(trial.settings() | {"store": trial.store})
        replace_file(self.folder / "state.safetensors", document)
        return True

    def save_epoch(self, trial: Trial, state: TrainState, best: bool) -> None:
        """Saves an epoch: the best model so far, the history, and the state last."""
        if best:
            state.eval_model.save(self.model)
        write_history(self.folder / "history.csv", state.history)
        document = state.to_bytes(trial.settings() | {"store": trial.store})
        replace_file(self.folder / "state.safetensors", document)

    def draw_curves(self, state: TrainState) -> None:
        """Draws the curves so far."""
        from audiocls.scores import plots

        picture = plots.draw_curves(state.history, state.best_epoch, state.objective.main)
        replace_file(self.folder / "curves.png", picture)

    def finish(self, result: Result, judgement: Judgement, state: TrainState) -> None:
        """Writes the last files; metrics.json is written last and says that the run is finished."""
        from audiocls.classifier.graph import write_graph
        from audiocls.scores import plots
        from audiocls.training.data.splits import TEST

        judgement.model.save(self.model)
        said = {
            "predictions": judgement.clips[TEST],
            "predictions_recording": judgement.recordings,
        }
        for name, judged in said.items():
            rows = state.objective.make_rows(judged)
            write_predictions(self.folder / f"{name}.csv", rows)
        try:
            write_graph(self.model)
        except (DataError, ImportError) as error:
            result.warnings.append(f"no network.onnx, so that prediction needs torch: {error}")
        self.draw_curves(state)
        if "confusion" in result.test:
            picture = plots.draw_confusion(result.test["confusion"], result.classes)
            replace_file(self.folder / "confusion.png", picture)
        write_json(self.folder / "metrics.json", result.to_dict())
        (self.folder / "state.safetensors").unlink(missing_ok=True)

    def read_history(self) -> list[Row]:
        """Returns the rows of history.csv."""
        header, *rows = read_csv(self.folder / "history.csv")
        return [dict(zip(header, map(float, row), strict=True)) for row in rows]

    def read_predictions(self) -> list[PredictionRow] | list[MultilabelRow] | None:
        """Returns a row for each clip of the test part; None for an old run."""
        return read_predictions(self.folder / "predictions.csv")

    def read_recording_predictions(self) -> list[PredictionRow] | list[MultilabelRow] | None:
        """Returns a row for each recording of the test part; None for an old run."""
        return read_predictions(self.folder / "predictions_recording.csv")

    def read_test_groups(self) -> set[tuple[str, str]]:
        """Returns label and group of the recordings of the test part."""
        _, *rows = read_csv(self.folder / "split.csv")
        return {(label, group) for _, label, group, part in rows if part == "test"}

    def _refuse_other(
        self, trial: Trial, split: Split, settings: dict[str, Any], store: str
    ) -> None:
        changed = list(trial.differences(settings, store))
        if not changed:
            header, rows = split.table()
            if [header, *rows] != list(read_csv(self.folder / "split.csv")):
                changed = ["the recordings have changed, and so the split"]
        if changed:
            rule = (
                f"{changed[0]} (run {self.folder.name}); `restart` does it again, or choose another"
            )
            raise SettingError("out", str(self.folder), rule)

    def _refuse_full(self, model: Model) -> None:
        # At most: weights, their average and two moments in the state, the model, and of each a
        # temporary copy; pictures and tables are small.
        weights = sum(v.numel() * v.element_size() for v in model.state_dict().values())
        needed = 10 * weights + (1 << 20)
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise DataError(
                f"{self.folder}: the disk has {free / 1e6:.0f} MB free, "
                f"a run of this model needs {needed / 1e6:.0f} MB"
            )


def write_history(path: Path, history: list[Row]) -> None:
    """Writes history.csv, a row an epoch."""
    rows = [[int(v) if k == "epoch" else f"{v:.6g}" for k, v in row.items()] for row in history]
    write_csv(path, list(history[0]), rows)
