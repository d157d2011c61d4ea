"""How ONNX Runtime is set up, and what it raises."""

from __future__ import annotations

from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

READING_ERRORS = (runtime_errors.InvalidArgument, runtime_errors.InvalidGraph, runtime_errors.InvalidProtobuf)
"""Of a file that cannot be read; the first is what it says of an empty one."""
ERRORS = (*READING_ERRORS, runtime_errors.Fail, runtime_errors.NotImplemented, runtime_errors.RuntimeException)
"""Of anything that goes wrong."""


def session_options(threads: int | None) -> Any:
    """Settings for a session that leaves the processor to others while it waits, and logs nothing.

    Args:
        threads: How many it uses; None leaves that to it.
    """
    settings = onnxruntime.SessionOptions()
    if threads is not None:
        settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 4
    return settings
