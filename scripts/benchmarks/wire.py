"""What the wire costs: time and bytes for ten masks, and the time to import the client."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec

from benchmarks.ten_masks import ten_masks
from streamseg.errors import StageError
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
    result = ten_masks()
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
