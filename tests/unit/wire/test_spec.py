from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import pytest

import streamseg.wire
from streamseg.masks import Mask
from streamseg.messages import ResultMessage
from streamseg.pipeline import STAGES
from streamseg.wire import limits
from streamseg.wire.header import EndHeader, HeartbeatHeader, ObjectEntry, ResultHeader, StateHeader
from streamseg.wire.masks import MaskEntry
from streamseg.wire.protocol import decode
from streamseg.wire.requests import Reply, Request

SPEC = Path(streamseg.wire.__file__).with_name("SPEC.md").read_text(encoding="utf-8")

PICTURE = """
..######..
##########
........##
"""
BITS = bytes.fromhex("3f00ffc000c0")


def test_the_example_message_is_read() -> None:
    topic, header, blob = re.findall(r"```(?:json)?\n((?:streamseg/|\{|3f ).*?)\n```", SPEC, re.DOTALL)
    message = decode([topic.encode(), header.encode(), bytes.fromhex(blob)])
    assert isinstance(message, ResultMessage)
    mask = message.objects[0].mask
    assert mask is not None
    assert (mask.x, mask.y) == (12, 8)
    assert np.array_equal(mask.bits, np.array([[pixel == "#" for pixel in row] for row in PICTURE.split()]))
    assert mask.pack() == BITS


def test_the_compressed_example_inflates_to_the_plain_one() -> None:
    stream = re.search(r"`(78 01 [0-9a-f ]+)` with `\"len\":14`", SPEC)
    assert stream is not None
    assert len(bytes.fromhex(stream[1])) == 14
    assert zlib.decompress(bytes.fromhex(stream[1])) == BITS


def test_the_example_of_run_lengths_is_that_of_its_picture() -> None:
    example = re.search(r"`\{\"size\": \[4, 6\], \"counts\": \"(\w+)\"\}`:\n\n```\n(.*?)\n```", SPEC, re.DOTALL)
    assert example is not None
    mask = Mask.crop(np.array([[pixel == "#" for pixel in row] for row in example[2].split()]))
    assert mask is not None
    assert mask.rle(4, 6) == {"size": [4, 6], "counts": example[1]}


@pytest.mark.parametrize(
    "row",
    [
        f"| a part | {limits.PART_BYTES >> 20} MiB |",
        f"| the header | {limits.HEADER_BYTES >> 20} MiB of a result, {limits.EVENT_BYTES >> 10} KiB of another",
        f"| `run_id` | {limits.RUN_ID} characters |",
        f"at most {limits.SOURCES} of them",
        f"| `objects` | {limits.OBJECTS} |",
        f"| `width`, `height`, `w`, `h` | 1 to {limits.SIDE} |",
        f"as it is shown, each 1 to {limits.RATIO}.",
        f"all masks | {limits.RAW_BYTES >> 20} MiB;",
        f"2 to {limits.PARTS}",
        f"| does not finish its handshake in | {limits.HANDSHAKE_S} s |",
        f"| sends a message or a command longer than | {limits.READER_MESSAGE_BYTES} bytes |",
        f"| subscribes to a topic longer than | {limits.TOPIC_BYTES} bytes |",
        f"| has more subscriptions than | {limits.READER_TOPICS} |",
        f"on Linux) | {limits.READER_BYTES >> 10} KiB |",
        f"together have at most {limits.TOPICS} subscriptions and sent at most {limits.READERS_BYTES >> 20} MiB",
        f"At most {limits.READERS} are open",
        f"| a request | {limits.REQUEST_BYTES >> 10} KiB |",
        f"at most {limits.REQUEST_ID} characters; its reply",
        f"| programs connected at a time | {limits.CONTROLLERS} |",
        f"complete request (over TCP, if the publisher runs on Linux) | {limits.READER_BYTES >> 10} KiB |",
    ],
)
def test_the_limits_are_those_of_the_program(row: str) -> None:
    assert row in SPEC


def test_every_stage_has_its_name_in_the_text() -> None:
    assert [entry.name for entry in STAGES if f"`{entry.name}`" not in SPEC] == []


@pytest.mark.parametrize("kind", [*get_args(Request), *get_args(Reply)])
def test_every_request_and_reply_is_in_the_text(kind: type[msgspec.Struct]) -> None:
    names = [kind.__struct_config__.tag, *kind.__struct_fields__]
    assert [name for name in names if f"`{name}`" not in SPEC] == []


@pytest.mark.parametrize("kind", [ResultHeader, StateHeader, HeartbeatHeader, EndHeader, ObjectEntry, MaskEntry])
def test_every_key_is_in_the_text(kind: type[msgspec.Struct]) -> None:
    assert [name for name in kind.__struct_fields__ if f"`{name}`" not in SPEC] == []


def test_the_files_that_the_text_names_exist() -> None:
    root = Path(__file__).parents[3]
    assert (root / "tests/golden/README.md").exists()
    assert list((root / "tests/golden/vectors").glob("*.json"))
    for name in ("message.mjs", "subscribe.mjs"):
        assert f"`{name}`" in SPEC
        assert (root / "tests/golden" / name).exists()
    assert (root / "streamseg/client.py").exists()
