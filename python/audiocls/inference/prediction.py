"""The answer of a model to one recording: its label or labels, and what is heard when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from audiocls.classifier.answers import choose_labels
from audiocls.classifier.description import Description
from audiocls.classifier.task import TASKS, Limit, Task
from audiocls.errors import ChoiceError, SettingError

# A number for all classes, or one for each of some.
Setting = float | Mapping[str, float] | None


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording with one label."""

    start_s: float
    end_s: float
    label: str
    probability: float  # mean over its clips


@dataclass(frozen=True)
class Limits:
    """The certainty from which on a label is given, and how long a segment must last."""

    threshold: Limit = None  # of certainty; of several labels the probability, for each class
    smooth_s: float = 0.0  # of several labels: the span of the median over the clips
    least_s: float | NDArray[np.float64] = 0.0  # of several labels: of a segment, for each class

    @classmethod
    def of(
        cls,
        description: Description,
        threshold: Setting = None,
        smooth_s: float = 0.0,
        least_s: Setting = None,
    ) -> Limits:
        """Limits for a model; its own threshold holds if none is given.

        Raises:
            SettingError: a value that cannot be, a class that the model does not know, or a setting
                for several labels with a model of one.
        """
        own = TASKS[description.task].limit(description)
        if not smooth_s >= 0:
            raise SettingError("smooth_s", smooth_s, "must be >= 0")
        if description.task == "one":
            for name, value in (("smooth_s", smooth_s), ("least_s", least_s)):
                if value:
                    raise SettingError(name, value, "is for models of several labels")
            if isinstance(threshold, Mapping):
                rule = "one for each class is for models of several labels"
                raise SettingError("threshold", dict(threshold), rule)
            return cls(own if threshold is None else threshold)
        return cls(
            _of_each("threshold", threshold, description.classes, own),
            smooth_s,
            _of_each("least_s", least_s, description.classes, 0.0),
        )


def _of_each(name: str, value: Setting, classes: Sequence[str], own: Limit) -> NDArray[np.float64]:
    """A number a class, [n_classes]; `own` for those without."""
    numbers = np.array(np.broadcast_to(np.asarray(own, np.float64), len(classes)))
    if isinstance(value, Mapping):
        for label, number in value.items():
            if label not in classes:
                raise ChoiceError(f"class of {name}", label, classes)
            numbers[classes.index(label)] = number
    elif value is not None:
        numbers[:] = value
    if not (numbers >= 0).all():
        raise SettingError(name, numbers.min(), "must be >= 0")
    return numbers


@dataclass(frozen=True)
class Prediction:
    """The answer of a model of one label."""

    classes: list[str]
    probabilities: NDArray[np.float64]  # of its clips, [n_clips, n_classes]
    starts_s: NDArray[np.float64]  # where they start, [n_clips]
    duration_s: float
    clip_s: float  # 0: the one clip is the recording
    hop_s: float
    counts: NDArray[np.bool_] | None = None  # which clips count in the answer; None: all
    silent: bool = False  # whether there is no sound, so that nothing certain can be said

    task: ClassVar[Task] = TASKS["one"]

    @cached_property
    def answer(self) -> NDArray[np.float64]:
        """[n_classes]: of the whole recording, as training judges recordings."""
        ids = np.zeros(len(self.probabilities), np.int64)
        answer: NDArray[np.float64] = self.task.pool_clips(self.probabilities, ids, self.counts)[0]
        return answer

    def labels(self, threshold: Limits | Limit = None) -> list[tuple[str, float]]:
        """The labels of the recording, the most probable first, each with its probability.

        One label has a model of one; a model of several gives all that reach their threshold.
        """
        return self.task.choose_labels(
            self.answer[np.newaxis], self.classes, self._limit(threshold)
        )[0]

    def top(self, k: int = 1, threshold: Limits | Limit = None) -> list[tuple[str, float]]:
        """The label of the recording, then the most probable others, k in all."""
        certainty = self._certainty(threshold)
        (label,), (best,) = choose_labels(self.answer[np.newaxis], self.classes, certainty)
        others = [i for i in np.argsort(-self.answer, kind="stable") if i != best]
        rows = [(label, best), *((self.classes[i], i) for i in others)]
        return [(name, float(self.answer[i])) for name, i in rows[:k]]

    def headline(self, k: int, threshold: Limits | Limit = None) -> list[tuple[str, float]]:
        """The labels that a line for people shows: `top`, or of several labels those given."""
        return self.top(k, threshold)

    def segments(self, threshold: Limits | Limit = None) -> list[Segment]:
        """The recording from start to end, clips with the same label merged."""
        names, best = choose_labels(self.probabilities, self.classes, self._certainty(threshold))
        sure = self.probabilities[np.arange(len(best)), best]
        starts, ends = self.spans()
        segments = []
        first = 0
        for i in range(1, len(names) + 1):
            # Clips that are further apart, or left out as silent, leave a gap.
            if i < len(names) and names[i] == names[first] and starts[i] - ends[i - 1] < 1e-6:
                continue
            mean = float(sure[first:i].mean())
            segments.append(Segment(float(starts[first]), float(ends[i - 1]), names[first], mean))
            first = i
        return segments

    def spans(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The stretch that each clip speaks for, in seconds: starts and ends.

        If clips overlap, a clip speaks for the hop around its own middle. The first and the last
        also speak
        for what is before and after it.
        """
        clip_s = self.clip_s or self.duration_s
        margin = max(clip_s - self.hop_s, 0.0) / 2 if self.clip_s else 0.0
        starts = self.starts_s + margin
        ends = self.starts_s + clip_s - margin
        starts[0] -= margin
        ends[-1] += margin
        return starts, np.minimum(ends, self.duration_s)

    def to_dict(self, top: int, threshold: Limits | Limit) -> dict[str, Any]:
        """As plain data: label, the `top` most probable and segments."""
        best = self.top(top, threshold)
        return {
            "duration_s": round(self.duration_s, 6),
            "label": best[0][0],
            "probability": best[0][1],
            "top": _rows(best),
            "segments": [asdict(segment) for segment in self.segments(threshold)],
        }

    def _limit(self, limits: Limits | Limit) -> Limit:
        if self.silent:
            return np.inf
        return limits.threshold if isinstance(limits, Limits) else limits

    def _certainty(self, limits: Limits | Limit) -> float | None:
        limit = self._limit(limits)
        return None if limit is None else float(limit)


@dataclass(frozen=True)
class Detection(Prediction):
    """The answer of a model of several labels: some, or none."""

    task: ClassVar[Task] = TASKS["several"]

    def top(self, k: int = 1, threshold: Limits | Limit = None) -> list[tuple[str, float]]:
        """The k most probable labels, whether they reach their threshold or not."""
        order = np.argsort(-self.answer, kind="stable")[:k]
        return [(self.classes[i], float(self.answer[i])) for i in order]

    def headline(self, k: int, threshold: Limits | Limit = None) -> list[tuple[str, float]]:
        """All labels that reach their threshold."""
        return self.labels(threshold)

    def segments(self, threshold: Limits | Limit = None) -> list[Segment]:
        """The segments of each label, in order of time; those of different labels may overlap.

        The probabilities are smoothed by a median over the clips. A segment is a run of clips that
        reach
        the label's threshold. Runs shorter than the label's least duration are left out.
        """
        limits = threshold if isinstance(threshold, Limits) else Limits(threshold)
        limit = self._limit(limits)
        thresholds = 0.5 if limit is None else limit
        least = np.broadcast_to(limits.least_s, len(self.classes))
        starts, ends = self.spans()
        breaks = np.flatnonzero(starts[1:] - ends[:-1] > 1e-6) + 1
        found = []
        for run in np.split(np.arange(len(starts)), breaks):
            p = _median(self.probabilities[run], limits.smooth_s, self.hop_s)
            said = np.pad(p >= thresholds, ((1, 1), (0, 0)))
            edges = np.diff(said.astype(np.int8), axis=0)
            for c, name in enumerate(self.classes):
                begins, stops = np.flatnonzero(edges[:, c] > 0), np.flatnonzero(edges[:, c] < 0)
                for first, end in zip(begins, stops, strict=True):
                    start_s, end_s = float(starts[run[first]]), float(ends[run[end - 1]])
                    mean = float(self.probabilities[run[first:end], c].mean())
                    if end_s - start_s >= least[c] - 1e-9:
                        found.append(Segment(start_s, end_s, name, mean))
        return sorted(found, key=lambda s: (s.start_s, s.end_s, s.label))

    def to_dict(self, top: int, threshold: Limits | Limit) -> dict[str, Any]:
        """As plain data: all labels, the `top` most probable and segments."""
        return {
            "duration_s": round(self.duration_s, 6),
            "labels": _rows(self.labels(threshold)),
            "top": _rows(self.top(top, threshold)),
            "segments": [asdict(segment) for segment in self.segments(threshold)],
        }


# What says what of a model of either task.
PREDICTIONS: dict[str, type[Prediction]] = {
    kind.task.name: kind for kind in (Prediction, Detection)
}


def _rows(labels: list[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"label": label, "probability": p} for label, p in labels]


def _median(p: NDArray[np.float64], smooth_s: float, hop_s: float) -> NDArray[np.float64]:
    """The median over the clips around each, an odd number.

    At the ends it takes those there are, equally many on both sides.

    Args:
        p: [n_clips, n_classes], without a gap.
        smooth_s: the span in seconds.
        hop_s: seconds from clip to clip.
    """
    half = int(round(smooth_s / hop_s) // 2) if hop_s else 0
    half = min(half, (len(p) - 1) // 2)
    if half == 0:
        return p
    windows = np.lib.stride_tricks.sliding_window_view(p, 2 * half + 1, axis=0)
    smooth = p.copy()
    smooth[half : len(p) - half] = np.median(windows, axis=-1)
    for i in range(1, half):
        smooth[i] = np.median(p[: 2 * i + 1], axis=0)
        smooth[-1 - i] = np.median(p[-1 - 2 * i :], axis=0)
    return smooth
