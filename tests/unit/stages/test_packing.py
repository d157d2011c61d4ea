from __future__ import annotations

import msgspec
import numpy as np
import pytest
from support.moving_scenes import HEIGHT, WIDTH, detection, film, sprite

from streamseg.ipc.descriptors import Masks
from streamseg.masks import Mask
from streamseg.messages import NONE, Image, ObjectMask
from streamseg.propagate.keyframe_mask import FrameTime, KeyframeMask, make_keyframe_masks
from streamseg.stages.packing import pack_keyframe_mask, unpack_keyframe_masks

FRAME = FrameTime(7, 233_000_000)


def over_a_link(made: list[KeyframeMask]) -> list[KeyframeMask]:
    masks = Masks(
        source="main",
        seq=FRAME.seq,
        pts_ns=FRAME.pts_ns,
        objects=tuple(map(pack_keyframe_mask, made)),
        t_capture_ns=0,
        t_encoded_ns=0,
        t_decoded_ns=0,
        overrun=0,
    )
    return unpack_keyframe_masks(msgspec.msgpack.decode(msgspec.msgpack.encode(masks), type=Masks))


def scene() -> Image:
    (shown,) = film(1, [sprite(1)], lambda _, __: (60, 60, 1, 0))
    return shown.image


BLACK = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


@pytest.mark.parametrize("image", [pytest.param(scene(), id="scene"), pytest.param(BLACK, id="fewest colours")])
def test_a_keyframe_mask_survives_the_link(image: Image) -> None:
    mask = Mask(20, 20, np.ones((30, 31), np.bool_))
    (before,) = make_keyframe_masks(FRAME, image, [detection(mask, 3)], [ObjectMask(mask, 0.9, 0.8)])
    (after,) = over_a_link([before])
    assert (after.frame, after.detection, after.predicted_iou, after.stability) == (FRAME, before.detection, 0.9, 0.8)
    assert after.mask is not None and after.mask.xyxy == mask.xyxy and np.array_equal(after.mask.bits, mask.bits)
    assert before.template is not None and after.template is not None
    assert np.array_equal(after.template.planes, before.template.planes)
    assert np.array_equal(after.template.appearance.columns, before.template.appearance.columns)
    assert np.array_equal(after.template.appearance.logits, before.template.appearance.logits)


def test_what_a_keyframe_mask_lacks_it_lacks_behind_the_link() -> None:
    mask = Mask(20, 20, np.ones((30, 31), np.bool_))
    one, other = detection(mask, 1), detection(mask, 2)
    empty, masked = over_a_link([KeyframeMask(FRAME, one, None), KeyframeMask(FRAME, other, mask)])
    assert empty.mask is None and empty.template is None and empty.detection == one
    assert masked.mask is not None and masked.template is None and masked.detection == other
    assert empty.as_object(one).method == NONE
