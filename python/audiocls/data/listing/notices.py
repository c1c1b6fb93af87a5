"""Notices on a data set: what was left out, which folders give nothing, where labels may stand."""

from __future__ import annotations

import re
from collections import Counter

from audiocls.data.listing.folder import NO_FOLDER
from audiocls.data.recordings import Listing
from audiocls.data.tables import SUFFIXES
from audiocls.errors import DataError
from audiocls.files import escape


def check_labels(listing: Listing) -> None:
    """Raises DataError for a data set without a recording, or without any label."""
    if not listing.recordings:
        said = "".join(f"; {notice}" for notice in listing.notices)
        n = len(listing.others)
        raise DataError(f"{listing.root}: holds no recordings ({n} other files){said}")
    if not any(r.label or r.events is not None for r in listing.recordings):
        example = next(r for r in listing.recordings if r.error)
        told = [
            *notice_label_hints(listing),
            f"for instance {escape(example.path)}: {example.error}",
        ]
        raise DataError(f"{listing.root}: no recording has a label; {'; '.join(told)}")


def notice_left_out(listing: Listing) -> list[str]:
    """A notice that counts the files that are no recordings, by their endings."""
    endings = Counter(_ending(path) for path in listing.others)
    counted = [
        f"{n} {ending}" for ending, n in sorted(endings.items(), key=lambda e: (-e[1], e[0]))
    ]
    if listing.n_hidden:
        counted.append(f"{listing.n_hidden} hidden")
    return [f"left out: {', '.join(counted)}"] if counted else []


def _ending(path: str) -> str:
    name = path.rpartition("/")[2]
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    return f".{ending}" if ending and len(ending) <= 12 else "without an ending"


def notice_empty_folders(listing: Listing) -> list[str]:
    """A notice for each class folder that gives no recording."""
    depth = 2 if any(r.split for r in listing.recordings) else 1
    classes = {r.label for r in listing.recordings}
    paths = [r.path for r in listing.recordings]
    found = []
    for folder in sorted(listing.folders):
        parts = folder.split("/")
        if len(parts) != depth or parts[-1] in classes:
            continue
        if any(path.startswith(f"{folder}/") for path in paths):
            continue
        inside = Counter(_ending(p) for p in listing.others if p.startswith(f"{folder}/"))
        holds = ", ".join(f"{n} {ending}" for ending, n in inside.most_common()) or "nothing"
        found.append(f"folder {folder} gives no recording, so no class: it holds {holds}")
    return found


def notice_label_hints(listing: Listing) -> list[str]:
    """Where the labels may stand if not in the first folder: a notice with the option to give."""
    if listing.no_label != NO_FOLDER or not listing.recordings:
        return []
    paths = [r.path for r in listing.recordings]
    labels = Counter(r.label for r in listing.recordings)
    tables = [p for p in listing.others if p.lower().endswith(SUFFIXES)]
    found = []
    if set(labels) == {""}:
        how = _where(paths, tables) or "`label_by` takes an expression for the path"
        found.append(f"no recording is in a class folder: {how}")
    elif len(labels) == 1 and not any(r.split for r in listing.recordings):
        (only,) = labels
        deeper = _second_level(paths)
        how = deeper or _where([path.rpartition("/")[2] for path in paths], tables)
        found += [f"all recordings are in one folder, {only!r}: {how}"] if how else []
    elif deeper := _second_level(paths):
        found.append(deeper)
    found += [
        f"folder {label} is taken as a class: `exclude` {label} leaves it out"
        for label in sorted(labels)
        if label.startswith("_")
    ]
    return found


def _where(paths: list[str], tables: list[str]) -> str:
    """The option for a table that is there, or for names that all have a part that recurs."""
    if tables:
        return f"if a table has the labels, `table` {min(tables, key=lambda t: (t.count('/'), t))}"
    names = [path.rpartition("/")[2].rpartition(".")[0] for path in paths]
    for separator in "_- ":
        parts = [name.split(separator) for name in names]
        if min(map(len, parts)) < 2:
            continue
        for place in range(min(map(len, parts))):
            values = Counter(part[place] for part in parts)
            if 2 <= len(values) <= max(2, len(paths) // 3) and min(values.values()) > 1:
                before = f"[^/{separator}]*{separator}" * place
                pattern = f"(?:^|/){before}([^/{separator}]+){separator}[^/]*$"
                if place == 0 and not any("/" in path for path in paths):
                    pattern = f"^([^{separator}]+){separator}"
                shown = ", ".join(sorted(values)[:3])
                return (
                    f"if their names hold the labels ({shown}, …), `label_by` '{pattern}'; "
                    "an expression for the path"
                )
    return ""


def _second_level(paths: list[str]) -> str:
    """A hint if the folders of the second level look like the classes: they recur."""
    parts = [path.split("/") for path in paths]
    if any(len(p) < 3 for p in parts):
        return ""
    inner: dict[str, set[str]] = {}
    for top, second, *_ in parts:
        inner.setdefault(top, set()).add(second)
    all_inner = set().union(*inner.values())
    recurring = [name for name in all_inner if sum(name in own for own in inner.values()) > 1]
    alone = len(inner) == 1
    if len(all_inner) < 2 or not (alone or 2 * len(recurring) > len(all_inner)):
        return ""
    if alone and all(re.fullmatch(r"\D*\d+", name) for name in all_inner):
        return ""  # fold1, fold2, …
    shown = ", ".join(sorted(all_inner)[:3])
    return (
        f"folders of the second level recur ({shown}, …): if they are the classes, "
        "`label_by` '^[^/]+/([^/]+)/'"
    ) if not alone else (
        f"if the folders in it are the classes ({shown}, …), `label_by` '^[^/]+/([^/]+)/'"
    )  # fmt: skip
