from __future__ import annotations

import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from msgspec.structs import replace

from streamseg.errors import MessageError
from streamseg.masks import Mask
from streamseg.wire.limits import PART_BYTES, RAW_BYTES
from streamseg.wire.masks import BITS, BITS_ZLIB, MaskEntry, pack_masks, unpack_masks


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """A mask in a frame of 100x80."""
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    bits = draw(arrays(np.bool_, (height, width)))
    return Mask(draw(st.integers(0, 100 - width)), draw(st.integers(0, 80 - height)), bits)


@given(st.lists(st.none() | masks(), max_size=6))
def test_unpack_undoes_pack(given_masks: list[Mask | None]) -> None:
    entries, blob = pack_masks(given_masks, range(len(given_masks)), 100, 80)
    again = unpack_masks(entries, blob, 100, 80)
    for before, after in zip(given_masks, again, strict=True):
        if before is None or after is None:
            assert before is after is None
        else:
            assert (before.x, before.y) == (after.x, after.y)
            assert (before.width, before.height, before.area) == (after.width, after.height, after.area)
            assert before.pack() == after.pack()
            assert np.array_equal(before.bits, after.bits)


def test_the_smaller_encoding_is_taken_for_each_mask() -> None:
    noise = Mask(0, 0, np.random.default_rng(0).random((64, 64)) < 0.5)
    plain = Mask(0, 0, np.ones((64, 64), dtype=np.bool_))
    entries, _ = pack_masks([noise, plain], [0, 1], 64, 64)
    assert [entry.enc for entry in entries if entry] == [BITS, BITS_ZLIB]


def test_when_the_blob_is_full_all_later_masks_are_left_out() -> None:
    rng = np.random.default_rng(0)
    noise = [Mask(0, 0, rng.random((2048, 8000)) < 0.5) for _ in range(4)]
    small = Mask(0, 0, np.ones((1, 1), dtype=np.bool_))
    entries, blob = pack_masks([*noise, small], [2, 0, 3, 4, 1], 8192, 8192)
    assert [entry is not None for entry in entries] == [True, False, True, False, False]
    assert len(blob) <= PART_BYTES


def test_beyond_the_raw_limit_the_last_masks_are_left_out() -> None:
    full = Mask(0, 0, np.ones((8192, 8192), dtype=np.bool_))
    entries, _ = pack_masks([full] * 3, range(3), 8192, 8192)
    assert [entry is not None for entry in entries] == [True, True, False]


def test_a_mask_outside_the_frame_is_not_sent() -> None:
    with pytest.raises(MessageError, match="leaves its frame"):
        pack_masks([Mask(5, 0, np.ones((1, 4), dtype=np.bool_))], [0], 8, 8)


def entry(**changes: int | str) -> MaskEntry:
    return replace(MaskEntry(BITS, x=0, y=0, w=8, h=2, off=0, len=2), **changes)


@pytest.mark.parametrize(
    "bad",
    [
        entry(x=93),
        entry(y=79),
        entry(w=101),
        entry(h=81),
        entry(off=3),
        entry(len=5),
        entry(w=9),
        entry(h=1),
        entry(enc=BITS_ZLIB),
    ],
)
def test_an_entry_that_does_not_fit_is_rejected(bad: MaskEntry) -> None:
    with pytest.raises(MessageError):
        unpack_masks([bad], bytes(4), 100, 80)


def test_masks_that_share_bytes_are_rejected() -> None:
    with pytest.raises(MessageError, match="claim"):
        unpack_masks([entry(), entry(), entry()], bytes(4), 100, 80)


def test_the_raw_limit_is_checked_before_the_first_mask_is_made() -> None:
    piece = zlib.compress(bytes(1024), 9)
    entries = [entry(enc=BITS_ZLIB, w=8192, h=8192, off=index * len(piece), len=len(piece)) for index in range(3)]
    assert sum(item.raw_bytes for item in entries) > RAW_BYTES
    tracemalloc.start()
    with pytest.raises(MessageError, match="unpacked"):
        unpack_masks(entries, piece * 3, 8192, 8192)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_masks_are_unpacked_when_they_are_used() -> None:
    piece = zlib.compress(bytes(8192 * 8192 // 8), 9)
    entries = [entry(enc=BITS_ZLIB, w=8192, h=8192, off=index * len(piece), len=len(piece)) for index in range(2)]
    tracemalloc.start()
    first, second = unpack_masks(entries, piece * 2, 8192, 8192)
    assert first is not None and second is not None
    assert (first.width, first.height, first.area, second.pack()) == (8192, 8192, 0, bytes(8192 * 8192 // 8))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * RAW_BYTES
    assert not first.bits.any()


def test_bits_behind_the_last_column_are_ignored() -> None:
    (mask,) = unpack_masks([entry(w=3)], b"\xbf\x1f", 100, 80)
    assert mask is not None
    assert mask.bits.tolist() == [[True, False, True], [False, False, False]]
    assert (mask.area, mask.pack()) == (2, b"\xa0\x00")


def test_a_zlib_bomb_is_inflated_only_as_far_as_its_mask_needs() -> None:
    bomb = zlib.compress(bytes(1 << 26), 9)
    tracemalloc.start()
    with pytest.raises(MessageError, match="zlib stream"):
        unpack_masks([entry(enc=BITS_ZLIB, len=len(bomb))], bomb, 100, 80)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


@pytest.mark.parametrize(
    "piece",
    [zlib.compress(bytes(2)) + b"x", zlib.compress(bytes(2))[:-1], zlib.compress(bytes(1)), zlib.compress(bytes(3))],
)
def test_a_stream_ends_exactly_with_its_bits(piece: bytes) -> None:
    with pytest.raises(MessageError):
        unpack_masks([entry(enc=BITS_ZLIB, len=len(piece))], piece, 100, 80)
