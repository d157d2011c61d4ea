from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from streamseg.errors import BackendError, DamagedExportError, SettingsError, UsageError
from streamseg.models.options import Compute, SegmenterSettings
from streamseg.models.runtime import selection
from streamseg.models.runtime.base import Runtime
from streamseg.models.runtime.loading import load
from streamseg.models.runtime.selection import candidates


@dataclass(frozen=True)
class Machine:
    """A machine to select runtimes for."""

    x86: bool = True
    bf16: bool = False
    gpus: int = 0
    openvino: bool = True


@pytest.fixture
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Machine:
    given: Machine = request.param
    monkeypatch.setattr(selection, "is_x86", lambda: given.x86)
    monkeypatch.setattr(selection, "has_fast_bf16", lambda: given.bf16)
    monkeypatch.setattr(selection, "cuda_devices", lambda: given.gpus)
    monkeypatch.setattr(selection, "is_installed", lambda package: package != "openvino" or given.openvino)
    return given


def names(device: str = "auto", **settings: object) -> list[str]:
    wanted = SegmenterSettings(**settings)  # type: ignore[arg-type]
    return [f"{one.backend} {one.precision}" for one in candidates(wanted, Compute(device=device))]


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (Machine(), ["openvino fp32", "onnxruntime fp32", "torch fp32"]),
        (Machine(x86=False), ["onnxruntime fp32", "openvino fp32", "torch fp32"]),
        (Machine(openvino=False), ["onnxruntime fp32", "torch fp32"]),
        (Machine(bf16=True), ["openvino bf16", "onnxruntime fp32", "torch bf16"]),
        (Machine(bf16=True, openvino=False), ["onnxruntime fp32", "torch bf16"]),
        (Machine(bf16=True, gpus=1), ["torch fp16", "openvino bf16", "onnxruntime fp32"]),
    ],
    indirect=["machine"],
)
def test_auto_takes_the_fastest_and_lists_fallbacks(machine: Machine, expected: list[str]) -> None:
    assert names() == expected


@pytest.mark.parametrize("machine", [Machine(bf16=True)], indirect=True)
def test_the_chosen_backend_and_precision_come_first(machine: Machine) -> None:
    assert names(backend="torch")[0] == "torch bf16"
    assert names(precision="fp32")[0] == "openvino fp32"
    assert (
        names(backend="onnxruntime", providers=("AzureExecutionProvider", "CPUExecutionProvider"))[0]
        == "onnxruntime fp32"
    )


@pytest.mark.parametrize("machine", [Machine()], indirect=True)
def test_named_execution_providers_select_onnx_runtime(machine: Machine) -> None:
    assert names(providers=("AzureExecutionProvider", "CPUExecutionProvider"))[0] == "onnxruntime fp32"


@pytest.mark.parametrize("machine", [Machine(openvino=False)], indirect=True)
def test_an_unavailable_runtime_is_refused_with_the_available_ones(machine: Machine) -> None:
    with pytest.raises(
        SettingsError, match=r"^segmenter\.backend: OpenVINO is not installed; pip install 'streamseg\[openvino\]'"
    ):
        names(backend="openvino")
    with pytest.raises(
        SettingsError,
        match=r"auto in bf16 is not available on this machine; .* one of onnxruntime in fp32, torch in fp32$",
    ):
        names(precision="bf16")


@pytest.mark.parametrize("machine", [Machine(gpus=1)], indirect=True)
def test_a_gpu_is_used_by_its_name(machine: Machine) -> None:
    assert candidates(SegmenterSettings(), Compute(device="cuda:0"))[0] == Runtime("torch", "fp16", None, "cuda:0")
    assert "torch fp16" not in names(device="cpu")
    for wrong in ("cuda:1", "cuda:x"):
        with pytest.raises(UsageError, match=f"cannot use the device '{wrong}'"):
            names(device=wrong)


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, given: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(given) + other, given.sum(dim=1)


@dataclass(frozen=True)
class ToyNetwork:
    toy: Toy
    path: Path

    def module(self) -> nn.Module:
        return self.toy

    def exported(self) -> Path:
        return self.path


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ToyNetwork:
    torch.manual_seed(1)
    module, path = Toy().eval().requires_grad_(False), tmp_path_factory.mktemp("toy") / "toy.onnx"
    with pytest.warns(DeprecationWarning):
        torch.onnx.export(module, (torch.zeros(2, 8), torch.zeros(2, 4)), path, dynamo=False, opset_version=17)
    return ToyNetwork(module, path)


def every_runtime() -> list[Runtime]:
    return [Runtime(backend, "fp32", threads=1) for backend in ("torch", "onnxruntime", "openvino")]


@pytest.mark.parametrize("runtime", every_runtime(), ids=lambda runtime: runtime.backend)
def test_each_runs_the_same_network_and_its_outputs_stay_valid(runtime: Runtime, toy: ToyNetwork) -> None:
    graph = load(toy, runtime)
    random = np.random.default_rng(1)
    given, other = random.normal(size=(2, 8)).astype(np.float32), random.normal(size=(2, 4)).astype(np.float32)
    expected = toy.toy(torch.from_numpy(given), torch.from_numpy(other))
    first = graph.run([given, other])
    graph.run([given + 1, first[0]])
    for found, wanted in zip(first, expected, strict=True):
        array = graph.to_numpy(found)
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize("runtime", every_runtime()[1:], ids=lambda runtime: runtime.backend)
def test_a_damaged_export_is_not_reported_as_a_failed_backend(
    runtime: Runtime, toy: ToyNetwork, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(toy.path.read_bytes()[:100])
    with pytest.raises(DamagedExportError, match=r"broken\.onnx is damaged: [^\n]+$"):
        load(ToyNetwork(toy.toy, broken), runtime)


@pytest.mark.parametrize("runtime", every_runtime(), ids=lambda runtime: runtime.backend)
def test_inputs_of_a_wrong_shape_are_an_error(runtime: Runtime, toy: ToyNetwork) -> None:
    graph = load(toy, runtime)
    with pytest.raises(BackendError, match=r"^[^\n]+$"):
        graph.run([np.zeros((2, 9), np.float32), np.zeros((2, 4), np.float32)])
