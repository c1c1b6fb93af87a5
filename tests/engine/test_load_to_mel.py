"""From a real file to mel at another rate, against librosa from end to end."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest

import audiocls


# librosa.load imports audioread, which imports what Python 3.13 drops.
@pytest.mark.filterwarnings("ignore:.*slated for removal:DeprecationWarning")
@pytest.mark.parametrize("sample_rate", [16000, 22050])
def test_mel_of_resampled_recordings_equals_librosa(philharmonia: Path, sample_rate: int) -> None:
    extractor = audiocls.Extractor(audiocls.FeatureSpec.preset("mel", sample_rate=sample_rate))
    recordings = sorted(philharmonia.glob("*/*_forte_*.mp3"))[::150]
    assert len(recordings) >= 5
    for path in recordings:
        y, _ = librosa.load(path, sr=sample_rate)  # soxr HQ
        power = librosa.feature.melspectrogram(y=y.astype(np.float64), sr=sample_rate)
        expected = librosa.power_to_db(power, ref=1.0).T
        ours = extractor(audiocls.load(path, sample_rate)[0])
        assert ours.shape == expected.shape
        assert np.median(np.abs(ours - expected)) <= 0.05, path.name
