from __future__ import annotations

import time

import pytest

from streamseg.errors import SettingsError
from streamseg.yaml_tree import MAX_BYTES, read_yaml

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: &a [*a]", "line 1, column 4: anchors and aliases are not allowed"),
        (LAUGHS, "anchors and aliases"),
        ("<<: *base", "anchors and aliases"),
        ("!!python/object/apply:os.system [id]", "tags are not allowed"),
        ("!!int x", "tags are not allowed"),
        ("[" * 30_000, "nested more than 16 levels deep"),
        ("- " * 30_000, "nested more than 16 levels deep"),
        ("{a: " * 10_000, "nested more than 16 levels deep"),
        ("9" * 5_000, "a number of more than 40 characters"),
        ("-0x" + "f" * 60_000, "a number of more than 40 characters"),
        ("1" + ":59" * 1_000 + ".5", "a number of more than 40 characters"),
        ("0x_", "not a number"),
        ("a: 1\nb: 2\na: 3", "line 3, column 1: a key is given twice"),
        ("? [a]\n: b", "a key is not a text"),
        ("--- a\n--- b", "another document"),
        ("a: 'b", "unexpected end of stream"),
        ("a\0b", "a character that YAML does not allow"),
        ("#" * (MAX_BYTES + 1), "more than 64 KiB"),
    ],
)
def test_what_no_settings_need_is_refused_at_once(text: str, complaint: str) -> None:
    began = time.monotonic()
    with pytest.raises(SettingsError) as caught:
        read_yaml(text)
    assert complaint in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 120
    assert time.monotonic() - began < 20
    shown = caught.value.__cause__ or (None if caught.value.__suppress_context__ else caught.value.__context__)
    assert shown is None, "a cause would quote the document"


def test_plain_values_are_read() -> None:
    text = "{on: yes, 1: [0x10, -1.5, .inf, ~], date: 2001-99-99, text: 'x', url: 'rtsp://a', empty: }"
    assert read_yaml(text) == {
        "on": True,
        "1": [16, -1.5, float("inf"), None],
        "date": "2001-99-99",
        "text": "x",
        "url": "rtsp://a",
        "empty": None,
    }
    assert read_yaml("# nothing\n") is None


def test_the_largest_document_is_read_in_time() -> None:
    began = time.monotonic()
    for text in ("[" + "1, " * 21_000 + "]", "\n".join(f"k{n}: v" for n in range(6_000)), "[" + "[]," * 20_000 + "]"):
        assert read_yaml(text)
    assert time.monotonic() - began < 60
