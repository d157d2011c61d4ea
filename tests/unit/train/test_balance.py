from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.drawn_photographs import ellipse_bits, mask_of, rectangle_bits

from streamseg.masks import Mask
from streamseg.train.balance import BALANCE, shares
from streamseg.train.outlines import Photograph

LARGE = mask_of(rectangle_bits(400, 400, 10, 10, 210, 210))


def photograph(*classes: str, source: str = "", mask: Mask = LARGE) -> Photograph:
    return Photograph(Path("a.png"), 400, 400, (mask,) * len(classes), classes, source)


def test_equal_objects_have_equal_shares() -> None:
    assert shares([photograph("cup", "cup"), photograph("cup")]).tolist() == pytest.approx([1 / 3] * 3)


def test_an_object_of_a_frequent_class_is_drawn_less_often_the_class_more_often() -> None:
    of = shares([photograph(*["person"] * 90), photograph("cup", "cup", "dog")])
    assert of.sum() == pytest.approx(1)
    person, cup, dog = of[0], of[90], of[92]
    assert cup / person == pytest.approx(45**BALANCE) and dog / person == pytest.approx(90**BALANCE)
    assert 90 * person > 2 * cup > dog


def test_each_source_has_its_own_classes() -> None:
    of = shares([photograph(*["car"] * 40, source="street"), photograph("car", "car", source="coco")])
    assert of[40] / of[0] == pytest.approx(20**BALANCE)
    # Photographs of one source, however many, are balanced together.
    parts = shares([photograph(*["car"] * 20, source="street")] * 2 + [photograph("car", "car", source="coco")])
    assert np.allclose(parts, of)


def test_small_objects_are_drawn_less_often_and_those_that_fill_little_of_their_box_more_often() -> None:
    small = photograph("cup", mask=mask_of(rectangle_bits(400, 400, 10, 10, 58, 58)))
    tiny = photograph("cup", mask=mask_of(rectangle_bits(400, 400, 10, 10, 24, 24)))
    round_one = photograph("cup", mask=mask_of(ellipse_bits(400, 400, (150, 150), (100, 100))))
    of = shares([photograph("cup"), small, tiny, round_one])
    assert of[1] / of[0] == pytest.approx(0.5) and of[2] / of[0] == pytest.approx(0.35)
    assert of[3] / of[0] == pytest.approx((1.5 - np.pi / 4) / 0.5, rel=0.02)
