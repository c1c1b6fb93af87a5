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
    listing = Listing(str(root), no_label=NO_FOLDER)

    def add(relative: str, file: str, status: Status | None, error: str) -> None:
        recording = Recording(0, relative, find_top_folder(relative), relative)
        set_file(recording, status, error)
        listing.add(recording, file)

    # A stack of its own: folders may be nested more deeply than Python calls. Links to folders come
    # last, so that a folder is listed where it is. Each is listed once: of n links to one folder
    # in each of m folders, n ** m paths lead to it.
    folders: list[_Folder] = [("", str(root), frozenset())]
    links: list[_Folder] = []
    seen: set[tuple[int, int]] = set()
    again: list[str] = []
    while folders or links:
        if not folders:
            links.sort(key=lambda link: os.fsencode(link[0]), reverse=True)
            folders.append(links.pop())
        prefix, folder, above = folders.pop()
        try:
            status = Path(folder).stat()
            identity = status.st_dev, status.st_ino
            if identity in above:
                text = f"{prefix[:-1]} leads back to a folder above it: left out"
                listing.notices.append(text)
                continue
            if identity in seen:
                again.append(prefix[:-1])
                continue
            entries = list(os.scandir(folder))
        except OSError as error:
            add(prefix.rstrip("/") or ".", folder, None, f"folder cannot be read: {error.strerror}")
            continue
        seen.add(identity)
        above |= {identity}
        if prefix and prefix.count("/") < 3:
            listing.folders.append(prefix[:-1])
        for entry in entries:
            if entry.name.startswith("."):
                listing.n_hidden += 1
                continue
            relative = prefix + entry.name
            is_audio = entry.name.rpartition(".")[2].lower() in AUDIO_SUFFIXES
            if _is_folder(entry):
                if is_audio:
                    add(relative, entry.path, None, "is a folder, not a recording")
                if inside_only and entry.is_symlink() and not is_inside(entry.path, str(root)):
                    add(relative, entry.path, None, OUTSIDE)
                else:
                    (links if entry.is_symlink() else folders).append(
                        (f"{relative}/", entry.path, above)
                    )
            elif is_audio:
                status_or_none, error_text = read_status(entry.path)
                add(relative, entry.path, status_or_none, error_text)
            else:
                listing.others.append(relative)
    if again:
        names = ", ".join(sorted(again)[:3]) + (", …" if len(again) > 3 else "")
        listing.notices.append(f"folders that are listed elsewhere are left out: {names}")
    return listing


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
