"""What the file system says of a file that a listing names."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from audiocls.data.recordings import Recording

# Of a file: its bytes, and when it was changed in nanoseconds since 1970.
Status = tuple[int, int]


def read_status(file: str) -> tuple[Status | None, str]:
    """The file's status, and why it is no recording ("" if it may be one)."""
    try:
        found = Path(file).stat()
    except FileNotFoundError:
        return None, "is a symbolic link to nothing" if Path(file).is_symlink() else "no such file"
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        return None, getattr(error, "strerror", None) or str(error)
    status = found.st_size, found.st_mtime_ns
    if stat.S_ISDIR(found.st_mode):
        return status, "is a folder, not a recording"
    if not stat.S_ISREG(found.st_mode):
        return status, "is a pipe, socket or device, not a recording"
    return status, ""


OUTSIDE = "lies outside the data set"


def is_inside(file: str, root: str) -> bool:
    """Whether a file lies below the folder `root` once all links are followed."""
    real = os.path.realpath(root)
    try:
        return os.path.commonpath([real, os.path.realpath(file)]) == real
    except ValueError:  # another drive, or no name of a file
        return False


def set_file(recording: Recording, status: Status | None, error: str) -> None:
    """Puts size, time and failure of its file into a recording."""
    if status is not None:
        recording.n_bytes, recording.mtime_ns = status
    if error:
        recording.status, recording.error = "failed", error
