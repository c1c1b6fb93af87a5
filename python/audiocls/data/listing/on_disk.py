"""What the file system says of a file that a listing names."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from audiocls.data.recordings import Recording


def file_status(file: str) -> tuple[os.stat_result | None, str]:
    """The file's status, and why it is no recording ("" if it may be one)."""
    try:
        status = Path(file).stat()
    except FileNotFoundError:
        return None, "is a symbolic link to nothing" if Path(file).is_symlink() else "no such file"
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        return None, getattr(error, "strerror", None) or str(error)
    if stat.S_ISDIR(status.st_mode):
        return status, "is a folder, not a recording"
    if not stat.S_ISREG(status.st_mode):
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


def set_file(recording: Recording, status: os.stat_result | None, error: str) -> None:
    if status is not None:
        recording.n_bytes, recording.mtime_ns = status.st_size, status.st_mtime_ns
    if error:
        recording.status, recording.error = "failed", error
