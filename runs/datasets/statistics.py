"""What a manifest says of the lengths of its texts."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Lengths:
    """Characters per value: exact, in memory that grows with the number of different lengths only."""

    counts: Counter[int] = field(default_factory=Counter)

    def add(self, text: str) -> None:
        self.counts[len(text)] += 1

    def summary(self) -> dict[str, float]:
        total = self.counts.total()
        middle, seen = (total - 1) // 2, 0
        for length in sorted(self.counts):
            seen += self.counts[length]
            if seen > middle:
                break
        mean = sum(length * count for length, count in self.counts.items()) / total
        return {"min": min(self.counts), "median": length, "mean": round(mean, 1), "max": max(self.counts)}
