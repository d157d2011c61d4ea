"""How ONNX Runtime is set up, and what it raises."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

# It reports to its maker from its import on, unless it is told before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

READING_ERRORS = (runtime_errors.InvalidArgument, runtime_errors.InvalidGraph, runtime_errors.InvalidProtobuf)
"""Of a file that cannot be read; the first is what it says of an empty one."""
ERRORS = (*READING_ERRORS, runtime_errors.Fail, runtime_errors.NotImplemented, runtime_errors.RuntimeException)
"""Of anything that goes wrong."""


def open_session(model: str | bytes, threads: int | None, providers: Sequence[str] = ("CPUExecutionProvider",)) -> Any:
    """Open a session that leaves the processor to others while it waits, and logs nothing.

    Args:
        model: A file's name, or its content.
        threads: How many it uses; None leaves that to it.
        providers: Execution providers, in ONNX Runtime's own names, the best first.
    """
    settings = onnxruntime.SessionOptions()
    if threads is not None:
        settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 4
    return onnxruntime.InferenceSession(model, settings, providers=list(providers), enable_fallback=False)


def available_providers() -> list[str]:
    """The execution providers that this ONNX Runtime was built with."""
    providers: list[str] = onnxruntime.get_available_providers()
    return providers
