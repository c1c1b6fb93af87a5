"""How a recording becomes clips: `Cut` mirrors cut.rs, where seconds become samples."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from audiocls import _native
from audiocls.engine.spec import dump_fields
from audiocls.errors import ChoiceError

SHORT = ("pad", "repeat", "drop")


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How recordings become clips.

    A last window that is not full is left out, so that no clip of a long recording is partly made
    up.

    Raises:
        SettingError: a field is invalid; names field, value and rule.
    """

    clip_s: float = 0.5
    """Seconds a clip; 0: each recording is one clip of its own length."""
    hop_s: float = 0.5
    """Seconds from the start of one clip to the start of the next."""
    short: Literal["pad", "repeat", "drop"] = "pad"
    """What becomes of a recording shorter than a clip: it is filled up with zeros, repeated until
    the clip is full, or left out."""
    min_rms: float = 0.0
    """Clips whose root mean square is below this are left out; full scale is 1, 0 keeps all."""

    def __post_init__(self) -> None:
        if isinstance(self.short, str) and self.short not in SHORT:
            raise ChoiceError("short", self.short, SHORT)
        for name, value in json.loads(_native.check_cut(self.to_json())).items():
            object.__setattr__(self, name, value)

    def replace(self, **overrides: Any) -> Cut:
        """A cut with some fields replaced.

        Args:
            **overrides: fields; None keeps the one that is there.

        Returns:
            The new cut.

        Raises:
            SettingError: no such field, or an invalid value.
        """
        for name in overrides:
            if name not in CUT_FIELDS:
                raise ChoiceError("field", name, CUT_FIELDS)
        given = {name: value for name, value in overrides.items() if value is not None}
        return dataclasses.replace(self, **given) if given else self

    def clip_len(self, sample_rate: int) -> int:
        """Samples of a clip, half a sample rounded up; 0: each recording is one clip.

        Args:
            sample_rate: samples a second.

        Returns:
            The number of samples.

        Raises:
            SettingError: a clip or a hop without a sample at that rate.
        """
        return _native.cut_lengths(self.to_json(), sample_rate)[0]

    def hop_len(self, sample_rate: int) -> int:
        """Samples from the start of one clip to the start of the next, as `clip_len`."""
        return _native.cut_lengths(self.to_json(), sample_rate)[1]

    def starts(self, n_samples: int, sample_rate: int) -> NDArray[np.int64]:
        """Where the clips of a recording start. Silence (`min_rms`) is not looked for.

        Args:
            n_samples: length of the recording.
            sample_rate: its samples a second.

        Returns:
            int64 [n_clips]: the first sample of each clip.

        Raises:
            SettingError: as `clip_len`.
        """
        return self.grid(np.array([n_samples], np.int64), sample_rate)[1]

    def grid(
        self, lengths: NDArray[np.int64], sample_rate: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What `starts` gives, of many recordings.

        Args:
            lengths: int64 [n], samples of each recording.
            sample_rate: their samples a second.

        Returns:
            Of each clip, int64 [n_clips], the index of its recording and its first sample.

        Raises:
            SettingError: as `clip_len`.
        """
        return _native.starts(self.to_json(), sample_rate, np.ascontiguousarray(lengths))

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain data."""
        return dict(vars(self))  # `asdict` copies each in depth: much, for every recording.

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Cut:
        """The inverse of `to_dict`; fields that are left out have their default.

        Raises:
            SettingError: an unknown field or an invalid value.
        """
        return cls().replace(**fields)

    def to_json(self) -> str:
        """All fields as one line of JSON."""
        return dump_fields(self.to_dict())


CUT_FIELDS = tuple(field.name for field in dataclasses.fields(Cut))
