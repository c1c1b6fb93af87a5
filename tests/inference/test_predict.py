"""A saved model on recordings: equal to the store's, with torch and without, for any source."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch
from saved_model import saved

import audiocls
from audiocls.classifier.description import NETWORK, WEIGHTS
from audiocls.classifier.model import Model
from audiocls.data.synth import write_dataset
from audiocls.errors import DataError, SettingError
from audiocls.inference.predict import BATCH, Prediction
from audiocls.inference.prediction import Detection
from audiocls.models import MODELS
from audiocls.scores import metrics

# Two runs of the same sums in another order.
ROUNDING = 1e-6
RATE = 44_100


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, clips_per_class=5, n_classes=3)
    # Longer than what is read at once, at another rate, in two channels.
    noise = np.random.default_rng(0).normal(0, 0.1, (48_000 * 40, 2))
    soundfile.write(folder / "synthetic-flute" / "long.wav", noise, 48_000)
    return folder


def of_store(folder: Path, store: audiocls.Store) -> tuple[Any, list[Path]]:
    """What the trained module says of the store's clips, [n_recordings, n_classes]."""
    module, labels = Model.load(folder), store.clip_recording
    features = store.features
    with torch.no_grad():
        clips = [
            module.probabilities(torch.from_numpy(features[i])[None])[0] for i in range(len(store))
        ]
    expected, ids = metrics.mean_by_recording(torch.stack(clips).numpy(), labels)
    return expected, [Path(store.about["data"]) / store.recordings[i].path for i in ids]


@pytest.mark.parametrize(
    ("feature", "cut"),
    [
        ("mfcc", {}),
        ("mfcc", {"hop_s": 0.2, "short": "repeat", "clip_s": 0.9}),
        ("mfcc", {"hop_s": 0.7, "min_rms": 0.05}),
        ("mel", {"clip_s": 0.0}),
    ],
)
def test_a_files_probabilities_equal_the_stores(
    data: Path, tmp_path: Path, feature: str, cut: dict[str, Any]
) -> None:
    store = audiocls.extract(data, feature, tmp_path / "store", **cut)
    folder = saved(tmp_path / "model", store)
    expected, paths = of_store(folder, store)
    assert len(paths) > 10
    assert np.ptp(expected[:, 0]) > 0.01, "the recordings must differ"
    classifier = audiocls.Classifier.load(folder)
    np.testing.assert_allclose(classifier.predict_proba(paths), expected, atol=ROUNDING)
    # Recordings without a clip are no prediction either, for the same reason.
    skipped = [r for r in store.recordings if r.status == "skipped"]
    for recording in skipped:
        with pytest.raises(DataError, match=recording.error.replace("(", r"\(").split(")")[0]):
            classifier.predict_proba([data / recording.path])
    assert bool(skipped) == ("min_rms" in cut)


@pytest.mark.parametrize("architecture", MODELS)
def test_the_graph_equals_the_module(data: Path, tmp_path: Path, architecture: str) -> None:
    store = audiocls.extract(data, "mfcc", tmp_path / "store")
    folder = saved(tmp_path / "model", store, architecture)
    assert (folder / NETWORK).stat().st_size < 250_000, "weights exist once"
    (takes,) = onnxruntime.InferenceSession(folder / NETWORK).get_inputs()
    assert takes.shape == ["batch", 49 if architecture == "cnn" else "frames", 13]
    expected, paths = of_store(folder, store)
    classifier = audiocls.Classifier.load(folder)
    np.testing.assert_allclose(classifier.predict_proba(paths), expected, atol=ROUNDING)
    (folder / NETWORK).unlink()
    by_torch = audiocls.Classifier.load(folder)
    np.testing.assert_allclose(by_torch.predict_proba(paths), expected, atol=ROUNDING)


@pytest.mark.parametrize("feature", ["mfcc", "mel-16k"])
def test_the_graph_removes_the_level_too(data: Path, tmp_path: Path, feature: str) -> None:
    store = audiocls.extract(data, feature, tmp_path / "store")
    folder = saved(tmp_path / "model", store, remove_level=True)
    expected, paths = of_store(folder, store)
    found = audiocls.Classifier.load(folder).predict_proba(paths)
    np.testing.assert_allclose(found, expected, atol=ROUNDING)


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    store = audiocls.extract(data, "mfcc", folder / "store")
    return saved(folder / "model", store)


def test_arrays_and_files_mean_the_same(data: Path, model: Path) -> None:
    classifier = audiocls.Classifier.load(model)
    file = next(data.rglob("*flute*.wav"))
    y, rate = audiocls.load(file, classifier.sample_rate)
    expected = classifier.predict_proba([file])
    assert rate == 12_000
    for same in (y, y.astype(np.float64), (y * 32768).round().astype(np.int16)):
        np.testing.assert_allclose(classifier.predict_proba([same]), expected, atol=1e-4)
    (label,) = classifier.predict([str(file)])
    assert label == classifier.classes_[expected[0].argmax()]
    own, own_rate = audiocls.load(file)
    assert classifier.predict_array(own, own_rate) == label
    assert classifier.predict_proba([]).shape == (0, 3)


def test_threads_and_their_number_change_nothing(data: Path, model: Path) -> None:
    classifier = audiocls.Classifier.load(model)
    files = sorted(data.rglob("synthetic*.wav"))
    expected = classifier.predict_proba(files)
    found: list[Any] = [None] * 4

    def work(i: int) -> None:
        found[i] = classifier.predict_proba(files)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(found))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in found:
        np.testing.assert_allclose(result, expected, atol=ROUNDING)
    one = [p.answer for p in classifier.recordings(files, threads=1)]  # type: ignore[union-attr]
    np.testing.assert_allclose(np.array(one), expected, atol=ROUNDING)


def test_recordings_share_the_network_and_each_has_its_own_answer(
    data: Path, model: Path, tmp_path: Path
) -> None:
    """Short, long and broken ones, more than a thread takes at a time, on several threads."""
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    short = sorted(data.rglob("synthetic*.wav"))
    long = data / "synthetic-flute" / "long.wav"
    files = [*short * 6, long, tmp_path / "broken.wav", tmp_path / "gone.wav", *short * 6]
    classifier = audiocls.Classifier.load(model)
    alone = {file: next(classifier.recordings([file])) for file in set(files)}
    batches: list[int] = []

    def counted(x: Any) -> Any:
        batches.append(len(x))
        return network(x)

    network = classifier.network
    classifier.network = dataclasses.replace(network, probabilities=counted)
    for file, found in zip(files, classifier.recordings(files, threads=2), strict=True):
        expected = alone[file]
        if isinstance(expected, Exception):
            assert (type(found), str(found)) == (type(expected), str(expected))
            continue
        assert isinstance(found, Prediction)
        assert found.duration_s == expected.duration_s  # type: ignore[union-attr]
        np.testing.assert_array_equal(found.starts_s, expected.starts_s)  # type: ignore[union-attr]
        np.testing.assert_allclose(
            found.probabilities,
            expected.probabilities,  # type: ignore[union-attr]
            atol=ROUNDING,
        )
    assert len(batches) < len(files) / 4


def test_timeline(data: Path, model: Path) -> None:
    classifier = audiocls.Classifier.load(model)
    long = data / "synthetic-flute" / "long.wav"
    (prediction,) = classifier.recordings([long], hop_s=0.1)
    assert isinstance(prediction, Prediction)
    assert len(prediction.probabilities) == 1 + round((40 - 0.5) / 0.1) > BATCH
    segments = classifier.timeline(long, hop_s=0.1)
    assert (segments[0].start_s, segments[-1].end_s) == (0.0, 40.0)
    for a, b in itertools.pairwise(segments):
        assert a.end_s == pytest.approx(b.start_s)
        assert a.label != b.label


def test_segments_of_a_known_answer() -> None:
    p = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.5, 0.5], [0.1, 0.9]])
    starts = np.array([0.0, 0.5, 1.0, 1.5, 4.0])
    known = Prediction(["a", "b"], p, starts, 5.2, 1.0, 0.5)
    found = [(s.start_s, s.end_s, s.label) for s in known.segments(0.6)]
    assert found == [
        (0.0, 1.25, "a"), (1.25, 1.75, "b"), (1.75, 2.25, "unknown"), (4.25, 5.0, "b")
    ]  # fmt: skip
    assert known.segments()[0].probability == pytest.approx(0.8)
    assert known.top(2) == [("b", pytest.approx(0.52)), ("a", pytest.approx(0.48))]
    assert known.top(1, threshold=0.6) == [("unknown", pytest.approx(0.52))]


def test_below_the_models_threshold_the_answer_is_unknown(data: Path, tmp_path: Path) -> None:
    store = audiocls.extract(data, "mfcc", tmp_path / "store")
    classifier = audiocls.Classifier.load(saved(tmp_path / "model", store, threshold=1.1))
    file = next(data.rglob("*flute*.wav"))
    assert classifier.threshold == 1.1
    assert classifier.predict([file]) == ["unknown"]
    assert {s.label for s in classifier.timeline(file)} == {"unknown"}


def test_without_a_sound_nothing_is_said(model: Path, tmp_path: Path) -> None:
    """200 clicks of one bit are at -119 dB, whatever a network makes of the noise around them."""
    classifier = audiocls.Classifier.load(model)
    clicks = np.zeros(3 * RATE, np.int16)
    clicks[np.random.default_rng(0).integers(0, len(clicks), 200)] = 1
    soundfile.write(tmp_path / "clicks.wav", clicks, RATE)
    loud = clicks * np.int16(1000)
    for clip in (tmp_path / "clicks.wav", clicks, clicks / np.float32(32768)):
        assert classifier.predict([clip, loud])[0] == "unknown" != classifier.predict([loud])[0]
        assert {s.label for s in classifier.timeline(clip)} == {"unknown"}
    p, starts = np.array([[0.9, 0.8]]), np.array([0.0])
    for silent, said in ((False, ["a", "b"]), (True, [])):
        several = Detection(["a", "b"], p, starts, 1.0, 1.0, 0.5, silent=silent)
        assert [label for label, _ in several.labels(0.5)] == said
        assert [segment.label for segment in several.segments(0.5)] == said


def test_bad_sources(data: Path, model: Path, tmp_path: Path) -> None:
    classifier = audiocls.Classifier.load(model)
    with pytest.raises(SettingError, match="must be a list of recordings"):
        classifier.predict_proba("a.wav")
    with pytest.raises(FileNotFoundError):
        classifier.predict_proba([tmp_path / "none.wav"])
    with pytest.raises(OSError, match="broken-not-audio"):
        classifier.predict_proba(list(data.rglob("broken-not-audio.wav")))
    with pytest.raises(SettingError, match=r"sample 3 .*finite"):
        classifier.predict_proba([np.array([0, 0, 0, np.nan], np.float32)])
    with pytest.raises(SettingError, match="one channel"):
        classifier.predict_proba([np.zeros((2, 100), np.float32)])
    with pytest.raises(SettingError, match="int64"):
        classifier.predict_proba([np.zeros(100, np.int64)])
    with pytest.raises(DataError, match="holds no samples"):
        classifier.predict_proba([np.zeros(0, np.float32)])
    with pytest.raises(SettingError, match="hop_s"):
        classifier.timeline(np.zeros(9000, np.float32), hop_s=0.0)


def test_damaged_models_are_refused(model: Path, tmp_path: Path) -> None:
    def tampered(change: Any) -> Path:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(model, folder)
        change(folder)
        return folder

    def description(**known: Any) -> Any:
        def change(folder: Path) -> None:
            document = json.loads((folder / "model.json").read_text())
            (folder / "model.json").write_text(json.dumps(document | known))

        return change

    def shortened(name: str, n: int) -> Any:
        return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:n])

    def other_weights(folder: Path) -> None:
        # As long as the right ones, but in another order.
        raw = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).write_bytes(raw.replace(b"lstm.weight_hh_l0", b"lstm.weight_xx_l0"))

    for change, message in [
        (description(format=3), "has format 3; this version reads 1 to 2"),
        (description(input_shape=[1_000_000, 25_000]), "input_shape"),
        (description(input_shape=[49, 14]), "is not the network of this model"),
        (description(clip_s=5.0), "contradicts itself"),
        (description(clip_s=1e300), "clip_s 1e\\+300 is invalid"),
        (description(classes=["a", "b"]), r"gives \[\(1, 3\).* for 1 clips and 2 classes"),
        (description(classes=["a", "a", "b"]), "damaged"),
        (description(short="stretch"), "short 'stretch' is invalid"),
        (shortened("model.json", 0), "damaged"),
        (shortened(WEIGHTS, 0), "damaged"),
        (shortened(WEIGHTS, 100), "cut short"),
        (shortened(WEIGHTS, 30_000), "cut short"),
        (shortened(NETWORK, 3000), "damaged"),
        (shortened(NETWORK, 0), "damaged"),
        (other_weights, "belongs to other weights"),
        (lambda folder: (folder / WEIGHTS).unlink(), "is missing"),
    ]:
        with pytest.raises(DataError, match=message):
            audiocls.Classifier.load(tampered(change))
    with pytest.raises(DataError, match="holds no model"):
        audiocls.Classifier.load(tmp_path)
