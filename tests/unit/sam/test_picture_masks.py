from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import supervision as sv

from streamseg.errors import UsageError
from streamseg.images import read_image
from streamseg.sam.picture_masks import PictureMasks


def two_candidates_and_another_object() -> PictureMasks:
    masks = np.zeros((3, 40, 60), np.bool_)
    masks[0, 5:15, 5:15] = masks[1, 20:30, 5:15] = masks[2, 5:15, 30:50] = True
    return PictureMasks(
        xyxy=sv.mask_to_xyxy(masks).astype(np.float32),
        mask=masks,
        data={"prompt": np.array([0, 0, 1])},
        image=np.full((40, 60, 3), 90, np.uint8),
    )


def test_a_plot_has_a_colour_for_each_prompt_and_leaves_the_picture() -> None:
    found = two_candidates_and_another_object()
    drawn = found.plot()
    assert found.mask is not None
    assert np.array_equal((drawn != 90).any(axis=2), np.asarray(found.mask).any(axis=0))
    assert (drawn[10, 10] == drawn[25, 10]).all()
    assert (drawn[10, 10] != drawn[10, 40]).any()
    assert (found.image == 90).all()


def test_a_plot_of_everything_has_a_colour_for_each_mask_and_one_of_nothing_is_the_picture() -> None:
    found = two_candidates_and_another_object()
    found.data = {}
    drawn = found.plot()
    assert len({tuple(drawn[row, column]) for row, column in ((10, 10), (25, 10), (10, 40))}) == 3
    none = PictureMasks(xyxy=np.zeros((0, 4), np.float32), mask=np.zeros((0, 40, 60), np.bool_), image=found.image)
    assert np.array_equal(none.plot(), found.image)


def test_the_masks_are_detections() -> None:
    found = two_candidates_and_another_object()
    assert isinstance(found, sv.Detections)
    assert found == sv.Detections(xyxy=found.xyxy, mask=found.mask, data=found.data)
    assert [len(one[0]) for one in found] == [4, 4, 4]


def test_the_plot_is_saved(tmp_path: Path) -> None:
    found = two_candidates_and_another_object()
    found.save(tmp_path / "drawn.png")
    assert np.array_equal(read_image(tmp_path / "drawn.png"), found.plot())


@pytest.mark.parametrize(
    ("name", "cause"),
    [("drawn.doc", "not written as .doc"), ("drawn", "files without a suffix"), ("no/folder.png", "No such file")],
)
def test_a_plot_that_cannot_be_saved_is_an_error_of_one_line(tmp_path: Path, name: str, cause: str) -> None:
    with pytest.raises(UsageError, match=cause) as caught:
        two_candidates_and_another_object().save(tmp_path / name)
    assert "\n" not in str(caught.value)
