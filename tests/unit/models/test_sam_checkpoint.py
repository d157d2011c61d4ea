"""Only a checkpoint of MobileSAM is loaded as one."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.oracle import Oracle
from torch import Tensor

from streamseg.errors import CheckpointError, UsageError
from streamseg.models.options import MOBILE_SAM
from streamseg.models.segmenters.sam import Sam, SamNetwork, load_network
from streamseg.models.segmenters.sam.checkpoint import official_name

UNUSED = ("image_encoder.norm_head.", "image_encoder.head.")
MISSING = "image_encoder.layers.2.downsample.conv2.bn.running_var"
RESHAPED = "mask_decoder.iou_prediction_head.layers.2.weight"


@pytest.fixture(scope="module")
def official() -> dict[str, Tensor]:
    """The entries of an official file: ours, and those of the classifier."""
    state = {official_name(name): tensor for name, tensor in SamNetwork(MOBILE_SAM).state_dict().items()}
    classifier = {
        "norm_head.weight": (320,),
        "norm_head.bias": (320,),
        "head.weight": (1000, 320),
        "head.bias": (1000,),
    }
    return state | {f"image_encoder.{name}": torch.zeros(shape) for name, shape in classifier.items()}


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_network(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert message.endswith("sam_vit_b_01ec64.pth")
    return message


def saved(entries: object, path: Path) -> Path:
    torch.save(entries, path)
    return path


@pytest.mark.parametrize(
    ("architecture", "original"),
    [("mobilesam", "vit_t"), ("sam-vit-b", "vit_b"), ("sam-vit-l", "vit_l"), ("sam-vit-h", "vit_h")],
)
def test_the_entries_are_those_of_the_originals_checkpoint(architecture: str, original: str, oracle: Oracle) -> None:
    with torch.device("meta"):
        network = SamNetwork(architecture)
    ours = {official_name(name): list(tensor.shape) for name, tensor in network.state_dict().items()}
    theirs = oracle.entries(original)
    assert {name: shape for name, shape in theirs.items() if not name.startswith(UNUSED)} == ours
    # The constants that SAM was trained with, which no checkpoint holds.
    if original != "vit_t":
        assert {norm.eps for norm in network.image_encoder.modules() if isinstance(norm, torch.nn.LayerNorm)} == {1e-6}


def test_the_original_may_be_imported_beside_it() -> None:
    code = (
        "import mobile_sam; from streamseg.models.segmenters.sam import SamNetwork; "
        "print(len(SamNetwork('mobilesam').image_encoder.state_dict()))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_a_checkpoint_of_another_architecture_is_named(official: dict[str, Tensor], tmp_path: Path) -> None:
    path = saved(official, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="is a checkpoint of mobilesam, not of sam-vit-b"):
        load_network(path, "sam-vit-b")
    assert load_network(path).architecture == "mobilesam"
    vit_b = {"image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}
    with pytest.raises(CheckpointError, match="is a checkpoint of sam-vit-b, not of mobilesam"):
        load_network(saved(vit_b, path), "mobilesam")
    assert "is not a checkpoint of sam-vit-b: image_encoder." in refusal(path)


def test_half_precision_weights_are_converted_to_float32(official: dict[str, Tensor], tmp_path: Path) -> None:
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in official.items()}
    network = load_network(saved(half, tmp_path / "weights.pt"))
    assert {tensor.dtype for tensor in network.parameters()} == {torch.float32}


def test_loads_every_entry_but_the_classifier(official: dict[str, Tensor], tmp_path: Path) -> None:
    numbered = {name: torch.full_like(tensor, index) for index, (name, tensor) in enumerate(official.items())}
    network = load_network(saved(numbered, tmp_path / "weights.pt"))
    assert not network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, numbered[official_name(name)])


def test_names_what_is_missing_unknown_or_misshapen(official: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    without = {name: tensor for name, tensor in official.items() if name != MISSING}
    assert f"{MISSING} is missing;" in refusal(saved(without, path))
    assert "'mask_decoder.hq_token.weight' is unknown;" in refusal(
        saved(official | {"mask_decoder.hq_token.weight": torch.zeros(1)}, path)
    )
    misshapen = official | {RESHAPED: torch.zeros(5, 256)}
    assert f"{RESHAPED} is float32[5, 256], not float32[4, 256];" in refusal(saved(misshapen, path))
    assert f"{RESHAPED} is int64[4, 256], not float32[4, 256];" in refusal(
        saved(official | {RESHAPED: torch.zeros(4, 256).long()}, path)
    )
    assert f"{RESHAPED} is a str, not a tensor;" in refusal(saved(official | {RESHAPED: "weights"}, path))


def test_another_models_weights_are_refused_in_one_short_line(tmp_path: Path) -> None:
    message = refusal(saved(torch.nn.Linear(3, 3).state_dict(), tmp_path / "linear.pt"))
    assert re.search(r"is missing, .* is missing, .* is missing, and \d+ more;", message)
    assert len(message) < 500


@pytest.mark.parametrize(
    "content",
    [b"", b"not weights at all\n" * 40, b"PK\x03\x04 not a zip", b"\x80\x02}q\x00.", pickle.dumps({"a": Path()})],
)
def test_a_file_that_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    assert "is not a PyTorch checkpoint" in refusal(path)


def test_code_in_a_checkpoint_is_not_run(official: dict[str, Tensor], tmp_path: Path) -> None:
    witness = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (witness,)

    assert "is not a PyTorch checkpoint" in refusal(saved(official | {"payload": Payload()}, tmp_path / "weights.pt"))
    assert not witness.exists()


def test_a_truncated_checkpoint_is_refused(official: dict[str, Tensor], tmp_path: Path) -> None:
    path = saved(official, tmp_path / "weights.pt")
    path.write_bytes(path.read_bytes()[:1_000_000])
    assert "is not a PyTorch checkpoint" in refusal(path)


def test_a_file_without_a_table_of_weights_is_refused(tmp_path: Path) -> None:
    assert "holds a list, not a table of weights" in refusal(saved([torch.zeros(3)], tmp_path / "list.pt"))


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "absent.pt")
    assert "directory" in refusal(tmp_path)


def test_an_unknown_device_is_refused(official: dict[str, Tensor], tmp_path: Path) -> None:
    path = saved(official, tmp_path / "weights.pt")
    with pytest.raises(UsageError, match="cannot use the device 'abacus'"):
        Sam.load(path, device="abacus")
