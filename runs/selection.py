"""Which of many metrics a page shows: those with a text in their names, a page of them, a part of a large group."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from runs.metrics import is_of_the_machine

# So many plots are half a megabyte of HTML, and are made in a tenth of a second.
PER_PAGE = 60
# Of a group, where not all metrics have room on a page: a thousand layers must not hide the other groups.
PER_GROUP = 12


@dataclass(frozen=True)
class Shown:
    """`names` are shown, in their order. `groups`: how many there are of each prefix; `cut`: prefixes that are shown in
    part. `matching` of `total` have the text; `room` of them are on some page, `first` to `last` on this.
    """

    names: list[str]
    groups: dict[str, int]
    cut: frozenset[str]
    total: int
    matching: int
    room: int
    page: int
    pages: int
    first: int

    @property
    def last(self) -> int:
        return self.first + len(self.names) - 1

    @property
    def is_part(self) -> bool:
        return len(self.names) < self.total


def shown(
    names: Iterable[str], text: str = "", page: int = 1, *, per_page: int = PER_PAGE, per_group: int | None = PER_GROUP
) -> Shown:
    """A page that is not there is the last. Case does not count in `text`. Without `per_group` no group is cut."""
    every = list(names)
    matching = sorted((name for name in every if text.casefold() in name.casefold()), key=order)
    groups, taken = Counter(map(prefix, matching)), Counter[str]()
    listed = matching
    if per_group and not text and len(matching) > per_page:
        listed = []
        for name in matching:
            taken[prefix(name)] += 1
            if taken[prefix(name)] <= per_group:
                listed.append(name)
    pages = max(1, -(-len(listed) // per_page))
    page = min(max(page, 1), pages)
    start = (page - 1) * per_page
    cut = frozenset(each for each, count in groups.items() if listed is not matching and count > (per_group or 0))
    on_page = listed[start : start + per_page]
    return Shown(on_page, dict(groups), cut, len(every), len(matching), len(listed), page, pages, start + 1)


def prefix(name: str) -> str:
    return name.rpartition("/")[0] + "/" if "/" in name else ""


def is_loss(name: str) -> bool:
    """`loss`, `train/loss`, `eval_loss`."""
    return name == "loss" or name.endswith(("/loss", "_loss"))


def order(name: str) -> tuple[bool, bool, str, bool, str]:
    """The model before the machine, training before evaluation, and each prefix's loss first."""
    return is_of_the_machine(name), prefix(name) != "train/", prefix(name), not is_loss(name), name
