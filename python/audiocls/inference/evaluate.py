"""Scores of a saved model on labelled recordings that it has never seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiocls.classifier.answers import UNKNOWN, choose_labels, renormalise_known
from audiocls.data.labelling import Labelling
from audiocls.errors import AudioclsError, DataError, SettingError, explain_failure
from audiocls.inference.predict import BATCH, Classifier
from audiocls.inference.prediction import Prediction
from audiocls.scores import metrics
from audiocls.scores.significance import bootstrap_intervals, count_by_group
from audiocls.store.labels import ONE, SEVERAL, Coverage

if TYPE_CHECKING:
    from audiocls.data.recordings import Listing, Recording
    from audiocls.store.store import Store


class ClipAnswers(NamedTuple):
    """The model's answers for the clips of one recording."""

    probabilities: NDArray[np.float64]  # [n_clips, n_classes]
    counts: NDArray[np.bool_]  # [n_clips], which of them count in its answer
    # Of several labels: bool [n_clips, n_classes], which each has of those that the model knows.
    labels: NDArray[np.bool_] | None = None
    prediction: Prediction | None = None  # of a recording; None of what a store holds
    # Of one label, of annotated events: label and clips of each stretch, which is judged as if it
    # were a recording.
    stretches: Sequence[tuple[str, NDArray[np.int64]]] | None = None


# A recording with what is said of its clips, or why there are none.
Verdict = tuple["Recording", ClipAnswers | str]


def judge_store(classifier: Classifier, store: Store) -> Iterator[Verdict]:
    """Yields what a model says of each recording of a feature store.

    Raises:
        SettingError: the store has other features or clips than the model takes.
    """
    wanted = classifier.description
    for name, has, takes in (
        ("spec", store.spec, wanted.spec),
        ("clip_s", store.cut.clip_s, wanted.cut.clip_s),
    ):
        if has != takes:
            rule = f"its {name} is not that of the model's training data: give the recordings"
            raise SettingError("DATA", str(store.path), rule)
    _check_task(classifier, store.task, str(store.path))
    labels = None
    if store.task == SEVERAL:
        labels = _columns(store.label_matrix, store.classes, classifier.classes_)
    order = np.argsort(store.clip_recording, kind="stable")
    ends = np.cumsum([0, *np.bincount(store.clip_recording, minlength=len(store.recordings))])
    for i, recording in enumerate(store.recordings):
        clips = order[ends[i] : ends[i + 1]]
        if not len(clips):
            yield recording, recording.error
            continue
        rows, levels = [], []
        for start in range(0, len(clips), BATCH):
            x = store.features[clips[start : start + BATCH]]
            x = np.stack(x) if isinstance(x, list) else x
            rows.append(classifier.network(np.asarray(x, np.float32)))
            levels.append(wanted.measure_levels(x))
        counts = wanted.counting_clips(np.concatenate(levels), np.zeros(len(clips), np.int64))
        own = None if labels is None else labels[clips]
        found = ClipAnswers(np.concatenate(rows).astype(np.float64), counts, own)
        if store.events is not None and store.task == ONE:
            names = [store.classes[label] for label in store.labels[clips]]
            runs = _label_runs(names, store.clip_whole[clips])
            yield recording, found._replace(stretches=runs)
        else:
            yield recording, found


def judge_listing(
    classifier: Classifier, listing: Listing, labelling: Labelling | None = None
) -> Iterator[Verdict]:
    """Yields what a model says of each recording of a data set.

    Args:
        classifier: the model.
        listing: the data set.
        labelling: which clips have the label of an event, as in training.

    Raises:
        SettingError: the recordings have several labels and the model gives one, or the reverse.
    """
    coverage = _coverage(classifier, labelling or Labelling())
    with_events = any(r.events is not None for r in listing.recordings)
    several = listing.label_separator is not None or (
        any(coverage.several(r.events or ()) for r in listing.recordings)
        if classifier.description.task == ONE
        else with_events
    )
    task = SEVERAL if several else ONE
    _check_task(classifier, task, listing.root)
    good = [r for r in listing.recordings if r.status != "failed"]
    on_disk = [r for r in good if listing.files[r.id] is not None]
    found = classifier.recordings([str(listing.files[r.id]) for r in on_disk])
    answers = zip(on_disk, found, strict=True)
    for recording in listing.recordings:
        if recording.status == "failed":
            yield recording, recording.error
            continue
        if listing.files[recording.id] is None:
            assert listing.read is not None
            try:
                (answer,) = classifier.recordings([listing.read(recording.id)[0]])
            except (AudioclsError, OSError) as error:
                answer = error
        else:
            _, answer = next(answers)
        if isinstance(answer, Exception):
            yield recording, explain_failure(str(listing.files[recording.id]), answer)
        else:
            assert answer.counts is not None
            if task == SEVERAL:
                labels = _labels(classifier.classes_, recording, answer, listing, coverage)
                yield recording, ClipAnswers(answer.probabilities, answer.counts, labels, answer)
                continue
            found_clips = ClipAnswers(answer.probabilities, answer.counts, prediction=answer)
            if recording.events is None:
                yield recording, found_clips
                continue
            clips = _clips(answer, coverage)
            names = sorted({*recording.labels(), coverage.background or ""} - {""})
            matrix = coverage.matrix([recording], clips, names)
            number = np.where(matrix.any(axis=1), matrix.argmax(axis=1), -1)
            own = [names[i] if i >= 0 else "" for i in number]
            runs = _label_runs(own, coverage.runs(number, clips))
            yield recording, found_clips._replace(stretches=runs)


def _check_task(classifier: Classifier, task: str, data: str) -> None:
    own = classifier.description.task
    if own == ONE != task:
        rule = "has several labels a clip, and this model gives one: train on a store of several"
        raise SettingError("DATA", data, rule)
    if task == ONE != own:
        rule = (
            "has one label a recording, and this model gives several: say what stands between "
            "labels, `label_separator`, or give `annotations`"
        )
        raise SettingError("DATA", data, rule)


def _columns(
    matrix: NDArray[np.bool_], names: Sequence[str], classes: Sequence[str]
) -> NDArray[np.bool_]:
    """The columns of `classes` of a matrix with those of `names`; False for a missing class."""
    out = np.zeros((len(matrix), len(classes)), np.bool_)
    for i, name in enumerate(classes):
        if name in names:
            out[:, i] = matrix[:, names.index(name)]
    return out


def _coverage(classifier: Classifier, labelling: Labelling) -> Coverage:
    """Which of the model's clips have the label of an event."""
    cut, rate = classifier.description.cut, classifier.sample_rate
    lengths = cut.clip_len(rate), cut.hop_len(rate)
    return Coverage(*lengths, rate, labelling.min_overlap, labelling.background)


def _clips(found: Prediction, coverage: Coverage) -> NDArray[np.int64]:
    """int64 [n_clips, 2]: the clips of a recording as `Coverage.matrix` takes them."""
    starts = np.round(found.starts_s * coverage.sample_rate).astype(np.int64)
    return np.stack([np.zeros_like(starts), starts], axis=1)


def _labels(
    classes: Sequence[str],
    recording: Recording,
    found: Prediction,
    listing: Listing,
    coverage: Coverage,
) -> NDArray[np.bool_]:
    """Which labels each clip of a recording has, of those that the model knows."""
    if recording.events is None:
        names = list(recording.labels(listing.label_separator))
        return _columns(np.ones((len(found.starts_s), len(names)), np.bool_), names, classes)
    return coverage.matrix([recording], _clips(found, coverage), classes)


def _label_runs(
    labels: Sequence[str], runs: NDArray[np.int64]
) -> list[tuple[str, NDArray[np.int64]]]:
    """Label and clips of each run of clips with one label; clips without a label are left out.

    Args:
        labels: of each clip.
        runs: int64 [n_clips], the number of each clip's run.
    """
    found = [np.flatnonzero(runs == run) for run in np.unique(runs)]
    return [(labels[own[0]], own) for own in found if labels[own[0]]]


def _pieces_of(
    judged: Sequence[Verdict], groups: Sequence[str]
) -> list[tuple[Recording, ClipAnswers, str]]:
    """What is judged, with its group: recordings, or their stretches, each with its own label."""
    pieces = []
    for (recording, clips), group in zip(judged, groups, strict=True):
        if isinstance(clips, str):
            continue
        if clips.stretches is None:
            pieces.append((recording, clips, group))
            continue
        for label, own in clips.stretches:
            # Which clips count is relative to the loudest of the recording: here to none.
            counts = clips.counts[own]
            part = ClipAnswers(clips.probabilities[own], counts if counts.any() else ~counts)
            pieces.append((replace(recording, label=label, events=None), part, group))
    return pieces


def score_one(
    classifier: Classifier,
    judged: Sequence[Verdict],
    groups: Sequence[str],
    *,
    unknown: bool = False,
    threshold: float | None = None,
    mistakes: int = 10,
) -> dict[str, Any]:
    """All measures of a model, by clip and by recording, ready for JSON.

    Classes are matched by name. By default the set is closed: labels that the model does not know
    are left out, and a class of its own named `unknown` is no answer. With `unknown` the set is
    open: such labels count, and their right answer is `unknown`. Either way `answered` says how
    many recordings of known classes get another answer, and how many of these are right.

    Args:
        classifier: the model.
        judged: what it says of each recording.
        groups: the group of each recording. Recordings of one group are no independent evidence,
            so the intervals draw groups.
        unknown: whether the set is open.
        threshold: the certainty below which an answer is `unknown`; None: the model's own.
        mistakes: how many of the surest mistakes to name.

    Raises:
        SettingError: `unknown` without a threshold.
        DataError: nothing can be judged.
    """
    limit = classifier.description.threshold if threshold is None else threshold
    if unknown and limit is None:
        rule = "needs a certainty below which an answer counts as unknown: give `threshold`"
        raise SettingError("unknown", True, rule)
    known = [name for name in classifier.classes_ if name != UNKNOWN]
    classes = [*known, UNKNOWN] if unknown else known
    failed = [(r.path, p) for r, p in judged if isinstance(p, str)]
    pieces = _pieces_of(judged, groups)
    strange = Counter(r.label for r, _, _ in pieces if r.label not in known)
    kept = _keep(pieces, classes)
    if not kept:
        why = f"; the model does not know {', '.join(map(repr, strange))}" if strange else ""
        raise DataError(f"none of {len(judged)} recordings can be judged{why}")

    n_clips = [len(p.counts) for _, p, _, _ in kept]
    labels = np.array([label for _, _, label, _ in kept])
    clips = np.concatenate([p.probabilities for _, p, _, _ in kept])
    counts = np.concatenate([p.counts for _, p, _, _ in kept])
    whole, _ = metrics.mean_by_recording(clips, np.repeat(np.arange(len(kept)), n_clips), counts)
    open_set = _open_set(whole, classifier.classes_, limit)
    answered = None if limit is None else _answered(open_set, labels, limit)
    if unknown:
        whole, clips = open_set, _open_set(clips, classifier.classes_, limit)
    else:
        whole, clips = (renormalise_known(p, classifier.classes_) for p in (whole, clips))
    scores = metrics.score_single_label(whole, labels, classes)
    names, group = np.unique([group for _, _, _, group in kept], return_inverse=True)
    by_group = count_by_group(labels, whole.argmax(axis=1), group, len(names), len(classes))
    scores["interval_95"] = {k: list(v) for k, v in bootstrap_intervals([by_group]).items()}
    by_clip = metrics.score_single_label(clips, np.repeat(labels, n_clips), classes)
    if unknown:  # A refusal has no probability.
        for part in (scores, by_clip):
            part["ece"] = part["nll"] = None
    return {
        "model": str(classifier.path),
        "classes": classes,
        "recording": scores,
        "clip": by_clip,
        "groups": len(names),
        "answered": answered,
        "unknown_labels": dict(strange),
        "failed": [{"path": path, "error": error} for path, error in failed],
        "mistakes": _mistakes(whole, labels, classes, [r.path for r, _, _, _ in kept], mistakes),
    }


def _keep(
    pieces: Sequence[tuple[Recording, ClipAnswers, str]], classes: Sequence[str]
) -> list[tuple[Recording, ClipAnswers, int, str]]:
    """The pieces that can be judged: those with a label among `classes`.

    If `classes` has `unknown`, the others count as that. Each comes with what the model says, the
    index of its label, and its group.
    """
    number = {name: i for i, name in enumerate(classes)}
    kept = []
    for recording, clips, group in pieces:
        label = number.get(recording.label, number.get(UNKNOWN))
        if label is not None:
            kept.append((recording, clips, label, group))
    return kept


def _open_set(
    p: NDArray[np.float64], classes: list[str], threshold: float | None
) -> NDArray[np.float64]:
    """[n, known classes + 1]; the last column alone is above 0 if the answer is `unknown`."""
    said, _ = choose_labels(p, classes, threshold)
    refused = np.array([[label == UNKNOWN] for label in said])
    known = p[:, [name != UNKNOWN for name in classes]]
    return np.hstack([np.where(refused, 0.0, known), refused.astype(np.float64)])


def _answered(
    open_set: NDArray[np.float64], labels: NDArray[np.int64], threshold: float
) -> dict[str, float | None]:
    """The share of known recordings that are answered, and how many of these are right."""
    refusal = open_set.shape[1] - 1
    said, labels = open_set.argmax(axis=1)[labels < refusal], labels[labels < refusal]
    answered = said < refusal
    return {
        "threshold": threshold,
        "share": float(answered.mean()) if len(said) else None,
        "accuracy": float((said == labels)[answered].mean()) if answered.any() else None,
    }


def _mistakes(
    p: NDArray[np.float64],
    labels: NDArray[np.int64],
    classes: list[str],
    paths: list[str],
    most: int,
) -> list[dict[str, Any]]:
    """The wrong answers that the model was surest of."""
    predicted, sure = p.argmax(axis=1), p.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    return [
        {
            "path": paths[i],
            "label": classes[labels[i]],
            "predicted": classes[predicted[i]],
            "probability": float(sure[i]),
        }
        for i in wrong[np.argsort(-sure[wrong], kind="stable")][:most]
    ]


def open_source(data: str | Path, labelling: Labelling | None = None) -> Store | Listing:
    """A feature store, or the recordings of a data set with the labels that `labelling` finds."""
    from audiocls.data.listing import list_recordings
    from audiocls.store.place import is_store
    from audiocls.store.store import open_store

    if is_store(data):
        return open_store(data)
    return list_recordings(data, labelling=labelling or Labelling())
