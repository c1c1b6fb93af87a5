"""Hugging Face `datasets` objects: their library gives the bytes, our engine decodes them."""

from __future__ import annotations

import os
from typing import Any

from audiocls.data.listing.table import (
    find_label_column,
    make_recording,
    read_cell,
    serialize_reads,
)
from audiocls.data.recordings import Listing
from audiocls.errors import SettingError


def list_dataset(dataset: Any, inside_only: bool) -> Listing:
    """The recordings of a `datasets.Dataset` with an audio column.

    Args:
        dataset: the data set.
        inside_only: whether only recordings count whose bytes are in it.

    Raises:
        SettingError: any other object.
        DataError: no column holds audio or labels.
    """
    try:
        import datasets
    except ImportError:
        datasets = None
    if datasets is None or not isinstance(dataset, datasets.Dataset):
        rule = "must be a path or a datasets.Dataset (of a DatasetDict take one split)"
        raise SettingError("data", type(dataset).__name__, rule)
    # Rows as Python's own values, whatever format (torch, numpy, arrow …) the user has set.
    plain = dataset.with_format(None)
    audio = [n for n, feature in dataset.features.items() if isinstance(feature, datasets.Audio)]
    name = f"datasets.Dataset {dataset.info.dataset_name or ''}".rstrip()
    label_column = find_label_column(name, audio, list(dataset.features))
    encoded = plain.cast_column(audio[0], datasets.Audio(decode=False))
    names = getattr(dataset.features[label_column], "names", None)
    split = str(dataset.split or "")

    # The fingerprint stands for the contents: a changed table is noticed as a changed file is.
    fingerprint = int(dataset._fingerprint, 16) & (2**62 - 1)
    listing = Listing(name)
    for i, row in enumerate(plain.remove_columns(audio)):
        recording = make_recording(f"row-{i:09}", row, label_column, names, split)
        recording.mtime_ns = fingerprint
        listing.add(recording, None)

    def read(i: int) -> tuple[bytes, str]:
        return read_cell(encoded[i][audio[0]], os.devnull, inside_only)

    listing.read = serialize_reads(read)
    return listing
