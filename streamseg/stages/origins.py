"""Origins of carried masks as they travel from segment to publish."""

from __future__ import annotations

import numpy as np

from streamseg.ipc.descriptors import PackedOrigin
from streamseg.propagate.appearance import Appearance
from streamseg.propagate.origin import ORIGIN_SIDE, Origin


def pack_origin(origin: Origin) -> PackedOrigin:
    """Make an origin ready for a link."""
    looks = origin.appearance
    return PackedOrigin(origin.planes.tobytes(), looks.columns.tobytes(), looks.odds.tobytes())


def unpack_origin(packed: PackedOrigin) -> Origin:
    """The inverse of `pack_origin`."""
    columns = np.frombuffer(packed.columns, np.uint16)
    odds = np.frombuffer(packed.odds, np.int8).reshape(-1, int(columns.max()) + 1)
    planes = np.frombuffer(packed.planes, np.uint8).reshape(ORIGIN_SIDE, ORIGIN_SIDE, -1)
    return Origin(planes, Appearance(columns, odds))
