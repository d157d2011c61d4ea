from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from streamseg.models.runtime.base import Runtime
from streamseg.models.runtime.loading import load
from streamseg.models.runtime.openvino import cheapen_gelu


@dataclass(frozen=True)
class Gelu:
    path: Path

    def module(self) -> nn.Module:
        return nn.GELU()

    def exported(self) -> Path:
        return self.path


ARGUMENTS = np.concatenate((np.linspace(-12, 12, 48_001), [-1e4, -100.0, 100.0, 1e4])).astype(np.float32)[
    None, None, None
]


def exported(arguments: NDArray[np.float32], path: Path) -> Gelu:
    with pytest.warns(DeprecationWarning):
        torch.onnx.export(nn.GELU().eval(), (torch.from_numpy(arguments),), path, dynamo=False, opset_version=20)
    return Gelu(path)


@pytest.fixture(scope="module")
def gelu(tmp_path_factory: pytest.TempPathFactory) -> Gelu:
    return exported(ARGUMENTS, tmp_path_factory.mktemp("gelu") / "gelu.onnx")


def test_gelu_differs_by_less_than_a_ten_thousandth(gelu: Gelu) -> None:
    runtime = Runtime("openvino", "fp32", threads=1)
    found = load(gelu, runtime).run([ARGUMENTS])[0]
    expected = nn.functional.gelu(torch.from_numpy(ARGUMENTS)).numpy()
    # Far out it is the bound's rounding that counts.
    assert np.all(np.abs(found - expected) <= 1e-4 + 5e-6 * np.maximum(np.abs(ARGUMENTS) - 12, 0))


def test_only_the_gelu_of_tokens_is_left_to_openvino(gelu: Gelu, tmp_path: Path) -> None:
    tokens = exported(ARGUMENTS[0], tmp_path / "tokens.onnx")
    for network, left in ((gelu, 0), (tokens, 1)):
        model = openvino.Core().read_model(network.path)
        cheapen_gelu(model)
        assert [operation.get_type_name() for operation in model.get_ops()].count("Gelu") == left


@pytest.mark.parametrize("module", ["openvino", "onnx"])
def test_no_library_writes_an_identity_of_the_user(module: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name} | {
        "HOME": str(tmp_path)
    }
    subprocess.run(
        [sys.executable, "-B", "-c", f"import streamseg.models.runtime.{module}"],
        env=environment,
        check=True,
        timeout=60,
    )
    assert not list(tmp_path.rglob("*"))
