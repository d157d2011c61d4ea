"""What the wire costs: time and bytes for ten masks, and the time to import the client."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec
import numpy as np

from streamseg.errors import StageError
from streamseg.masks import Mask
from streamseg.messages import Detection, Dropped, Ledger, Models, Result, TrackedObject
from streamseg.wire.protocol import decode, encode_result

_IMPORT = "import time; start = time.perf_counter(); import streamseg.client; print(time.perf_counter() - start)"


class WireFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Medians of one measurement.

    Attributes:
        masks: Masks in the message, each in a rectangle of 200x300 pixels.
        encode_ms: A result to the parts of a message.
        decode_ms: The parts back to a result.
        mask_bytes: The part that holds the masks.
        message_bytes: All parts together.
        import_ms: `import streamseg.client` in a fresh interpreter.
    """

    masks: int
    encode_ms: float
    decode_ms: float
    mask_bytes: int
    message_bytes: int
    import_ms: float


def bench_wire(rounds: int = 300, imports: int = 5) -> WireFigures:
    """Measure encoding, decoding and importing.

    Args:
        rounds: Times that the message is encoded and decoded.
        imports: Fresh interpreters started.
    """
    result = _ten_masks()
    parts = encode_result(result, "masks").parts
    return WireFigures(
        masks=len(result.objects),
        encode_ms=_median_ms(lambda: encode_result(result, "masks"), rounds),
        decode_ms=_median_ms(lambda: decode(parts), rounds),
        mask_bytes=len(parts[2]),
        message_bytes=sum(map(len, parts)),
        import_ms=1000 * statistics.median(_import_seconds() for _ in range(imports)),
    )


def _median_ms(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def _import_seconds() -> float:
    run = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise StageError(f"importing streamseg.client failed: {run.stderr.strip().splitlines()[-1]}")
    return float(run.stdout)


def _ten_masks() -> Result:
    """A frame of 1280x720 with ten blobs of two to five lobes, as smooth as a segmenter draws them."""
    return Result(
        run_id="bench",
        epoch=0,
        seq=0,
        source="bench",
        width=1280,
        height=720,
        pts_ns=0,
        t_capture_unix_ns=0,
        ledger=Ledger(received=0.4, detected=9.6, encoded=310.2, decoded=320.9, published=10.5),
        dropped=Dropped(),
        models=Models(detector="yolox-nano", segmenter="mobilesam"),
        boxes_seq=0,
        objects=tuple(_blob(index) for index in range(10)),
    )


def _blob(index: int) -> TrackedObject:
    rows, columns = np.mgrid[-1:1:300j, -1:1:200j]
    angle = np.arctan2(rows, columns)
    radius = 0.9 + 0.1 * np.sin((2 + index % 4) * angle + index)
    bits = np.hypot(rows, columns) < radius
    bits[0, 100] = bits[-1, 100] = bits[150, 0] = bits[150, -1] = True
    x, y = 100 * index, 40 * index
    return TrackedObject(
        detection=Detection(
            xyxy=(x + 0.25, y + 0.5, x + 199.5, y + 299.75),
            confidence=0.9 - 0.05 * index,
            class_id=0,
            class_name="person",
            tracker_id=index + 1,
        ),
        mask=Mask(x, y, bits),
        method="mobilesam",
        origin_seq=0,
        age_ms=33.4,
        predicted_iou=0.93,
        stability=0.95,
    )
