"""Makes a network ready in a runtime, and imports that runtime's library."""

from __future__ import annotations

from streamseg.models.runtime.base import Graph, Network, Runtime


def load(network: Network, runtime: Runtime) -> Graph:
    """Make a network ready to run.

    Raises:
        BackendError: The runtime cannot run it.
        DamagedExportError: Its export cannot be read.
    """
    if runtime.backend == "openvino":
        from streamseg.models.runtime.openvino import OpenVinoGraph

        return OpenVinoGraph(runtime, network.exported())
    if runtime.backend == "onnxruntime":
        from streamseg.models.runtime.onnx import OnnxGraph

        return OnnxGraph(runtime, network.exported())
    from streamseg.models.runtime.torch import CudaGraph, TorchGraph

    kind = CudaGraph if runtime.device.startswith("cuda") else TorchGraph
    return kind(network.module(), runtime)
