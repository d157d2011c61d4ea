from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
from golden.make import vectors
from pycocotools import mask as coco

from streamseg.messages import Result
from streamseg.wire.protocol import decode
from streamseg.wire.record import record


def golden_result() -> tuple[Result, dict[str, Any]]:
    parts = next(vector.parts for vector in vectors() if vector.name == "result-masks")
    message = decode(parts).message
    assert isinstance(message, Result)
    return message, json.loads(parts[1])


def test_a_record_is_the_header_with_masks_as_coco_rle() -> None:
    result, header = golden_result()
    line = json.loads(record(result))
    for written, sent, item in zip(line["objects"], header["objects"], result.objects, strict=True):
        rle = written.pop("mask")
        sent.pop("mask")
        if item.mask is None:
            assert rle is None
        else:
            expected: Any = coco.encode(np.asfortranarray(item.mask.paste(48, 64).astype(np.uint8)))
            assert rle == {"size": [48, 64], "counts": expected["counts"].decode("ascii")}
    assert line == header


def test_a_record_is_one_line_and_has_every_object() -> None:
    result, _ = golden_result()
    line = record(replace(result, objects=result.objects * 400))
    assert b"\n" not in line
    assert len(json.loads(line)["objects"]) == 1600
