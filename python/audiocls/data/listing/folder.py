"""A folder with one folder per class, perhaps below folders such as `train` and `test`."""

from __future__ import annotations

import os
from pathlib import Path

from audiocls.data.listing.on_disk import OUTSIDE, Status, is_inside, read_status, set_file
from audiocls.data.recordings import SPLIT_NAMES, Listing, Recording

# A file is a recording if its name says so, whatever the case; its format is found by content.
AUDIO_SUFFIXES = frozenset((
    "3g2", "3gp", "3gpp", "aac", "aif", "aifc", "aiff", "au", "caf", "flac", "m4a", "m4b", "m4v",
    "mka", "mkv", "mov", "mp2", "mp3", "mp4", "mpga", "oga", "ogg", "opus", "qt", "rf64", "snd",
    "w64", "wav", "wave", "weba", "webm",
))  # fmt: skip


# Its path within the data set, with "/" at its end; its path; the folders above it.
_Folder = tuple[str, str, frozenset[tuple[int, int]]]


def list_folder(root: Path, inside_only: bool = False) -> Listing:
    """List the recordings below `root`.

    What cannot be one, for a reason seen from outside, is failed.

    Args:
        root: the folder.
        inside_only: follow no link to a folder elsewhere.
    """
    walk = _Walk(str(root), inside_only)
    while folder := walk.choose():
        walk.enter(*folder)
    if walk.again:
        names = ", ".join(sorted(walk.again)[:3]) + (", …" if len(walk.again) > 3 else "")
        walk.listing.notices.append(f"folders that are listed elsewhere are left out: {names}")
    return walk.listing


class _Walk:
    """A walk through folders, with a stack of its own: they may be nested more deeply than calls.

    Links to folders come last, so that a folder is listed at its own place. Each is listed once: of
    n links to one folder in each of m folders, n ** m paths lead to it.
    """

    def __init__(self, root: str, inside_only: bool) -> None:
        self.listing = Listing(root, no_label=NO_FOLDER)
        self.inside_only = inside_only
        self.again: list[str] = []  # folders that were listed elsewhere
        self._folders: list[_Folder] = [("", root, frozenset())]
        self._links: list[_Folder] = []
        self._seen: set[tuple[int, int]] = set()

    def choose(self) -> _Folder | None:
        """The next folder; None at the end."""
        if not self._folders and self._links:
            self._links.sort(key=lambda link: os.fsencode(link[0]), reverse=True)
            self._folders.append(self._links.pop())
        return self._folders.pop() if self._folders else None

    def enter(self, prefix: str, folder: str, above: frozenset[tuple[int, int]]) -> None:
        """Lists what is in a folder."""
        try:
            status = Path(folder).stat()
            identity = status.st_dev, status.st_ino
            if identity in above:
                text = f"{prefix[:-1]} leads back to a folder above it: left out"
                self.listing.notices.append(text)
                return
            if identity in self._seen:
                self.again.append(prefix[:-1])
                return
            entries = list(os.scandir(folder))
        except OSError as error:
            text = f"folder cannot be read: {error.strerror}"
            self._add(prefix.rstrip("/") or ".", folder, None, text)
            return
        self._seen.add(identity)
        if prefix and prefix.count("/") < 3:
            self.listing.folders.append(prefix[:-1])
        for entry in entries:
            if entry.name.startswith("."):
                self.listing.n_hidden += 1
            else:
                self._take(prefix + entry.name, entry, above | {identity})

    def _take(
        self, relative: str, entry: os.DirEntry[str], above: frozenset[tuple[int, int]]
    ) -> None:
        is_audio = entry.name.rpartition(".")[2].lower() in AUDIO_SUFFIXES
        if not _is_folder(entry):
            if is_audio:
                self._add(relative, entry.path, *read_status(entry.path))
            else:
                self.listing.others.append(relative)
            return
        if is_audio:
            self._add(relative, entry.path, None, "is a folder, not a recording")
        is_link = entry.is_symlink()
        if self.inside_only and is_link and not is_inside(entry.path, self.listing.root):
            self._add(relative, entry.path, None, OUTSIDE)
        else:
            (self._links if is_link else self._folders).append((f"{relative}/", entry.path, above))

    def _add(self, relative: str, file: str, status: Status | None, error: str) -> None:
        recording = Recording(0, relative, find_top_folder(relative), relative)
        set_file(recording, status, error)
        self.listing.add(recording, file)


NO_FOLDER = "is in no class folder"


def find_top_folder(relative: str) -> str:
    """The first folder of a path, "" if it has none."""
    return relative.split("/", 1)[0] if "/" in relative else ""


def take_split_folders(listing: Listing) -> None:
    """Where all folders are parts and the classes lie in them, the parts are the given split."""
    folders = [r.path.split("/")[:-1] for r in listing.recordings]
    tops = {inner[0] for inner in folders if inner}
    # A class may be called "train": then its recordings lie in it directly.
    nested = any(len(inner) > 1 for inner in folders)
    if not nested or any(top.lower() not in SPLIT_NAMES for top in tops):
        return
    for recording, inner in zip(listing.recordings, folders, strict=True):
        recording.split, recording.label = (*inner[:2], "", "")[:2]
    names = ", ".join(sorted(tops))
    listing.notices.append(f"folders {names} are taken as the split, those in them as the classes")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of symbolic links
        return False
