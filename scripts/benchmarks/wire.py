"""Cost of the wire format: time and bytes for ten masks, and the time to import the client."""

from __future__ import annotations

import statistics
import subprocess
import sys

import msgspec

from benchmarks.measure import medians_ms
from benchmarks.ten_masks import ten_masks
from streamseg.errors import StageError
from streamseg.wire.protocol import decode, encode_result

_IMPORT = "import time; start = time.perf_counter(); import streamseg.client; print(time.perf_counter() - start)"


class WireFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Medians of one run.

    Attributes:
        masks: Masks in the message, each of 200x300 pixels.
        encode_ms: From a result to the parts of its message.
        decode_ms: From the parts to a result.
        mask_bytes: Size of the part with the masks.
        message_bytes: Size of all parts.
        import_ms: `import streamseg.client` in a fresh interpreter.
    """

    masks: int
    encode_ms: float
    decode_ms: float
    mask_bytes: int
    message_bytes: int
    import_ms: float


def bench_wire(rounds: int = 300, imports: int = 5) -> WireFigures:
    """Measure encoding and decoding, `rounds` times, and importing, in `imports` fresh interpreters."""
    result = ten_masks()
    parts = encode_result(result, "masks").parts
    encode_ms, decode_ms = medians_ms([lambda: encode_result(result, "masks"), lambda: decode(parts)], rounds)
    return WireFigures(
        masks=len(result.objects),
        encode_ms=encode_ms,
        decode_ms=decode_ms,
        mask_bytes=len(parts[2]),
        message_bytes=sum(map(len, parts)),
        import_ms=1000 * statistics.median(_import_s() for _ in range(imports)),
    )


def _import_s() -> float:
    run = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise StageError(f"importing streamseg.client failed: {run.stderr.strip().splitlines()[-1]}")
    return float(run.stdout)
