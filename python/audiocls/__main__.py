"""The command `audiocls`, and `python -m audiocls`."""

from __future__ import annotations

import io
import os
import sys

INTERRUPTED = "interrupted; everything finished so far is kept"


def _prepare_streams() -> None:
    """Any text can be written, whatever the terminal's encoding, and to what is closed, nothing."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main() -> None:
    """Runs the command line. Ctrl-C ends it with 130 at any moment, from its first import on."""
    _prepare_streams()
    try:
        from audiocls.cli import main as command_line

        command_line()
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
    except SystemExit as end:
        if end.code != 130:
            raise
    # Not by the interpreter's own end, which waits for threads: one may be blocked in a read that
    # never returns. What has to be whole is written whole.
    if fallback := sys.modules.get("audiocls.engine._fallback"):
        fallback.end_all()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(130)


if __name__ == "__main__":
    main()
