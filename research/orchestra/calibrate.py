"""Fits how sure the model in the box may be: a temperature and a threshold.

The fit uses players that the model has not heard.

    python research/orchestra/calibrate.py MODEL OUT ANSWERS …

ANSWERS: of `leave_out.py`, one file a fold. Fitted is the temperature with which these answers have
the lowest negative log-likelihood, then the certainty that 90 % of the recordings of known
instruments reach; every source counts alike. OUT is MODEL with both.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from adapt import save
from audiocls.classifier.answers import UNKNOWN, certainty
from audiocls.classifier.model import Model
from audiocls.scores.metrics import mean_by_recording, softmax
from leave_out import HOME, STRANGE, Answers, read_arrays

ANSWERED = 0.9  # of recordings by players never heard


def joined(folds: Sequence[Answers]) -> Answers:
    """Joins the answers of several models to different recordings.

    What every fold was asked comes from the first.
    """
    seen: set[str] = set()
    arrays: dict[str, list[NDArray[np.generic]]] = {}
    n = 0
    for fold in folds:
        new = np.array([path not in seen for path in fold.path])
        seen |= set(fold.path.tolist())
        clips = new[fold.recording]
        number = np.cumsum(new) - 1 + n
        n += int(new.sum())
        parts = {
            "path": fold.path[new], "label": fold.label[new], "source": fold.source[new],
            "recording": number[fold.recording[clips]], "counts": fold.counts[clips],
            "logits": fold.logits[clips],
        }  # fmt: skip
        for name, values in parts.items():
            arrays.setdefault(name, []).append(values)
    whole = {name: np.concatenate(values) for name, values in arrays.items()}
    return Answers(classes=folds[0].classes, **whole)


def fit(answers: Answers, rows: NDArray[np.bool_]) -> float:
    """The temperature of clips that makes the answers for some recordings most likely.

    Answers are means over clips. Every source counts alike, and in it every class.

    A bias for each class was tried beside it. Fitted on other sources it took 10 points of balanced
    accuracy, for most sources hold one class (research/notes/players.md).
    """
    cell = [f"{s}\n{c}" for s, c in zip(answers.source[rows], answers.label[rows], strict=True)]
    names, number, counts = np.unique(cell, return_inverse=True, return_counts=True)
    source_of = [name.partition("\n")[0] for name in names]
    per_source = np.array([source_of.count(name) for name in source_of])
    weight = 1 / (counts * per_source)[number]
    truth = np.searchsorted(answers.classes, answers.label[rows])
    clips = rows[answers.recording]
    logits, recording = answers.logits[clips], answers.recording[clips]
    loud = answers.counts[clips]

    def loss(log_t: float) -> float:
        p = mean_by_recording(softmax(logits, float(np.exp(log_t))), recording, loud)[0]
        likelihood = p[np.arange(len(truth)), truth]
        return float(-(weight * np.log(np.maximum(likelihood, 1e-30))).sum())

    return float(np.exp(minimize_scalar(loss, bounds=np.log((0.05, 20)), method="bounded").x))


def crossed(answers: Answers) -> NDArray[np.float64]:
    """Probabilities of all clips.

    Those of a player come from the fit on the other players, the rest from the fit on all.
    """
    names = players_of(answers)
    p = softmax(answers.logits, fit(answers, np.isin(answers.source, names)))
    for name in names:
        others = np.isin(answers.source, [other for other in names if other != name])
        clips = (answers.source == name)[answers.recording]
        p[clips] = softmax(answers.logits[clips], fit(answers, others))
    return p


def players_of(answers: Answers) -> list[str]:
    """The sources that are neither home nor strange kinds."""
    return sorted(set(answers.source.tolist()) - {HOME, STRANGE})


def threshold_of(answers: Answers, p: NDArray[np.float64]) -> float:
    """The certainty that `ANSWERED` of the players' known recordings reach, sources alike."""
    whole = mean_by_recording(p, answers.recording, answers.counts)[0]
    sure = certainty(whole, answers.classes.tolist())
    rows = np.isin(answers.source, players_of(answers)) & (answers.label != UNKNOWN)
    _, number, counts = np.unique(answers.source[rows], return_inverse=True, return_counts=True)
    order = np.argsort(sure[rows])
    share = np.cumsum((1 / counts[number])[order]) / len(counts)
    return float(sure[rows][order][np.searchsorted(share, 1 - ANSWERED)])


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("answers", type=Path, nargs="+")
    given = parser.parse_args()
    folds = [read_arrays(Answers, file) for file in given.answers]
    answers = joined([fold for fold in folds if isinstance(fold, Answers)])
    rows = np.isin(answers.source, players_of(answers))
    temperature = fit(answers, rows)
    threshold = threshold_of(answers, crossed(answers))
    classifier = Model.load(given.model)
    classifier.temperature.fill_(temperature)
    classifier.description = replace(classifier.description, threshold=threshold)
    save(classifier, given.out)
    print(f"temperature {temperature:.3f}, threshold {threshold:.3f}")


if __name__ == "__main__":
    main()
