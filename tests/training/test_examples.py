"""Examples on the device and from the store: the same batches, the same runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_store import tiny_store

import audiocls
from audiocls import Store
from audiocls.data.synth import write_dataset
from audiocls.errors import SettingError
from audiocls.training import Device, Recipe, Run, Trial, fit, make_split
from audiocls.training.data.examples import Examples, evenly_spaced, number_sources, split_examples
from audiocls.training.data.splits import TRAIN, VAL

torch.set_num_threads(1)
CPU = Device.pick("cpu")


@pytest.fixture(scope="module", params=[0.25, 0.0], ids=["clips", "whole recordings"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    write_dataset(folder / "data", clips_per_class=8, n_classes=3)
    return audiocls.extract(
        folder / "data", "mel-16k", folder / "mel", clip_s=request.param, hop_s=0.25
    )


def test_batches_are_the_same_wherever_the_clips_are(store: Store) -> None:
    clips = np.arange(1, len(store), 2)
    resident = Examples(store, clips, CPU, resident=True)
    streamed = Examples(store, clips, CPU, resident=False)
    numbers = torch.Generator().manual_seed(0)
    order = [torch.randint(len(clips), (5,), generator=numbers) for _ in range(9)]
    for ids, a, b in zip(order, resident.batches(order), streamed.batches(order), strict=True):
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.y, b.y)
        assert a.y.tolist() == store.labels[clips[ids]].tolist()
        for i, row in enumerate(ids.tolist()):
            clip = torch.from_numpy(store.features[int(clips[row])])
            length = len(clip) if a.lengths is None else int(a.lengths[i])
            assert length == len(clip)
            assert torch.equal(a.x[i, :length], clip)
            assert not a.x[i, length:].any(), "zeros after the end of a clip"


def test_alike_lengths_share_a_batch(store: Store) -> None:
    examples = Examples(store, np.arange(len(store)), CPU)
    order = torch.randperm(len(store), generator=torch.Generator().manual_seed(0))
    batches = examples.split_by_length(order, 4)
    assert sorted(torch.cat(batches).tolist()) == list(range(len(store)))
    assert all(len(b) == 4 for b in batches[:-1])
    if examples.lengths is not None:
        padded = sum(int(examples.lengths[b].max()) * len(b) for b in batches)
        unsorted = sum(int(examples.lengths[b].max()) * len(b) for b in torch.split(order, 4))
        assert padded < unsorted


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_run_is_the_same_wherever_the_clips_are(
    tmp_path: Path, store: Store, bfloat16: bool
) -> None:
    device = Device(torch.device("cpu"), bfloat16)
    split = make_split(store.recordings)
    trial = Trial("lstm", Recipe(epochs=2, batch_size=8))
    weights = []
    for name, memory_gb in (("resident", 1.0), ("streamed", 0.0)):
        parts = split_examples(store, split, trial, device, memory_gb)
        assert (parts[TRAIN]._x is None) == (name == "streamed")
        fit(trial, store, split, Run(tmp_path / name), device, memory_gb=memory_gb)
        weights.append((tmp_path / name / "model/weights.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_memory_is_a_number() -> None:
    store = tiny_store()
    split = make_split(store.recordings)
    for wrong in (-1.0, float("nan")):
        with pytest.raises(SettingError, match="memory_gb"):
            split_examples(store, split, Trial("lstm"), CPU, wrong)


def test_clips_of_a_recording_are_spread_over_it() -> None:
    recording = np.repeat([3, 4, 9], [1, 5, 8])
    kept = {n: np.flatnonzero(evenly_spaced(recording, n)).tolist() for n in (1, 2, 3, 8)}
    assert kept[1] == [0, 1, 6]
    assert kept[2] == [0, 1, 5, 6, 13]
    assert kept[3] == [0, 1, 3, 5, 6, 10, 13]
    assert kept[8] == list(range(14))


def test_only_training_clips_are_left_out() -> None:
    store = tiny_store()
    split = make_split(store.recordings)
    whole = split_examples(store, split, Trial("lstm"), CPU)
    few = split_examples(store, split, Trial("lstm", Recipe(clips_per_recording=1)), CPU)
    assert len(few[TRAIN]) == len(np.unique(whole[TRAIN].recording)) < len(whole[TRAIN])
    assert np.array_equal(few[VAL].clips, whole[VAL].clips)


def test_a_source_that_draws_nothing_is_refused() -> None:
    store = tiny_store()
    for r in store.recordings:
        r.extra["source"] = "hall" if r.label == "drum" else "phone"
    with pytest.raises(SettingError, match=r"source .*every class has one source only"):
        number_sources(store, "source")
    store.recordings[0].extra["source"] = "street"
    assert len(set(number_sources(store, "source").tolist())) == 3
