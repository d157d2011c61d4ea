"""Turns the telemetry of the runtimes off. It starts at their import, so this is called before."""

from __future__ import annotations

import os
import sys


def turn_telemetry_off() -> None:
    """Turn it off for this process and its children, unless the user's environment turns ONNX Runtime's on."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # OpenVINO's starts if this package is found.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
