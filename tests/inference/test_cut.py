"""All that cuts recordings cuts them alike: as the definition says, restated here."""

from __future__ import annotations

import json
import math
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from saved_model import saved

import audiocls
from audiocls import Cut, FeatureSpec
from audiocls.classifier.description import Description
from audiocls.errors import DataError, SettingError
from audiocls.inference.export import export
from audiocls.inference.predict import Classifier
from audiocls.inference.stream import Stream
from audiocls.store.computed import ComputedStore

Clips = list[tuple[int, NDArray[np.float32]]]


class Case(NamedTuple):
    """A cut, and recordings of some lengths in samples."""

    rate: int
    cut: Cut
    lengths: list[int]
    piece: int  # what a stream gets at a time

    @property
    def recordings(self) -> list[NDArray[np.float32]]:
        rng = np.random.default_rng(0)
        return [rng.uniform(-1, 1, n).astype(np.float32) for n in self.lengths]


def half_up(seconds: float, rate: int) -> int:
    return math.floor(Fraction(seconds * rate) + Fraction(1, 2))


def clips_by_definition(y: NDArray[np.float32], cut: Cut, rate: int) -> Clips:
    """First sample and samples of each clip."""
    clip, hop = half_up(cut.clip_s, rate), half_up(cut.hop_s, rate)
    if len(y) < clip:
        filled = {"pad": [*y, *[0.0] * (clip - len(y))], "repeat": np.resize(y, clip)}
        return [] if cut.short == "drop" else [(0, np.array(filled[cut.short], np.float32))]
    clips, start = [], 0
    while start + clip <= len(y):
        clips.append((start, y[start : start + clip]))
        start += hop
    return clips


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rate = draw(st.sampled_from([7999, 8000, 11_025, 22_050]))
    # Whole numbers of samples and halves, which two ways of rounding disagree about; and any.
    seconds = st.one_of(
        st.integers(1, 400).map(lambda n: n / 2 / rate),
        st.sampled_from([0.25, 0.1, 0.05, 0.03]),
        st.floats(2 / rate, 0.1),
    ).filter(lambda s: half_up(s, rate) >= 1)
    cut = Cut(
        clip_s=draw(seconds),
        hop_s=draw(seconds),
        short=draw(st.sampled_from(["pad", "repeat", "drop"])),
    )
    clip, hop = half_up(cut.clip_s, rate), half_up(cut.hop_s, rate)
    lengths = draw(st.lists(st.integers(1, clip + 40 * hop), min_size=1, max_size=3))
    # One that gives a clip for certain: without any there is no store.
    lengths.append(clip + draw(st.integers(0, 5)) * hop + draw(st.integers(0, hop - 1)))
    return Case(rate, cut, lengths, draw(st.integers(max(1, clip // 7), 5 * clip)))


def write(folder: Path, recordings: list[NDArray[np.float32]], rate: int) -> None:
    folder.mkdir(parents=True)
    for i, y in enumerate(recordings):
        soundfile.write(folder / f"{i}.wav", y, rate, subtype="FLOAT")


def of_store(store: audiocls.Store, recording: int) -> Clips:
    (clips,) = np.nonzero(store.clip_recording == recording)
    starts = np.rint(store.clip_start_s[clips] * store.spec.sample_rate).astype(int)
    return [(start, store.features[i][:, 0]) for start, i in zip(starts, clips, strict=True)]


def listening(store: audiocls.Store) -> tuple[Classifier, list[NDArray[np.float32]]]:
    """A model of the waveforms themselves, and what its network has heard, clip by clip."""
    heard: list[NDArray[np.float32]] = []

    def network(features: NDArray[np.float32]) -> NDArray[np.float32]:
        heard.extend(features[:, :, 0])
        return np.full((len(features), 2), 0.5, np.float32)

    about = Description.of(store, "lstm", {})
    return Classifier(Path("model"), about, network), heard


def assert_same(found: Clips, expected: Clips) -> None:
    assert [start for start, _ in found] == [start for start, _ in expected]
    for (_, clip), (_, wanted) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(clip, wanted)


QUARTERS = Case(22_050, Cut(clip_s=0.25, hop_s=0.25), [8 * 22_050] * 4, 5512)


@settings(max_examples=40)
@example(QUARTERS)
@given(cases())
def test_all_see_the_clips_of_the_definition(case: Case) -> None:
    rate, cut, recordings = case.rate, case.cut, case.recordings
    expected = [clips_by_definition(y, cut, rate) for y in recordings]
    spec = FeatureSpec.preset("samples", sample_rate=rate)
    with tempfile.TemporaryDirectory() as folder:
        data, root = Path(folder, "data"), Path(folder)
        write(data / "a", recordings, rate)
        given = {"dtype": "float32", "threads": 1, "accept_failures": True}
        extracted = audiocls.extract(data, spec, root / "clips", cut=cut, **given)
        whole = Cut(clip_s=0, short=cut.short)
        samples = audiocls.extract(data, spec, root / "samples", cut=whole, **given)
        computed = ComputedStore(samples, spec, "samples", cut)
        for i, clips in enumerate(expected):
            assert cut.starts(case.lengths[i], rate).tolist() == [start for start, _ in clips]
            assert_same(of_store(extracted, i), clips)
            assert_same(of_store(computed, i), clips)

        classifier, heard = listening(extracted)
        for y, clips in zip(recordings, expected, strict=True):
            (prediction,) = classifier.recordings([y], threads=1)
            if not clips:
                assert isinstance(prediction, DataError)
                continue
            assert not isinstance(prediction, Exception)
            starts = np.rint(prediction.starts_s * rate).astype(int).tolist()
            assert_same(list(zip(starts, heard, strict=True)), clips)
            heard.clear()
            stream = Stream(classifier)
            pieces = range(0, len(y), case.piece)
            said = [one for i in pieces for one in stream.push(y[i : i + case.piece])]
            said += stream.finish()
            starts = [round(one.start_s * rate) for one in said]
            assert_same(list(zip(starts, heard, strict=True)), clips)
            heard.clear()


def test_a_quarter_of_a_second_at_22050_hz_everywhere(tmp_path: Path) -> None:
    """124 clips of 5513 samples, not 128 of 5512: also those of the exported graph."""
    write(tmp_path / "data" / "a", QUARTERS.recordings[:2], QUARTERS.rate)
    write(tmp_path / "data" / "b", QUARTERS.recordings[2:], QUARTERS.rate)
    store = audiocls.extract(
        tmp_path / "data", "mfcc-librosa", tmp_path / "mfcc", clip_s=0.25, hop_s=0.25
    )
    assert len(store) == 124
    starts = np.rint(store.clip_start_s * QUARTERS.rate)
    assert starts[:3].tolist() == [0, 5513, 11_026]
    samples = audiocls.extract(
        tmp_path / "data", FeatureSpec.preset("samples", sample_rate=QUARTERS.rate),
        tmp_path / "samples", dtype="float32",
    )  # fmt: skip
    computed = ComputedStore(samples, store.spec, store.feature, store.cut)
    assert (computed._clips == store._clips).all()
    assert (computed.features.numpy() == store.numpy()).all()

    model = saved(tmp_path / "model", store, "cnn")
    export(model, tmp_path / "model.onnx")
    document = (tmp_path / "model.onnx").read_bytes()
    session = onnxruntime.InferenceSession(document, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    assert session.get_inputs()[0].shape[1] == 5513
    assert json.loads(about["clip_samples"]) == json.loads(about["hop_samples"]) == 5513
    y = QUARTERS.recordings[0]
    clips = np.stack([clip for _, clip in clips_by_definition(y, store.cut, QUARTERS.rate)])
    (said,) = session.run(None, {"samples": clips})
    (prediction,) = Classifier.load(model).recordings([y])
    assert not isinstance(prediction, Exception)
    np.testing.assert_allclose(said, prediction.probabilities, atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"clip_s": -1}, "clip_s -1 is invalid: must be from one sample to 86400, or 0 for whole"),
        ({"hop_s": 0}, "hop_s 0 is invalid: must be from one sample to 86400"),
        ({"hop_s": 1e6}, "hop_s 1000000 is invalid"),
        ({"clip_s": float("nan")}, "clip_s nan is invalid: must be finite"),
        ({"clip_s": "long"}, "clip_s 'long' is invalid: must be a number"),
        ({"min_rms": 1}, r"min_rms 1 is invalid: must be in \[0, 1\)"),
        ({"short": "dropp"}, "short 'dropp' is invalid: did you mean 'drop'"),
        ({"short": None}, "short None is invalid|short 'null' is invalid"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Cut(**fields)


def test_a_cut_is_plain_data() -> None:
    cut = Cut(clip_s=np.float32(0.25), hop_s=1, short="repeat", min_rms=0.1)
    assert cut.to_dict() == {"clip_s": 0.25, "hop_s": 1.0, "short": "repeat", "min_rms": 0.1}
    assert Cut.from_dict(cut.to_dict()) == cut
    assert Cut.from_dict({}) == Cut() == Cut().replace(clip_s=None)
    with pytest.raises(SettingError, match="field 'clip' is invalid: did you mean 'clip_s'"):
        Cut.from_dict({"clip": 1})


def test_what_has_no_sample_is_refused_at_that_rate() -> None:
    cut = Cut(clip_s=1e-4, hop_s=1e-5)
    assert (cut.clip_len(100_000), cut.hop_len(100_000)) == (10, 1)
    message = r"hop_s 1e-05 is invalid: must be from one sample \(1/16000 s\) to 86400"
    with pytest.raises(SettingError, match=message):
        cut.starts(100, 16_000)


def test_keywords_replace_the_fields_of_a_cut(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a", [np.ones(16_000, np.float32)], 16_000)
    cut = Cut(clip_s=0.25, hop_s=0.25, short="drop")
    store = audiocls.extract(tmp_path / "data", "mel-16k", tmp_path / "out", cut=cut, hop_s=0.5)
    assert store.cut == Cut(clip_s=0.25, hop_s=0.5, short="drop")
    assert len(store) == 2
