"""Which recordings train, validate and test: by group, stratified by class, audited.

All clips of a recording, and all recordings of a group, are in one part. Without that a score
measures memory: the clips of one note are nearly the same clip.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocls.data.grouping import find_groups
from audiocls.data.recordings import SPLIT_NAMES
from audiocls.errors import DataError, SettingError

if TYPE_CHECKING:
    from audiocls.data.recordings import Recording

PARTS = ("train", "val", "test")
TRAIN, VAL, TEST = range(3)
LOGO = "logo"  # leave one group out
SHARES = (0.70, 0.15, 0.15)
GIVEN = {name: PARTS.index(part) for name, part in SPLIT_NAMES.items()}


@dataclass(frozen=True)
class Split:
    """The part of each recording, by path, so that it holds for every store of the data set."""

    part: dict[str, int]  # recording path → TRAIN, VAL or TEST
    group: dict[str, str]  # recording path → its group
    label: dict[str, str]  # recording path → its class
    method: str = ""  # how it was made, for people
    group_by: str = "recording"
    fold: str | None = None
    seed: int = 0
    warnings: list[str] = field(default_factory=list)
    # Recording path → its labels, where it may have several.
    several: dict[str, tuple[str, ...]] | None = None
    recordings_per_class: int | None = None  # of a training part that was made smaller

    def labels(self, path: str) -> tuple[str, ...]:
        """Returns the labels of a recording."""
        return (self.label[path],) if self.several is None else self.several[path]

    def counts(self) -> dict[str, dict[str, int]]:
        """Returns the number of recordings and groups of each part."""
        return {
            name: {
                "recordings": sum(p == i for p in self.part.values()),
                "groups": len({self.group[path] for path, p in self.part.items() if p == i}),
            }
            for i, name in enumerate(PARTS)
        }

    def settings(self) -> dict[str, Any]:
        """Returns how it was made, as metrics.json shows it."""
        names = ("group_by", "fold", "seed", "method")
        few = self.recordings_per_class
        return {name: getattr(self, name) for name in names} | (
            {} if few is None else {"recordings_per_class": few}
        )

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Returns the header and a row a recording: path, label, group, part."""
        rows = [
            [name, self.label[name], self.group[name], PARTS[p]] for name, p in self.part.items()
        ]
        return ["path", "label", "group", "part"], rows


def keep_usable(recordings: Sequence[Recording]) -> list[Recording]:
    """Returns the recordings that gave at least one clip."""
    return [r for r in recordings if r.n_clips > 0]


def make_split(
    recordings: Sequence[Recording],
    labels: Sequence[Sequence[str]] | None = None,
    *,
    group_by: str | None = None,
    fold: str | None = None,
    seed: int = 0,
) -> Split:
    """Splits recordings into train, validation and test by group, stratified by class.

    Without `fold`, a `split` column of the data set is used; a part that it lacks is taken out of
    its training part. Without such a column the parts get 70 / 15 / 15 % of each class. The same
    recordings, in any order, and the same seed give the same split.

    Args:
        recordings: of the data set; those without a clip are left out.
        labels: of each recording by its id, if it may have several (`Store.recording_labels`);
            None: the one that it has.
        group_by: what stays together: a column, or an expression searched in the path.
        fold: "K/N": the groups fall into N stratified folds, and fold K (from 1) is the test part.
            "K/logo": leave one group out; the K-th group by name is the test part. In both, 15 % of
            the rest is for validation.
        seed: of the draws.

    Raises:
        SettingError: `fold` is invalid.
        DataError: no honest split exists: there are fewer groups than parts, or a class has no
            group left for training.
    """
    recordings = sorted(keep_usable(recordings), key=lambda r: r.path)
    table = _tabulate(recordings, labels, group_by)
    rng = np.random.default_rng(seed)
    given = _given(recordings)
    warnings: list[str] = []
    if given is not None:
        if fold is not None:
            rule = "the data set brings its own `split` column, which leaves nothing to fold"
            raise SettingError("fold", fold, rule)
        parts, method = _complete(given, table, rng)
        warnings += _straddling(parts, table.groups)
    else:
        of_group, method = _deal(table, rng) if fold is None else _fold(fold, table, rng)
        parts = of_group[table.rows]
    warnings += _check(parts, table)

    paths = [r.path for r in recordings]
    own_groups = group_by is None and any(r.group != r.path for r in recordings)
    return Split(
        part=dict(zip(paths, parts.tolist(), strict=True)),
        group=dict(zip(paths, table.groups, strict=True)),
        label={r.path: r.label for r in recordings},
        method=method,
        group_by="group" if own_groups else group_by or "recording",
        fold=fold,
        seed=seed,
        warnings=warnings,
        several=None if labels is None else dict(zip(paths, table.labels, strict=True)),
    )


@dataclass(frozen=True)
class _Table:
    """Recordings by group and class."""

    groups: list[str]  # [n], of each recording
    labels: list[tuple[str, ...]]  # [n], of each recording
    names: list[str]  # of the groups, in order
    classes: list[str]
    rows: NDArray[np.int64]  # [n]: the index in `names` of each recording's group
    counts: NDArray[np.int64]  # [n_groups, n_classes]: recordings; one counts for each label


def _tabulate(
    recordings: Sequence[Recording], labels: Sequence[Sequence[str]] | None, group_by: str | None
) -> _Table:
    """Counts the recordings of every group and class; DataError for fewer than two classes."""
    groups = find_groups(recordings, group_by)
    own_labels = [(r.label,) if labels is None else tuple(labels[r.id]) for r in recordings]
    classes = sorted({label for own in own_labels for label in own})
    if len(classes) < 2:
        which = f": {classes[0]!r}" if classes else ""
        raise DataError(f"{len(classes)} class with usable recordings{which}; at least 2 needed")
    names = sorted(set(groups))
    row_of, column_of = ({name: i for i, name in enumerate(x)} for x in (names, classes))
    rows = np.array([row_of[group] for group in groups])
    counts = np.zeros((len(names), len(classes)), np.int64)
    columns = np.array([column_of[label] for own in own_labels for label in own])
    np.add.at(counts, (np.repeat(rows, [len(own) for own in own_labels]), columns), 1)
    return _Table(groups, own_labels, names, classes, rows, counts)


def _deal(table: _Table, rng: np.random.Generator) -> tuple[NDArray[np.int64], str]:
    """Returns the part of each group, [n_groups], and the method that chose it."""
    _enough(table.names, len(PARTS), "train, val and test")
    method = "stratified by class, whole groups, 70/15/15 %"
    return assign_groups(table.counts, SHARES, rng), method


def assign_groups(
    counts: NDArray[np.int64], shares: Sequence[float], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Deals whole groups into parts so that each part holds its share of every class.

    Greedy, as in Sechidis et al. 2011, "On the stratification of multi-label data": groups in
    random order, each to the part where it lowers Σ (have − wanted)² most. A class counts as much
    as any other and as the whole. The best of several orders is kept. Then a part that has none of
    a class gets the class's smallest spare group: first train, then test, so that a class with two
    groups is trained and tested.

    Args:
        counts: [n_groups, n_classes] examples; one with several labels counts for each.
        shares: of each part.
        rng: draws the orders.

    Returns:
        The part of each group, int64 [n_groups].
    """
    weighed = np.column_stack([counts, counts.sum(axis=1)])  # the last column is the whole
    total = weighed.sum(axis=0)
    share_of_class = weighed / np.maximum(total, 1)
    wanted = np.asarray(shares)[:, None] * (total > 0)
    best, best_cost = np.zeros(len(counts), np.int64), np.inf
    for _ in range(max(1, min(20, 20_000 // max(len(counts), 1)))):
        part = np.empty(len(counts), np.int64)
        have = np.zeros_like(wanted)
        for g in rng.permutation(len(counts)):
            own = np.flatnonzero(weighed[g])
            s = share_of_class[g, own]
            cost = (s * (s + 2 * (have[:, own] - wanted[:, own]))).sum(axis=1)
            part[g] = np.argmin(cost)
            have[part[g], own] += s
        deviation = float(((have - wanted) ** 2).sum())
        if deviation < best_cost:
            best, best_cost = part, deviation
    _cover(best, counts, len(shares))
    return best


def _cover(part: NDArray[np.int64], counts: NDArray[np.int64], n_parts: int) -> None:
    """Moves single groups so that every part has every class, if enough groups exist."""
    has = counts > 0
    for c in np.argsort(has.sum(axis=0), kind="stable"):  # the rarest class chooses first
        for p in (0, *range(n_parts - 1, 0, -1)):
            if has[part == p, c].any():
                continue
            per_part = np.stack([has[part == q].sum(axis=0) for q in range(n_parts)])
            # A group is spare when each of its classes stays in the part that it leaves.
            spare = [g for g in np.flatnonzero(has[:, c]) if (per_part[part[g], has[g]] >= 2).all()]
            if spare:
                part[min(spare, key=lambda g: int(counts[g].sum()))] = p


def _given(recordings: Sequence[Recording]) -> NDArray[np.int64] | None:
    """Returns the parts of a given `split` column; None if the data set has none."""
    named = [r for r in recordings if r.split]
    if not named:
        return None
    for r in recordings:
        if not r.split:
            raise DataError(
                f"recording {r.path!r} has no value in column 'split', {len(named)} others have"
            )
        if r.split.lower() not in GIVEN:
            raise DataError(
                f"split {r.split!r} of recording {r.path!r} is invalid: "
                f"must be one of {', '.join(GIVEN)}"
            )
    parts = np.array([GIVEN[r.split.lower()] for r in recordings if r.split], np.int64)
    if not (parts == TRAIN).any():
        raise DataError("column 'split' puts no usable recording into 'train'")
    return parts


def _complete(
    parts: NDArray[np.int64], table: _Table, rng: np.random.Generator
) -> tuple[NDArray[np.int64], str]:
    """Takes the parts that a given split lacks out of its training part, by group.

    Returns:
        The part of each recording, [n], and the method that chose it.
    """
    parts, method = parts.copy(), "the data set's `split` column"
    for lacking in (VAL, TEST):
        if (parts == lacking).any():
            continue
        inside = np.unique(table.rows[parts == TRAIN])
        _enough([str(g) for g in inside], 2, f"train and {PARTS[lacking]}")
        shares = (1 - SHARES[lacking], SHARES[lacking])
        chosen = inside[assign_groups(table.counts[inside], shares, rng) == 1]
        parts[np.isin(table.rows, chosen) & (parts == TRAIN)] = lacking
        method += f"; {PARTS[lacking]} taken out of train, by group"
    return parts, method


def _fold(fold: str, table: _Table, rng: np.random.Generator) -> tuple[NDArray[np.int64], str]:
    """Returns the part of each group, [n_groups], for a fold "K/N" or "K/logo", and the method."""
    match = re.fullmatch(r"(\d+)/(\d+|logo)", fold)
    if match is None:
        raise SettingError("fold", fold, "must be K/N, e.g. 1/5, or K/logo, e.g. 1/logo")
    names, counts = table.names, table.counts
    k, by_group = int(match[1]), match[2] == LOGO
    n = len(names) if by_group else int(match[2])
    if n < 2:
        raise SettingError("fold", fold, "at least 2 folds are needed")
    if not 1 <= k <= n:
        of = f"{n} groups" if by_group else f"{n} folds"
        raise SettingError("fold", fold, f"K must be 1 to {n}, there are {of}")
    _enough(names, max(n, 3), f"{n} folds and a validation part")
    if by_group:
        test = np.arange(n) == k - 1
        method = f"leave one group out: {names[k - 1]!r} ({k} of {n}) is tested"
    else:
        test = assign_groups(counts, [1 / n] * n, rng) == k - 1
        method = f"fold {k} of {n}, stratified by class, whole groups"
    parts = np.full(len(names), TEST)
    parts[~test] = assign_groups(counts[~test], (1 - SHARES[VAL], SHARES[VAL]), rng)
    return parts, method


def _enough(names: list[str], needed: int, what: str) -> None:
    if len(names) < needed:
        shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        raise DataError(
            f"{len(names)} group(s) ({shown}) are too few for {what}: >= {needed} needed"
        )


def _check(parts: NDArray[np.int64], table: _Table) -> list[str]:
    """Returns what to warn of; DataError for an empty part, or a class that is not trained."""
    groups, labels = table.groups, table.labels
    for p, name in enumerate(PARTS):
        if not (parts == p).any():
            raise DataError(
                f"the {name} part is empty: {len(set(groups))} groups of {len(labels)} "
                "recordings cannot be split; use smaller groups"
            )
    has = {(label, int(p)) for own, p in zip(labels, parts, strict=True) for label in own}
    for c in table.classes:
        if (c, TRAIN) in has:
            continue
        where = sorted({g for own, g in zip(labels, groups, strict=True) if c in own})
        shown = ", ".join(where[:5]) + (" …" if len(where) > 5 else "")
        raise DataError(
            f"class {c!r} has no recording left for training: its {len(where)} group(s) ({shown}) "
            "are all in the other parts"
        )
    absent = {p: [c for c in table.classes if (c, p) not in has] for p in (VAL, TEST)}
    return [
        f"no recording of {', '.join(names)} in the {PARTS[p]} part: too few groups"
        for p, names in absent.items()
        if names
    ]


def _straddling(parts: NDArray[np.int64], groups: list[str]) -> list[str]:
    """Returns a warning if a given split cuts through groups."""
    where = Counter(g for g, _ in set(zip(groups, parts.tolist(), strict=True)))
    cut = sorted(g for g, n in where.items() if n > 1)
    if not cut:
        return []
    shown = ", ".join(cut[:5]) + (" …" if len(cut) > 5 else "")
    return [f"the given split has {len(cut)} group(s) in more than one part: {shown}"]
