"""model.json: all that prediction needs besides the weights. Nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocls.classifier.task import TASKS
from audiocls.engine.cut import CUT_FIELDS, Cut
from audiocls.engine.level import measure_levels
from audiocls.engine.spec import FeatureSpec
from audiocls.errors import DataError
from audiocls.files import read_json
from audiocls.models import MODELS
from audiocls.schema import Rule, at_least, one_of, optional, validate
from audiocls.scores.metrics import counting_clips

if TYPE_CHECKING:
    from audiocls.store.store import Store

FORMAT = 2
WEIGHTS, DESCRIPTION, NETWORK = "weights.safetensors", "model.json", "network.onnx"
# The second output of the graph; those of earlier versions have the first alone.
EMBEDDING = "embedding"
# The models in the box, by name; each lies in the folder of its name.
ORCHESTRA, EARS = "orchestra", "ears"
# A clip larger than this is no clip: the file is damaged, or meant to take all memory.
_MOST_CELLS = 1 << 26


@dataclass(frozen=True)
class Description:
    """All that prediction needs besides the weights: model.json."""

    architecture: str
    input_shape: tuple[int | None, int]  # (frames, features) of a clip; frames None: any
    classes: list[str]
    spec: FeatureSpec  # how features are made
    cut: Cut  # how recordings become clips
    versions: dict[str, str]  # of what trained it
    remove_level: bool = False  # whether a clip's level is taken out of its features
    quiet_db: float = 0.0  # clips this far below a recording's loudest do not count; 0: all do
    threshold: float | None = None  # below this certainty the answer is `unknown`
    task: str = "one"  # how many labels a clip has: `one`, or `several` at once
    thresholds: list[float] | None = None  # of several: the probability from which on each is said
    init: dict[str, str] | None = None  # the model that its training began with: model, identity

    @classmethod
    def of(
        cls,
        store: Store,
        architecture: str,
        versions: dict[str, str],
        remove_level: bool = False,
        quiet_db: float = 0.0,
    ) -> Description:
        """Describes a model that is trained on a store."""
        return cls(
            architecture=architecture,
            input_shape=store.clip_shape,
            classes=list(store.classes),
            spec=store.spec,
            cut=store.cut,
            versions=versions,
            remove_level=remove_level,
            quiet_db=TASKS[store.task].quiet_db(quiet_db),
            task=store.task,
        )

    def measure_levels(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Returns the level of each clip in dB, [n]; all 0 if the model counts quiet clips, too.

        Args:
            features: [n, frames, features].
        """
        return measure_levels(features, self.spec) if self.quiet_db else np.zeros(len(features))

    def counting_clips(
        self, levels: NDArray[np.float64], recording: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Returns which clips count in the answer for their recording, [n].

        Args:
            levels: of `measure_levels`, [n].
            recording: the number of each clip's recording, [n].
        """
        return counting_clips(levels, recording, self.quiet_db)

    def to_dict(self) -> dict[str, Any]:
        """Returns the description as plain data."""
        several = {} if self.task == "one" else {"task": self.task, "thresholds": self.thresholds}
        return several | {
            "architecture": self.architecture,
            "input_shape": list(self.input_shape),
            "classes": self.classes,
            "spec": self.spec.to_dict(),
            **self.cut.to_dict(),
            "versions": self.versions,
            "remove_level": self.remove_level,
            "quiet_db": self.quiet_db,
            "threshold": self.threshold,
            "init": self.init,
        }


def model_folder(path: str | Path) -> Path:
    """Returns the folder of a model.

    Args:
        path: a run folder, a model folder, or `orchestra` or `ears`, the models in the box.

    Raises:
        DataError: there is no model.
    """
    folder = find_model(path)
    if folder is None:
        raise DataError(f"{str(path)!r} holds no model: there is no {DESCRIPTION}")
    return folder


def find_model(path: str | Path) -> Path | None:
    """Returns the folder of a model, as `model_folder`, or None if there is none.

    Raises:
        DataError: a model in the box is asked for, and this version has none.
    """
    if str(path) in (ORCHESTRA, EARS) and not Path(path).exists():
        folder = Path(__file__).parent / str(path)
        if not (folder / DESCRIPTION).is_file():
            raise DataError(f"{str(path)!r}, a model in the box, is not part of this version")
        return folder
    folders = (Path(path), Path(path) / "model")
    return next((folder for folder in folders if (folder / DESCRIPTION).is_file()), None)


def read_description(path: str | Path) -> Description:
    """Reads model.json of a run folder or of its `model/` folder; raises as `Model.load`."""
    file = model_folder(path) / DESCRIPTION
    return parse_description(file, read_document(file))


def read_document(file: Path) -> dict[str, Any]:
    """Reads model.json and checks it.

    Raises:
        DataError: the file is damaged or has a newer format.
    """
    document: dict[str, Any] = read_json(file)
    source = f"{str(file)!r} is damaged"
    validate(document, {"format": int}, source)
    if document["format"] not in (1, FORMAT):
        raise DataError(
            f"{str(file)!r} has format {document['format']!r}; this version reads 1 to {FORMAT}"
        )
    if document.get("architecture") not in [*MODELS]:
        name = document.get("architecture")
        raise DataError(f"{str(file)!r} names an unknown architecture {name!r}")
    validate(document, _DOCUMENT, source)
    if document["format"] == 1:
        validate(document, {"mean": [float], "std": [float]}, source)
    limits = document.get("thresholds")
    if limits is not None and len(limits) != len(document["classes"]):
        raise DataError(
            f"{source}: it has {len(limits)} thresholds for {len(document['classes'])} classes"
        )
    return document


def parse_description(file: Path, document: dict[str, Any]) -> Description:
    """Makes a description from a document of `read_document`.

    Raises:
        DataError: the values of its spec or cut contradict each other.
    """
    try:
        spec = FeatureSpec.from_dict(document["spec"])
    except ValueError as error:
        raise DataError(f"{str(file)!r} is damaged: spec: {error}") from None
    try:
        # Models of the first version do not say what became of short or quiet recordings.
        cut = Cut.from_dict({key: document.get(key) for key in CUT_FIELDS})
    except ValueError as error:
        raise DataError(f"{str(file)!r} is damaged: {error}") from None
    frames, features = document["input_shape"]
    return Description(
        architecture=document["architecture"],
        input_shape=(frames, features),
        classes=document["classes"],
        spec=spec,
        cut=cut,
        versions=document["versions"],
        remove_level=document.get("remove_level") or False,
        quiet_db=document.get("quiet_db") or 0.0,
        threshold=document.get("threshold"),
        task=document.get("task") or "one",
        thresholds=document.get("thresholds"),
        init=document.get("init"),
    )


def _is_shape(shape: list[int | None]) -> bool:
    frames, features = shape if len(shape) == 2 else (None, None)
    return features is not None and 1 <= features <= (frames or 1) * features <= _MOST_CELLS


_DOCUMENT = {
    "input_shape": Rule([optional(int)], "must be [frames or null, features] of a clip", _is_shape),
    "classes": Rule([str], "must be different labels", lambda c: len(c) == len(set(c)) > 1),
    "spec": {str: object},
    "clip_s": at_least(0, float),
    "hop_s": at_least(0, float),
    "versions": {str: str},
    "remove_level": optional(bool),
    "quiet_db": Rule(float, "must be >= 0", lambda db: db >= 0, optional=True),
    "short": optional(one_of("pad", "repeat", "drop")),
    "min_rms": optional(float),
    "threshold": optional(float),
    "task": optional(one_of(*TASKS)),
    "thresholds": optional([float]),
    "init": optional({str: str}),
}
