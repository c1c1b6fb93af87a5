"""Files that are complete or absent, whatever happens while they are written."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole: even after a crash a reader finds the old or the new one."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_bytes(data)
    make_durable(temporary)
    temporary.replace(path)
    if os.name == "posix":
        make_durable(path.parent)  # the name is in the folder


def make_durable(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
