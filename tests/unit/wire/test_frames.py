from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
from golden.frame_messages import describe_frame, frame_vectors
from golden.make import FRAMES

import streamseg.wire
from streamseg.errors import MessageError
from streamseg.wire import limits
from streamseg.wire.frames import Bye, FrameHeader, Hello, Next, Refused, read_from_pipeline, read_from_program

FILES = sorted(FRAMES.glob("*.json"))
SPEC = Path(streamseg.wire.__file__).with_name("SPEC.md").read_text(encoding="utf-8")
SECTION = SPEC.split("## Frames of a program")[1].split("\n## ")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_vector_is_read_as_it_is_meant(path: Path) -> None:
    vector = json.loads(path.read_text(encoding="utf-8"))
    parts = [memoryview(base64.b64decode(part)) for part in vector["parts"]]
    to_program = (vector["expected"] or {}).get("kind") in ("next", "refused")
    try:
        read = (
            describe_frame(read_from_pipeline(parts), b"") if to_program else describe_frame(*read_from_program(parts))
        )
    except MessageError as error:
        assert "\n" not in str(error)
        assert vector["expected"] is None, error
    else:
        assert read == vector["expected"]


def test_files_are_what_make_writes_today() -> None:
    assert {path.stem: path.read_text(encoding="utf-8") for path in FILES} == {
        vector.name: vector.to_json() for vector in frame_vectors()
    }


def test_every_kind_and_key_is_in_the_specification() -> None:
    written = set(re.findall(r"`(\w+)`", SECTION))
    for kind in (Hello, FrameHeader, Bye, Next, Refused):
        assert {kind.__struct_config__.tag, *kind.__struct_fields__} <= written


@pytest.mark.parametrize(
    "text",
    [
        f"at most {limits.FRAME_HEADER_BYTES} bytes, a part at most {limits.FRAME_BYTES:,}",
        f"At most {limits.PROGRAMS} programs are connected",
        f"at most {limits.REASON} characters",
        f"up to {limits.CLOCK} characters",
        f"1 to {limits.SIDE}",
        f"grows beyond {2 * limits.FRAME_BYTES >> 20} MiB",
    ],
)
def test_the_limits_are_in_the_specification(text: str) -> None:
    assert text in " ".join(SECTION.split())
