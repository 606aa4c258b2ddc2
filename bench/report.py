"""What a benchmark prints: medians over the turns, each beside the yardstick's, and their ratio."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass
class Row:
    """One figure of the product beside the yardstick's, turn by turn."""

    bench: str
    what: str
    unit: str
    product: list[float] = field(default_factory=list)
    yardstick: list[float] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    def add(self, product: float, yardstick: float) -> None:
        self.product.append(product)
        self.yardstick.append(yardstick)

    @property
    def ratios(self) -> list[float]:
        return [product / yardstick for product, yardstick in zip(self.product, self.yardstick, strict=True)]

    def as_json(self) -> str:
        ratios = self.ratios
        figures = {
            "bench": self.bench,
            "what": self.what,
            "unit": self.unit,
            "turns": len(ratios),
            "product": round(median(self.product), 3),
            "yardstick": round(median(self.yardstick), 3),
            "ratio": round(median(ratios), 3),
            "ratio_min": round(min(ratios), 3),
            "ratio_max": round(max(ratios), 3),
        }
        return json.dumps(figures | self.more)


def show(rows: Sequence[Row]) -> None:
    """Print a table, then a line of JSON for each of its rows."""
    width = max(len(row.what) for row in rows)
    print(f"{'':{width}}  {'product':>10} {'yardstick':>10} {'':9} {'ratio':>7}  over the turns")
    for row in rows:
        ratios = row.ratios
        figures = f"{median(row.product):10.2f} {median(row.yardstick):10.2f} {row.unit:9}"
        print(f"{row.what:{width}}  {figures} {median(ratios):7.2f}  {min(ratios):.2f} to {max(ratios):.2f}")
    for row in rows:
        print(row.as_json(), flush=True)
