from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from golden.control import control_vectors, meaning
from golden.make import CONTROL

from streamseg.errors import MessageError, SettingsError, error_from_name
from streamseg.wire.limits import LINE, REQUEST_BYTES
from streamseg.wire.requests import SourcesRequest, decode_reply, decode_request, encode, refusal

FILES = sorted(CONTROL.glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_vector_is_read_as_it_is_meant(path: Path) -> None:
    vector = json.loads(path.read_text(encoding="utf-8"))
    read = decode_request if vector["direction"] == "request" else decode_reply
    try:
        message = read([base64.b64decode(vector["part"])])
    except MessageError as error:
        assert "\n" not in str(error)
        assert vector["expected"] is None, error
    else:
        assert meaning(message) == vector["expected"]


def test_files_are_what_make_writes_today() -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in FILES} == {
        f"{vector.name}.json": vector.to_json() for vector in control_vectors()
    }


@pytest.mark.parametrize(
    "parts", [[], [b"{}", b"{}"], [b" " * (REQUEST_BYTES + 1)], [b"[" * REQUEST_BYTES], [b'"\xff"']], ids=str
)
def test_what_is_no_request_is_refused_in_one_line(parts: list[bytes]) -> None:
    with pytest.raises(MessageError) as caught:
        decode_request(parts)
    assert "\n" not in str(caught.value)


def test_an_error_keeps_its_class_and_a_line_of_bounded_length() -> None:
    reply = refusal("7", SettingsError("x" * 9999))
    assert (reply.id, len(reply.message)) == ("7", LINE)
    assert type(error_from_name(reply.error, reply.message)) is SettingsError


def test_a_text_that_is_not_unicode_is_not_sent() -> None:
    with pytest.raises(MessageError, match="a text is not Unicode"):
        encode(SourcesRequest(id="\ud83d"))
