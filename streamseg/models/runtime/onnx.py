"""Networks run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streamseg.models.runtime import onnx_session
from streamseg.models.runtime.base import Graph, Runtime, Value, damage, failure


class OnnxGraph(Graph):
    """An export in a session of its own."""

    def __init__(self, runtime: Runtime, path: Path, providers: Sequence[str]) -> None:
        """Open the session.

        Raises:
            BackendError: A provider cannot run it.
            DamagedExportError: It cannot be read.
        """
        try:
            self._session = onnx_session.open_session(str(path), runtime.threads, providers)
        except onnx_session.READING_ERRORS as error:
            raise damage(path, error) from error
        except onnx_session.ERRORS as error:
            raise failure(runtime, error) from error
        self._names = [given.name for given in self._session.get_inputs()]
        self._runtime = runtime

    def run(self, inputs: Sequence[Value]) -> list[Value]:
        """See `Graph`."""
        try:
            outputs: list[Value] = self._session.run(None, dict(zip(self._names, inputs, strict=True)))
        except onnx_session.ERRORS as error:
            raise failure(self._runtime, error) from error
        return outputs
