"""Class names of the built-in detectors."""

from __future__ import annotations

from collections.abc import Sequence

from streamseg.errors import SettingsError
from streamseg.models.options import FixedBox
from streamseg.spelling import suggestion

MOTION_CLASSES = ("moving",)


def box_classes(boxes: Sequence[FixedBox]) -> tuple[str, ...]:
    """The classes of the `fixed` detector, numbered in the order in which their names first appear."""
    return tuple(dict.fromkeys(box.name for box in boxes))


def class_numbers(names: Sequence[str], wanted: tuple[str | int, ...] | None) -> frozenset[int]:
    """Return the indices of the wanted classes in a model's `names`; all of them if `wanted` is None.

    Raises:
        SettingsError: The model has no class of that name or number.
    """
    if wanted is None:
        return frozenset(range(len(names)))
    numbers = set()
    for item in wanted:
        if isinstance(item, int) and 0 <= item < len(names):
            numbers.add(item)
        elif isinstance(item, str) and item in names:
            numbers.add(names.index(item))
        else:
            known = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
            raise SettingsError(
                f"detector.classes: the model has no class {item!r}; it has {len(names)}, by name or number: {known}"
                f"{suggestion(str(item), names)}"
            )
    return frozenset(numbers)
