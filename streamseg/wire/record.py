"""One line of a JSON Lines recording: the header of a result with each mask in COCO's run-length encoding."""

from __future__ import annotations

import msgspec

from streamseg.masks import Mask
from streamseg.messages import Result
from streamseg.wire.header import NULL, header_of, to_json


def record(result: Result) -> bytes:
    """A result as one line of JSON, without the line feed; every object and every mask is in it.

    Raises:
        MessageError: A number is not finite, or a text is not Unicode.
    """
    masks = [_coco(item.mask, result) for item in result.objects]
    return to_json(header_of(result, range(len(masks)), masks))


def _coco(mask: Mask | None, result: Result) -> msgspec.Raw:
    if mask is None:
        return NULL
    return msgspec.Raw(msgspec.json.encode(mask.rle(result.height, result.width)))
