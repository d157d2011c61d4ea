"""Origins of carried masks as they travel from segment to publish."""

from __future__ import annotations

import numpy as np

from streamseg.ipc.descriptors import PackedOrigin
from streamseg.propagate.appearance import Appearance
from streamseg.propagate.origin import ORIGIN_SIDE, Origin
from streamseg.window import Plane


def pack_origin(origin: Origin) -> PackedOrigin:
    """Make an origin ready for a link."""
    looks = origin.appearance
    return PackedOrigin(_as_bytes(origin.share), _as_bytes(origin.trust), looks.columns.tobytes(), looks.odds.tobytes())


def unpack_origin(packed: PackedOrigin) -> Origin:
    """The inverse of `pack_origin`, but for shares being of 256 levels."""
    columns = np.frombuffer(packed.columns, np.uint16)
    odds = np.frombuffer(packed.odds, np.int8).reshape(-1, int(columns.max()) + 1)
    return Origin(_from_bytes(packed.share), _from_bytes(packed.trust), Appearance(columns, odds))


def _as_bytes(plane: Plane) -> bytes:
    return np.rint(plane * 255).astype(np.uint8).tobytes()


def _from_bytes(packed: bytes) -> Plane:
    return np.frombuffer(packed, np.uint8).reshape(ORIGIN_SIDE, ORIGIN_SIDE).astype(np.float32) / np.float32(255)
