"""Runs networks in OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from streamseg.models.runtime.base import Graph, Runtime, Value, damage, failure
from streamseg.models.runtime.telemetry import turn_telemetry_off

turn_telemetry_off()

import openvino  # noqa: E402
from openvino import opset14 as operations  # noqa: E402

_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}

GELU_BOUND: Final = 4.2
GELU_COEFFICIENTS: Final = (
    0.39846595, -0.065528326, 0.0092982965, -0.00095067461, 6.6893002e-05, -3.038101e-06, 7.9419794e-08, -9.0185035e-10,
)  # fmt: skip
"""Of t, t**3, t**5, ... in a polynomial for the normal distribution function minus 1/2; t is clamped to the bound.

The product with the argument is GELU to within 0.00008. A linear programme minimised the largest error among the
polynomials that reach 1/2 at the bound.
"""


class OpenVinoGraph(Graph):
    """An export, compiled for this processor."""

    def __init__(self, runtime: Runtime, path: Path) -> None:
        """Read and compile it.

        Raises:
            BackendError: It cannot be compiled.
            DamagedExportError: It cannot be read.
        """
        settings: dict[str, str | int | bool] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _PRECISIONS[runtime.precision],
            "ENABLE_CPU_PINNING": False,
        }
        if runtime.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = runtime.threads
        self._runtime = runtime
        core = openvino.Core()
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            raise damage(path, error) from error
        try:
            cheapen_gelu(model)
            compiled = core.compile_model(model, "CPU", settings)
            self._request = compiled.create_infer_request()
            self._shapes = [tuple(output.shape) for output in compiled.outputs]
        except RuntimeError as error:
            raise failure(runtime, error) from error

    def run(self, inputs: Sequence[Value]) -> list[Value]:
        """See `Graph`."""
        outputs = [np.empty(shape, np.float32) for shape in self._shapes]
        try:
            for index, output in enumerate(outputs):
                # A tensor per frame: outputs stay valid.
                self._request.set_output_tensor(index, openvino.Tensor(output, shared_memory=True))
            self._request.infer(dict(enumerate(inputs)), share_inputs=True)
        except RuntimeError as error:
            raise failure(self._runtime, error) from error
        return outputs


def cheapen_gelu(model: Any) -> None:
    """Replace each GELU on a feature map by a polynomial.

    OpenVINO's own takes three times as long, and a tenth of the time of MobileSAM's encoder. GELUs on tokens stay:
    OpenVINO fuses them into the linear layers.
    """
    for operation in model.get_ordered_ops():
        if operation.get_type_name() == "Gelu" and len(operation.get_input_partial_shape(0)) == 4:
            argument = operation.input_value(0)
            bounded = operations.clamp(argument, -GELU_BOUND, GELU_BOUND)
            square = operations.multiply(bounded, bounded)
            *lower, highest = GELU_COEFFICIENTS
            polynomial = _constant(highest)
            for coefficient in reversed(lower):
                polynomial = operations.add(operations.multiply(polynomial, square), _constant(coefficient))
            distribution = operations.add(operations.multiply(bounded, polynomial), _constant(0.5))
            operation.output(0).replace(operations.multiply(argument, distribution).output(0))


def _constant(value: float) -> Any:
    return operations.constant(np.float32(value))
