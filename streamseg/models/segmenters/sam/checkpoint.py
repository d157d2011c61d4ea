"""Reads the official checkpoints: `mobile_sam.pt` and SAM's `sam_vit_*.pth`."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

import torch
from torch import Tensor

from streamseg.errors import CheckpointError
from streamseg.models.options import MOBILE_SAM
from streamseg.models.segmenters.sam.network import SamNetwork
from streamseg.models.weights import CHECKPOINT_ADVICE, check_is_checkpoint, unreadable_checkpoint

_UNUSED = ("image_encoder.norm_head.", "image_encoder.head.")
"""TinyViT's classifier, which segmentation does not use."""
_VIT_CHANNELS: Final = MappingProxyType({768: "sam-vit-b", 1024: "sam-vit-l", 1280: "sam-vit-h"})
_PROBLEMS_NAMED = 3
_Network = TypeVar("_Network", bound=SamNetwork)


def load_network(path: Path, architecture: str | None = None) -> SamNetwork:
    """Build a network from a file in the official format, on the CPU, ready for inference.

    Args:
        path: The file.
        architecture: Expected architecture, one of `IMAGE_ENCODERS`; None accepts any.

    Raises:
        CheckpointError: The file cannot be read, or is not a checkpoint of that model; the message names entries.
    """
    return load_network_as(SamNetwork, path, architecture)


def load_network_as(kind: type[_Network], path: Path, architecture: str | None = None) -> _Network:
    """As `load_network`, for a subclass that adds no weights."""
    found = {name: entry for name, entry in _read(path).items() if not str(name).startswith(_UNUSED)}
    held = _architecture(found)
    if architecture is not None and held not in (None, architecture):
        raise CheckpointError(
            f"{path} is a checkpoint of {held}, not of {architecture}; choose that model, or give another file"
        )
    network = _empty_network(kind, held or architecture or MOBILE_SAM)
    expected = {official_name(name): tensor for name, tensor in network.state_dict().items()}
    problems = _differences(expected, found)
    if problems:
        more = f", and {len(problems) - _PROBLEMS_NAMED} more" if len(problems) > _PROBLEMS_NAMED else ""
        named = ", ".join(problems[:_PROBLEMS_NAMED])
        raise CheckpointError(
            f"{path} is not a checkpoint of {network.architecture}: {named}{more}; {CHECKPOINT_ADVICE}"
        )
    network.load_state_dict(_weights(network, found), assign=True)
    return network.ready()


def _read(path: Path) -> Mapping[object, object]:
    check_is_checkpoint(path)
    try:
        # PyTorch warns about files that it then refuses; its error is enough.
        with warnings.catch_warnings(action="ignore"):
            state: object = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise unreadable_checkpoint(path, error) from error
    except (
        pickle.UnpicklingError,
        struct.error,
        EOFError,
        RuntimeError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
    ) as error:
        raise CheckpointError(f"{path} is not a PyTorch checkpoint; {CHECKPOINT_ADVICE}") from error
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, not a table of weights; {CHECKPOINT_ADVICE}")
    return state


def _architecture(found: Mapping[object, object]) -> str | None:
    """Recognise the architecture by the entries' names and the encoder's width."""
    if any(str(name).startswith("image_encoder.layers.") for name in found):
        return MOBILE_SAM
    positions = found.get("image_encoder.pos_embed")
    return _VIT_CHANNELS.get(positions.shape[-1]) if isinstance(positions, Tensor) and positions.ndim == 4 else None


def _empty_network(kind: type[_Network], architecture: str) -> _Network:
    if architecture == MOBILE_SAM:
        # TinyViT computes tables in its constructor, which needs real memory.
        return kind(architecture)
    # The others are all weights, up to 2.5 GB; do not allocate them twice.
    with torch.device("meta"):
        return kind(architecture)


def _differences(expected: Mapping[str, Tensor], found: Mapping[object, object]) -> list[str]:
    """List the differences between a file's entries and the expected ones, by the file's names."""
    problems = [f"{name} is missing" for name in expected if name not in found]
    for name, entry in found.items():
        wanted = expected.get(name) if isinstance(name, str) else None
        if wanted is None:
            problems.append(f"{name!r} is unknown")
        elif not isinstance(entry, Tensor):
            problems.append(f"{name} is a {type(entry).__name__}, not a tensor")
        elif entry.shape != wanted.shape or entry.is_floating_point() != wanted.is_floating_point():
            problems.append(f"{name} is {_kind(entry)}, not {_kind(wanted)}")
    return problems


def _weights(network: SamNetwork, found: Mapping[object, object]) -> dict[str, Tensor]:
    """Rename the file's entries to ours, and convert them to our precision."""
    weights = {}
    for name, tensor in network.state_dict().items():
        entry = found[official_name(name)]
        if isinstance(entry, Tensor):
            weights[name] = entry.to(tensor.dtype)
    return weights


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def official_name(name: str) -> str:
    """Translate one of our entries' names to the official one; only encoders, whose names are timm's, differ."""
    if name.startswith("image_encoder.blocks."):
        return name.replace(".mlp.fc", ".mlp.lin")
    if not name.startswith(("image_encoder.patch_embed.conv", "image_encoder.stages.")):
        return name
    name = (
        name.replace(".conv.", ".c.")
        .replace("patch_embed.conv1.", "patch_embed.seq.0.")
        .replace("patch_embed.conv2.", "patch_embed.seq.2.")
    )
    # Officially a stage ends with the reduction; in timm the next stage begins with it.
    name = re.sub(r"stages\.(\d)\.downsample", lambda match: f"layers.{int(match[1]) - 1}.downsample", name)
    return name.replace("stages.", "layers.")
