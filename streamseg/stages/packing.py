"""Keyframe masks as bytes, for the link from segment to publish."""

from __future__ import annotations

import numpy as np

from streamseg.ipc.descriptors import Masks, PackedKeyframeMask
from streamseg.masks import Mask
from streamseg.propagate.appearance import Appearance
from streamseg.propagate.keyframe_mask import TEMPLATE_SIDE, FrameTime, KeyframeMask, Template


def pack_keyframe_mask(made: KeyframeMask) -> PackedKeyframeMask:
    """Pack one object of a keyframe."""
    mask, template = made.mask, made.template
    return PackedKeyframeMask(
        detection=made.detection,
        predicted_iou=made.predicted_iou,
        stability=made.stability,
        rectangle=None if mask is None else (mask.x, mask.y, mask.width, mask.height),
        bits=b"" if mask is None else mask.pack(),
        planes=b"" if template is None else template.planes.tobytes(),
        columns=b"" if template is None else template.appearance.columns.tobytes(),
        logits=b"" if template is None else template.appearance.logits.tobytes(),
    )


def unpack_keyframe_masks(masks: Masks) -> list[KeyframeMask]:
    """Unpack all objects of a keyframe: the inverse of `pack_keyframe_mask`."""
    frame = FrameTime(masks.seq, masks.pts_ns)
    return [
        KeyframeMask(
            frame,
            packed.detection,
            None if packed.rectangle is None else Mask.unpack(*packed.rectangle, packed.bits),
            packed.predicted_iou,
            packed.stability,
            _unpack_template(packed) if packed.planes else None,
        )
        for packed in masks.objects
    ]


def _unpack_template(packed: PackedKeyframeMask) -> Template:
    columns = np.frombuffer(packed.columns, np.uint16)
    logits = np.frombuffer(packed.logits, np.int8).reshape(-1, int(columns.max()) + 1)
    planes = np.frombuffer(packed.planes, np.uint8).reshape(TEMPLATE_SIDE, TEMPLATE_SIDE, -1)
    return Template(planes, Appearance(columns, logits))
