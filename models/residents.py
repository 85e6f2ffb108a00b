"""Networks that are loaded when they are used, and leave again when together they are larger than a budget."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping

from models.colorizers import Colorizer


class Residents(Mapping[str, Colorizer]):
    """The experts of a bundle by name. The least recently used leave first; the one that was asked for last always stays.

    Args:
        names: of all the experts.
        load: reads one.
        budget: bytes that the loaded ones may have together; None keeps all.
    """

    def __init__(self, names: Iterable[str], load: Callable[[str], Colorizer], budget: int | None) -> None:
        self._names, self._load, self._budget = tuple(names), load, budget
        self._loaded: OrderedDict[str, Colorizer] = OrderedDict()

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of those in memory, least recently used first."""
        return tuple(self._loaded)

    def __getitem__(self, name: str) -> Colorizer:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
            self._leave()
        self._loaded.move_to_end(name)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def _leave(self) -> None:
        while self._budget is not None and len(self._loaded) > 1 and sum(map(network_bytes, self._loaded.values())) > self._budget:
            self._loaded.popitem(last=False)


def network_bytes(network: Colorizer) -> int:
    """Memory of a network's parameters and buffers."""
    tensors = (*network.parameters(), *network.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
