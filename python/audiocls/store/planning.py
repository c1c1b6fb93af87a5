"""What a store is to be made of: settings that are valid, and recordings cut into shards."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audiocls import __version__
from audiocls.data.labelling import Labelling
from audiocls.data.listing import list_recordings
from audiocls.data.listing.notices import check_labels
from audiocls.data.recordings import Listing, Recording
from audiocls.engine.cut import Cut
from audiocls.engine.dataset import clip_shape
from audiocls.engine.spec import FeatureSpec
from audiocls.errors import ChoiceError, SettingError
from audiocls.files import escape
from audiocls.parallel import count_usable_cores
from audiocls.store.format import FORMAT, PLAIN_VERSION
from audiocls.store.labels import describe_labels
from audiocls.store.resume import listed_facts
from audiocls.store.shard import Shard
from audiocls.url import is_url

# A shard ends after so many recordings or bytes of files. The rule looks at the listing only, so
# that a shard has the same contents whichever run makes it; an interruption costs one at most.
SHARD_RECORDINGS = 1024
SHARD_BYTES = 64 << 20
# Of a data set that would make more shards by either rule, shards are larger: store.json describes
# every one, and no document is longer than 64 MiB.
MOST_SHARDS = 1 << 15

DTYPES = ("float32", "float16", "int16")


@dataclass(frozen=True)
class Work:
    """Settings that are valid, and the recordings of a data set that has some."""

    about: dict[str, Any]  # how store.json begins
    spec: FeatureSpec
    cut: Cut
    row_shape: list[int]
    listing: Listing
    threads: int

    @property
    def separator(self) -> str | None:
        """What stands between the labels of a recording; None: it has one."""
        return self.listing.label_separator

    @functools.cached_property
    def shards(self) -> list[Shard]:
        """The shards that the store has, or will have."""
        return _cut_into_shards(self.listing)

    @functools.cached_property
    def digest(self) -> str:
        """Of all that is known of the recordings once they are listed."""
        digest = hashlib.blake2b(digest_size=16)
        for recording in self.listing.recordings:
            digest.update(json.dumps([recording.path, *listed_facts(recording)]).encode() + b"\n")
        return digest.hexdigest()

    def part(self, shard: tuple[int, int]) -> tuple[dict[str, Any], list[Recording], list[Shard]]:
        """Of part I of N: how its part.json begins, its recordings and its shards."""
        number, of = shard
        if not 1 <= number <= of:
            raise SettingError("shard", f"{number}/{of}", "must be I/N with 1 <= I <= N")
        first = len(self.shards) * (number - 1) // of
        shards = self.shards[first : len(self.shards) * number // of]
        own = self.listing.recordings[shards[0].first : shards[-1].end] if shards else []
        part = {"number": number, "of": of, "first_shard": first, "listing": self.digest}
        return {**self.about, "part": part}, own, shards


def plan(
    data: Any,
    feature: str | FeatureSpec,
    *,
    name: str | None = None,
    cut: Cut | None = None,
    clip_s: float | None = None,
    hop_s: float | None = None,
    short: str | None = None,
    min_rms: float | None = None,
    dtype: str | None = None,
    threads: int | None = None,
    inside_only: bool = False,
    labelling: Labelling | None = None,
    **labels: Any,
) -> Work:
    """Check the settings, then list the data.

    Args:
        data: anything that `data.listing.list_recordings` takes.
        feature: a preset or a spec.
        name: what the features are called, by default the preset, or "custom".
        cut: how recordings become clips, by default `Cut()`, or `Cut(clip_s=0)`, whole recordings,
            for kind samples.
        clip_s: replaces the field of `cut`, as do `hop_s`, `short` and `min_rms`.
        hop_s: seconds from clip to clip.
        short: what becomes of a recording shorter than a clip.
        min_rms: clips below this level are left out.
        dtype: float32 (default) or float16; of samples int16 (default) or float32.
        threads: how many to use, by default one for every core.
        inside_only: a recording outside of the data set, by a link or by a path in a table, fails.
        labelling: where the labels stand. Of recordings with labelled stretches only the clips that
            have a label are stored, or all if there is a `background`.
        **labels: fields of `labelling`, such as label_by="species" or label_separator=";".

    Returns:
        What is to be made. The store has the task `several` if a clip may have several labels.

    Raises:
        SettingError: an impossible setting.
        DataError: the data holds no recording or no label.
    """
    spec = FeatureSpec.preset(feature) if isinstance(feature, str) else feature
    samples = spec.kind == "samples"
    cut = cut or (Cut(clip_s=0) if samples else Cut())
    cut = cut.replace(clip_s=clip_s, hop_s=hop_s, short=short, min_rms=min_rms)
    if dtype is None:
        dtype = "int16" if samples else "float32"
    if threads is not None and threads < 1:
        raise SettingError("threads", threads, "must be >= 1")
    if dtype not in DTYPES:
        raise ChoiceError("dtype", str(dtype), DTYPES)
    row_shape = clip_shape(spec.to_json(), cut.to_json(), dtype)
    labelling = replace(labelling or Labelling(), **labels)
    listing = list_recordings(data, labelling=labelling, inside_only=inside_only)
    check_labels(listing)
    about = {
        "format": FORMAT,
        "version": PLAIN_VERSION,
        "engine": __version__,
        "feature": name or (feature if isinstance(feature, str) else "custom"),
        "spec": spec.to_dict(),
        **cut.to_dict(),
        "dtype": dtype,
        "data": escape(str(Path(listing.root).absolute()))
        if isinstance(data, (str, os.PathLike)) and not is_url(data)
        else listing.root,
    }
    about |= describe_labels(about, labelling, listing.recordings)
    return Work(about, spec, cut, row_shape, listing, threads or count_usable_cores())


def _cut_into_shards(listing: Listing) -> list[Shard]:
    """Cut the recordings into shards; see `SHARD_RECORDINGS`."""
    sizes = [
        recording.n_bytes if file else 0
        for recording, file in zip(listing.recordings, listing.files, strict=True)
    ]
    most_recordings = max(SHARD_RECORDINGS, -(-len(sizes) // MOST_SHARDS))
    most_bytes = max(SHARD_BYTES, -(-sum(sizes) // MOST_SHARDS))
    shards: list[Shard] = []
    start = size = 0
    for i, n_bytes in enumerate(sizes, start=1):
        size += n_bytes
        if i - start == most_recordings or size >= most_bytes or i == len(sizes):
            shards.append(Shard(len(shards), start, i))
            start, size = i, 0
    return shards
