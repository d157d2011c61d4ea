from __future__ import annotations

import pytest

from streamseg.sources import SourceDamage


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (SourceDamage(missing=50, damaged=0, expected=100), "about 50 of 100 frames could not be read"),
        (SourceDamage(31, 1, 100), "about 31 of 100 frames could not be read, and 1 is damaged"),
        (SourceDamage(0, 2, 69), "of 69 frames 2 are damaged"),
    ],
)
def test_damage_is_told_in_words(damage: SourceDamage, text: str) -> None:
    assert str(damage) == text
