"""Recordings as rows of numbers: written to a file, and compared."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audiocls.errors import SettingError
from audiocls.files import replace_file, write_csv

ENDINGS = (".npy", ".parquet")


def check_out(out: Path) -> None:
    """Raises SettingError if embeddings cannot be written to `out`."""
    if out.suffix not in ENDINGS:
        raise SettingError("out", str(out), f"must end with {' or '.join(ENDINGS)}")
    if out.is_dir():
        raise SettingError("out", str(out), "is a folder; the file to write is needed")
    if out.suffix == ".parquet":
        import pyarrow  # noqa: F401  # missing, it is said before the work


def write_embeddings(
    out: Path,
    embeddings: NDArray[np.float32],
    paths: Sequence[str],
    starts_s: Sequence[float] | None = None,
) -> list[Path]:
    """Writes embeddings [n, size] with their recordings, and for clips with their starts.

    A Parquet file has the columns path, start_s and embedding. Beside a .npy file, which holds
    numbers
    alone, a .csv of the same name says what its rows are. Returns the files.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    columns: dict[str, list[str] | list[float]] = {"path": list(paths)}
    columns |= {} if starts_s is None else {"start_s": list(starts_s)}
    data = io.BytesIO()
    if out.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        flat = pyarrow.array(embeddings.reshape(-1))
        rows = pyarrow.FixedSizeListArray.from_arrays(flat, embeddings.shape[1])
        # A path that is not UTF-8 is shown escaped.
        columns["path"] = [p.encode(errors="backslashreplace").decode() for p in paths]
        pyarrow.parquet.write_table(pyarrow.table({**columns, "embedding": rows}), data)
        replace_file(out, data.getvalue())
        return [out]
    np.save(data, embeddings, allow_pickle=False)
    table = out.with_suffix(".csv")
    write_csv(table, list(columns), zip(*columns.values(), strict=True))
    replace_file(out, data.getvalue())
    return [out, table]


def find_nearest(
    query: ArrayLike, embeddings: ArrayLike, most: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The rows of `embeddings` [n, size] that are most like `query` [size], the nearest first.

    Returns their numbers, and the cosine of the angle to the query: 1 for the same direction.
    """
    x, y = np.asarray(query, np.float64), np.asarray(embeddings, np.float64)
    lengths = np.linalg.norm(y, axis=1) * np.linalg.norm(x)
    cosines = np.divide(y @ x, lengths, out=np.zeros(len(y)), where=lengths > 0)
    order = np.argsort(-cosines, kind="stable")[:most]
    return order, cosines[order]
