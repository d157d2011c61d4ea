"""The networks that stay loaded: of few input grids, as those of each take about half a gigabyte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from streamseg.models.segmenters.mobile_sam.input_grid import CELL, InputGrid

_LOADED: Final = 3
"""Grids whose networks stay loaded: 16:9, upright 16:9 and 4:3, for example."""
_IDLE: Final = 256
"""Pictures without one of a grid after which its networks make room. In so many, each of 64 sources has a turn."""

_Networks = TypeVar("_Networks")


class LoadedGrids(Generic[_Networks]):
    """Loads the networks of a grid when the first picture needs it.

    When there is no room for another grid, its pictures are encoded on a larger one, which takes longer and gives the
    same masks. So pictures of many shapes in turn do not evict each other's networks, which take seconds to load.
    """

    def __init__(self, load: Callable[[InputGrid], _Networks]) -> None:
        self._load = load
        self._networks: dict[InputGrid, _Networks] = {}
        self._used: dict[InputGrid, int] = {}
        self._pictures = 0

    def networks(self, wanted: InputGrid) -> _Networks:
        """The networks for a picture that needs this grid."""
        self._pictures += 1
        grid = self._choose(wanted)
        if grid not in self._networks:
            while len(self._networks) >= _LOADED:
                self._forget(self._oldest)
            self._networks[grid] = self._load(grid)
        self._used[grid] = self._pictures
        return self._networks[grid]

    def clear(self) -> None:
        """Forget all of them."""
        self._networks.clear()
        self._used.clear()

    def _choose(self, wanted: InputGrid) -> InputGrid:
        """The grid to use: another than the one that is wanted if that is not loaded and there is no room."""
        full = len(self._networks) >= _LOADED and self._pictures - self._used[self._oldest] <= _IDLE
        if wanted in self._networks or not full:
            return wanted
        covering = [grid for grid in self._networks if grid.covers(wanted)]
        return min(covering, key=lambda grid: grid.rows * grid.columns, default=InputGrid.whole(CELL * wanted.side))

    @property
    def _oldest(self) -> InputGrid:
        """The grid that was used the longest time ago."""
        return min(self._networks, key=self._used.__getitem__)

    def _forget(self, grid: InputGrid) -> None:
        del self._networks[grid], self._used[grid]
