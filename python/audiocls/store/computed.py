"""A store of features that are computed from a store of samples as they are asked for."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocls.engine.augmentation import Augmentation
from audiocls.engine.cut import Cut
from audiocls.engine.spec import FeatureSpec
from audiocls.errors import SettingError
from audiocls.store.augmenter import Augmenter
from audiocls.store.labels import ONE, SEVERAL, Coverage
from audiocls.store.store import Store


class ComputedStore(Store):
    """What `extract` with the same settings would have stored, of the recordings in `samples`.

    cut: of the grid of clips. Raises SettingError where `samples` holds features, has another
    sample rate than `spec`, or was cut into clips already.
    """

    def __init__(self, samples: Store, spec: FeatureSpec, feature: str, cut: Cut) -> None:
        if samples.spec.kind == "samples" and samples.cut.clip_s > 0:
            rule = "must hold whole recordings: extract samples with `clip_s` 0"
            raise SettingError("clip_s", samples.cut.clip_s, rule)
        self.whole = samples
        self._within: NDArray[np.int64]  # which recording of the samples each clip is cut from
        self._start: NDArray[np.int64]  # its first sample there
        self._plain = Augmenter(spec, None, cut=cut)
        lengths = self._plain.lengths(samples)
        self._within, self._start = cut.grid(lengths, spec.sample_rate)
        about = samples.about | {
            "spec": spec.to_dict(),
            "feature": feature,
            **cut.to_dict(),
            "counts": samples.counts | {"clips": len(self._within)},
            "shape": [len(self._within), *self._plain.clip_shape],
            "dtype": "float32",
        }
        super().__init__(samples.path, about)
        self.recordings = samples.recordings
        if self.coverage is not None:
            self._keep_labelled(self.coverage)

    def _keep_labelled(self, coverage: Coverage) -> None:
        """Of recordings with events only the clips that have a label; the classes are theirs."""
        labels = {label for r in self.recordings for label in r.labels()}
        names = sorted(labels | {coverage.background or ""} - {""})
        matrix = coverage.matrix(self.recordings, self._clips, names)
        kept = matrix.any(axis=1)
        self._within, self._start = self._within[kept], self._start[kept]
        del self._clips  # made anew when asked for
        self.classes = [names[i] for i in np.flatnonzero(matrix.any(axis=0))]
        self.about |= {
            "classes": self.classes,
            "task": SEVERAL if (matrix.sum(axis=1) > 1).any() else ONE,
            "counts": self.counts | {"clips": len(self._within)},
            "shape": [len(self._within), *self.about["shape"][1:]],
        }
        self.counts = self.about["counts"]

    @cached_property
    def features(self) -> Any:
        """Array-like [n_clips, frames, features]."""
        return _Computed(self._plain, self.whole, self._within, self._start)

    @cached_property
    def _clips(self) -> NDArray[np.int64]:
        return np.stack([self.whole.clip_recording[self._within], self._start], axis=1)

    @cached_property
    def identity(self) -> str:
        """SHA-256 over what the samples are of, and how features are made of them."""
        about = f"{self.whole.identity} {self.spec.to_json()} {self.cut.clip_s} {self.cut.hop_s}"
        return hashlib.sha256(about.encode()).hexdigest()

    def augmenter(self, augmentation: Augmentation | None, seed: int) -> Augmenter:
        """What makes clips of these recordings for training."""
        return Augmenter(self.spec, augmentation, cut=self.cut, seed=seed)

    def samples(self, clips: NDArray[np.int64]) -> tuple[list[NDArray[Any]], NDArray[np.int64]]:
        """The samples from which windows are drawn in place of some clips, as in `Store.samples`.

        They are the recordings of the clips. For recordings with events they are the stretch around
        each clip in which every window has its labels.
        """
        rows = self._within[clips]
        arrays, spans = self.whole.samples(rows)
        if self.coverage is None:
            return arrays, spans
        owners = self.whole.clip_recording[rows].tolist()
        for span, owner, start in zip(spans, owners, self._start[clips].tolist(), strict=True):
            first, end = self.coverage.span(self.recordings[owner].events or (), start)
            span[1:] = span[1] + first, min(span[1] + end, span[2])
        return arrays, spans


class _Computed:
    """Rows of features that exist when they are asked for."""

    def __init__(
        self,
        plain: Augmenter,
        samples: Store,
        index: NDArray[np.int64],
        first: NDArray[np.int64],
    ) -> None:
        self._of = plain, samples, index, first
        self.shape = (len(index), *plain.clip_shape)
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, clips: Any) -> NDArray[np.float32]:
        plain, samples, index, first = self._of
        ids = np.arange(len(self))[clips]
        rows = plain.plain(samples, index[np.atleast_1d(ids)], first[np.atleast_1d(ids)])
        return rows if np.ndim(ids) else rows[0]

    def numpy(self) -> NDArray[np.float32]:
        """All rows."""
        return self[:]
