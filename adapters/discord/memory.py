"""What the process knows for a while."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

_REMEMBERED = 10_000

K = TypeVar("K")
V = TypeVar("V")


class Memory(OrderedDict[K, V]):
    """Forgets what came first where it would grow beyond bounds."""

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        if len(self) > _REMEMBERED:
            self.popitem(last=False)
