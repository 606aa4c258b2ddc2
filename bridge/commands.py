"""What staff can say to the bridge from a thread. One table for every platform."""

from __future__ import annotations

NOTE = "//"


def is_note(text: str) -> bool:
    """Tell whether a text is a note among staff, which never leaves their side."""
    return text.lstrip().startswith(NOTE)
