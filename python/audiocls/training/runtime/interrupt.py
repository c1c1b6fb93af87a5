"""Ctrl-C between batches: an exception inside a backward pass may abort torch."""

from __future__ import annotations

import signal
import threading


class CtrlC:
    """Takes Ctrl-C while it is open; `check` raises the KeyboardInterrupt."""

    def __enter__(self) -> CtrlC:
        self.asked = False
        # Only the main thread may set handlers, and a caller's own handler stays.
        self.ours = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self.ours:
            signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, *_: object) -> None:
        self.asked = True

    def check(self) -> None:
        """Raises KeyboardInterrupt if it was asked for."""
        if self.asked:
            raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        if self.ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
