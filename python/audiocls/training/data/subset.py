"""A smaller training part, to learn how many recordings are needed."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np

from audiocls.errors import SettingError
from audiocls.training.data.splits import TRAIN, Split


def draw_subset(split: Split, per_class: int, seed: int) -> Split:
    """Returns the split with a training part of `per_class` recordings a class, in whole groups.

    Of a class there are at least so many, and no group more than that needs. Validation and test
    stay. Subsets of one seed are nested: one of more recordings holds those of fewer.

    Raises:
        SettingError: a class has fewer recordings.
    """
    paths = sorted(path for path, part in split.part.items() if part == TRAIN)
    members: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        members[split.group[path]].append(path)
    there = Counter(label for path in paths for label in split.labels(path))
    for label, n in sorted(there.items(), key=lambda item: item[1]):
        if n < per_class:
            rule = f"the training part has {n} of class {label!r}"
            raise SettingError("recordings_per_class", per_class, rule)
    names = sorted(members)
    order = np.random.default_rng(seed).permutation(len(names))
    waiting: dict[str, list[str]] = {label: [] for label in there}
    for i in order[::-1]:  # the last is taken first
        for label in {label for path in members[names[i]] for label in split.labels(path)}:
            waiting[label].append(names[i])
    taken: set[str] = set()
    have: Counter[str] = Counter()
    for wanted in range(1, per_class + 1):  # one by one, so that subsets are nested
        for label in sorted(waiting):
            while have[label] < wanted:
                group = waiting[label].pop()
                if group not in taken:
                    taken.add(group)
                    for path in members[group]:
                        have.update(split.labels(path))
    kept = {
        path: part
        for path, part in split.part.items()
        if part != TRAIN or split.group[path] in taken
    }
    return replace(split, part=kept, recordings_per_class=per_class)
