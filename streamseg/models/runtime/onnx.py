"""Runs networks in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamseg.models.options import DEFAULT_PROVIDERS
from streamseg.models.runtime.base import Graph, Runtime, Value, damage, failure
from streamseg.models.runtime.telemetry import turn_telemetry_off

turn_telemetry_off()

import onnxruntime  # noqa: E402
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors  # noqa: E402

READING_ERRORS = (runtime_errors.InvalidArgument, runtime_errors.InvalidGraph, runtime_errors.InvalidProtobuf)
"""Raised for a file that cannot be read; the first one for an empty file."""
ERRORS = (*READING_ERRORS, runtime_errors.Fail, runtime_errors.NotImplemented, runtime_errors.RuntimeException)
"""All that ONNX Runtime raises."""


class OnnxGraph(Graph):
    """An export in a session of its own."""

    def __init__(self, runtime: Runtime, path: Path) -> None:
        """Open the session.

        Raises:
            BackendError: A provider cannot run it.
            DamagedExportError: It cannot be read.
        """
        try:
            self._session = open_session(str(path), runtime.threads, runtime.providers)
        except READING_ERRORS as error:
            raise damage(path, error) from error
        except ERRORS as error:
            raise failure(runtime, error) from error
        self._names = [given.name for given in self._session.get_inputs()]
        self._runtime = runtime

    def run(self, inputs: Sequence[Value]) -> list[Value]:
        """See `Graph`."""
        try:
            outputs: list[Value] = self._session.run(None, dict(zip(self._names, inputs, strict=True)))
        except ERRORS as error:
            raise failure(self._runtime, error) from error
        return outputs


def open_session(model: str | bytes, threads: int | None, providers: Sequence[str] = DEFAULT_PROVIDERS) -> Any:
    """Open a session that does not spin while it waits, and logs nothing.

    Args:
        model: A file's name, or its content.
        threads: Number of threads; None leaves it to ONNX Runtime.
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
    """List the execution providers that this ONNX Runtime was built with."""
    providers: list[str] = onnxruntime.get_available_providers()
    return providers
