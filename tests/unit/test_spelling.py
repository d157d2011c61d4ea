from __future__ import annotations

import pytest

from streamseg.categories import COCO_CLASSES
from streamseg.errors import SettingsError
from streamseg.models.catalogue import known_names
from streamseg.models.detectors.classes import class_numbers
from streamseg.spelling import suggestion


@pytest.mark.parametrize(
    ("word", "end"),
    [
        ("Person", "; did you mean person?"),
        ("persn", "; did you mean person?"),
        ("phone", "; did you mean cell phone?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_the_name_spelled_most_alike_is_suggested(word: str, end: str) -> None:
    assert suggestion(word, COCO_CLASSES) == end


def test_an_unknown_class_and_unknown_weights_have_a_suggestion() -> None:
    with pytest.raises(SettingsError, match=r"; did you mean dog\?$"):
        class_numbers(COCO_CLASSES, ("dogs",))
    assert known_names("mobilsam").endswith("; did you mean mobilesam?")
