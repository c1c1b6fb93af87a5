"""weights.safetensors: which tensors it holds, and whether they are what was written."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiocls.classifier.description import WEIGHTS, model_folder
from audiocls.errors import DataError
from audiocls.files import LARGEST_DOCUMENT, open_regular

# No network here has more weights.
_LARGEST = 4 << 30
# Where the header keeps the SHA-256 of the data.
_CHECKSUM = "sha256_of_data"
# What a network keeps beside its trained numbers.
_BUFFERS = frozenset((
    "mean", "deviation", "temperature", "offset",
    "running_mean", "running_var", "num_batches_tracked",
))  # fmt: skip


@dataclass(frozen=True)
class WeightsHeader:
    """Which tensors a safetensors file holds, and where.

    The format: https://github.com/huggingface/safetensors.
    """

    entries: dict[str, dict[str, Any]]  # name → dtype, shape, data_offsets
    start: int  # where the data begins: offset 0 of data_offsets
    identity: str  # SHA-256 of the header
    checksum: str | None  # SHA-256 of the data; None in files of earlier versions


def read_header(file: Path) -> WeightsHeader:
    """Reads the header of a file; the data must all be there.

    Raises:
        DataError: the file is damaged or missing.
        OSError: it is no regular file.
    """
    return _read(file, whole=False)[0]


def read_weights(file: Path) -> tuple[WeightsHeader, bytes]:
    """Reads the header and the whole file, and checks the data; raises as `read_header`."""
    header, content = _read(file, whole=True)
    if header.checksum is not None:
        data = memoryview(content)[header.start :]
        if hashlib.sha256(data).hexdigest() != header.checksum:
            raise DataError(f"{str(file)!r} is damaged: its data has another checksum")
    return header, content


def add_checksum(encoded: bytes) -> bytes:
    """Returns a safetensors file with the checksum of its data in its header."""
    (size,) = struct.unpack("<Q", encoded[:8])
    entries, data = json.loads(encoded[8 : 8 + size]), encoded[8 + size :]
    metadata = entries.pop("__metadata__", {}) | {_CHECKSUM: hashlib.sha256(data).hexdigest()}
    header = json.dumps({"__metadata__": metadata} | entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data


def count_stored_parameters(path: str | Path) -> int:
    """Returns the number of trained numbers of a saved model, from the header of its weights."""
    entries = read_header(model_folder(path) / WEIGHTS).entries
    return sum(
        math.prod(entry["shape"])
        for name, entry in entries.items()
        if name.rpartition(".")[2] not in _BUFFERS
    )


def _read(file: Path, whole: bool) -> tuple[WeightsHeader, bytes]:
    try:
        with open_regular(file, _LARGEST) as (weights, n_bytes):
            begin = weights.read(8)
            (size,) = struct.unpack("<Q", begin)
            if size > min(n_bytes, LARGEST_DOCUMENT):
                raise ValueError("its header is cut short")
            header = weights.read(size)
            entries = json.loads(header)
            metadata = entries.pop("__metadata__", {})
            end = 8 + size
            for name, entry in entries.items():
                first, last = entry["data_offsets"]
                if not 0 <= first <= last <= n_bytes - end:
                    raise ValueError(f"{name} is cut short")
                math.prod(entry["shape"])
            found = WeightsHeader(
                entries, end, hashlib.sha256(header).hexdigest(), metadata.get(_CHECKSUM)
            )
            return found, begin + header + weights.read() if whole else b""
    except FileNotFoundError:
        raise DataError(f"{str(file)!r} is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise DataError(f"{str(file)!r} is damaged: {error}") from None
    except RecursionError:
        raise DataError(f"{str(file)!r} is damaged: its header is nested too deep") from None
