"""What lies behind URLs, such as s3://bucket/folder, by fsspec (extra `remote`)."""

from __future__ import annotations

from typing import Any

from audiocls.errors import AudioclsError, DataError, SettingError, condense_message


def is_url(path: object) -> bool:
    """Tells whether a path is a URL."""
    return isinstance(path, str) and "://" in path


def connect(what: str, url: str) -> tuple[Any, str]:
    """The file system behind a URL, and the path there. `what` is the argument that the URL was.

    Raises SettingError where fsspec is missing or knows nothing that can reach it.
    """
    try:
        import fsspec
    except ImportError:
        raise SettingError(what, url, _needs("fsspec")) from None
    try:
        fs, root = fsspec.core.url_to_fs(url)
        fs.invalidate_cache()  # others write there
    except Exception as error:  # what a file system raises is its own affair
        raise translate_error(what, url, error, "reached") from None
    return fs, root.rstrip("/")


def translate_error(what: str, url: str, error: Exception, done: str) -> AudioclsError:
    """The error to raise where something cannot be `done` (listed, read, written) at a URL."""
    if isinstance(error, ImportError):
        return SettingError(what, url, _needs(condense_message(error)))
    if isinstance(error, FileNotFoundError):
        return SettingError(what, url, "there is nothing")
    if isinstance(error, ValueError) and "rotocol" in str(error):
        return SettingError(what, url, condense_message(error))
    return DataError(f"{url}: cannot be {done}: {condense_message(error)}")


def _needs(what: str) -> str:
    return f"reading it needs more ({what}): pip install 'audiocls[remote]'"
