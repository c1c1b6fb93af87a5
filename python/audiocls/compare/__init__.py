"""Many trials on the same splits → who is better, how sure that is, and one page that shows it.

`compare` loads on first use: only what trains costs torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiocls.compare.grid import compare as compare

__all__ = ["compare"]


def __getattr__(name: str) -> Any:
    if name != "compare":
        raise AttributeError(f"module 'audiocls.compare' has no attribute {name!r}")
    from audiocls.compare.grid import compare

    return compare
