"""Only a checkpoint of MobileSAM is loaded as one."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from streamseg.errors import CheckpointError, UsageError
from streamseg.models.sam import MOBILE_SAM, Sam, SamNetwork, load_network
from streamseg.models.sam.checkpoint import official_name

MISSING = "image_encoder.layers.2.downsample.conv2.bn.running_var"
RESHAPED = "mask_decoder.iou_prediction_head.layers.2.weight"


@pytest.fixture(scope="module")
def official() -> dict[str, Tensor]:
    """The entries of an official file: ours, and those of the classifier."""
    state = {official_name(name): tensor for name, tensor in SamNetwork(MOBILE_SAM).state_dict().items()}
    classifier = {"norm_head.weight": (320,), "norm_head.bias": (320,), "head.weight": (1000, 320), "head.bias": (1000,)}
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
    assert "'mask_decoder.hq_token.weight' is unknown;" in refusal(saved(official | {"mask_decoder.hq_token.weight": torch.zeros(1)}, path))
    misshapen = official | {RESHAPED: torch.zeros(5, 256)}
    assert f"{RESHAPED} is float32[5, 256], not float32[4, 256];" in refusal(saved(misshapen, path))
    assert f"{RESHAPED} is int64[4, 256], not float32[4, 256];" in refusal(saved(official | {RESHAPED: torch.zeros(4, 256).long()}, path))
    assert f"{RESHAPED} is a str, not a tensor;" in refusal(saved(official | {RESHAPED: "weights"}, path))


def test_another_models_weights_are_refused_in_one_short_line(tmp_path: Path) -> None:
    message = refusal(saved(torch.nn.Linear(3, 3).state_dict(), tmp_path / "linear.pt"))
    assert re.search(r"is missing, .* is missing, .* is missing, and \d+ more;", message)
    assert len(message) < 500


@pytest.mark.parametrize(
    "content", [b"", b"not weights at all\n" * 40, b"PK\x03\x04 not a zip", b"\x80\x02}q\x00.", pickle.dumps({"a": Path()})]
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


def test_something_else_than_a_table_is_refused(tmp_path: Path) -> None:
    assert "holds a list, not a table of weights" in refusal(saved([torch.zeros(3)], tmp_path / "list.pt"))


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "absent.pt")
    assert "directory" in refusal(tmp_path)


def test_an_unknown_device_is_refused(official: dict[str, Tensor], tmp_path: Path) -> None:
    path = saved(official, tmp_path / "weights.pt")
    with pytest.raises(UsageError, match="cannot use the device 'abacus'"):
        Sam.load(path, device="abacus")
