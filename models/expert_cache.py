"""An LRU cache of experts, bounded by the memory of their tensors."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

Expert = TypeVar("Expert")


class ExpertCache(Mapping[str, Expert]):
    """The experts of a bundle by name, loaded on first use. Evicts the least recently used; the last one used is never evicted.

    Args:
        names: of all experts.
        load: loads one expert by its name.
        size: the bytes of memory of an expert.
        budget: bytes of memory for all loaded experts; None evicts none.
    """

    def __init__(
        self, names: Iterable[str], load: Callable[[str], Expert], size: Callable[[Expert], int], budget: int | None
    ) -> None:
        self._names, self._load, self._size, self._budget = tuple(names), load, size, budget
        self._loaded: OrderedDict[str, Expert] = OrderedDict()

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of the experts in memory, least recently used first."""
        return tuple(self._loaded)

    def __getitem__(self, name: str) -> Expert:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
            self._evict()
        self._loaded.move_to_end(name)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _evict(self) -> None:
        while self._budget is not None and len(self._loaded) > 1 and sum(map(self._size, self._loaded.values())) > self._budget:
            self._loaded.popitem(last=False)
