"""Reads the official `mobile_sam.pt`."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from streamseg.errors import CheckpointError
from streamseg.models.mobile_sam.network import MobileSamNetwork

_UNUSED = ("image_encoder.norm_head.", "image_encoder.head.")
"""The classifier that TinyViT was trained with; it takes no part in segmentation."""
_PROBLEMS_NAMED = 3


def load_network(path: Path) -> MobileSamNetwork:
    """Build MobileSAM with the weights of a file in the official format, on the CPU, ready to answer.

    Raises:
        CheckpointError: The file cannot be read, is no checkpoint, or is one of another model; the message names the entries.
    """
    found = {name: entry for name, entry in _read(path).items() if not str(name).startswith(_UNUSED)}
    network = MobileSamNetwork()
    expected = {official_name(name): tensor for name, tensor in network.state_dict().items()}
    problems = _differences(expected, found)
    if problems:
        more = f", and {len(problems) - _PROBLEMS_NAMED} more" if len(problems) > _PROBLEMS_NAMED else ""
        named = ", ".join(problems[:_PROBLEMS_NAMED])
        raise CheckpointError(f"{path} is not a checkpoint of MobileSAM: {named}{more}; give the official mobile_sam.pt")
    network.load_state_dict({name: found[official_name(name)] for name in network.state_dict()})
    # The same numbers, a fifth faster on a CPU.
    network.image_encoder.to(memory_format=torch.channels_last)
    return network.eval().requires_grad_(False)


def _read(path: Path) -> Mapping[object, object]:
    try:
        # PyTorch warns of files that it then refuses, and the refusal says enough.
        with warnings.catch_warnings(action="ignore"):
            state: object = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint {path} cannot be read: {error.strerror or error}; give the official mobile_sam.pt"
        ) from error
    except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{path} is not a PyTorch checkpoint; give the official mobile_sam.pt") from error
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, not a table of weights; give the official mobile_sam.pt")
    return state


def _differences(expected: Mapping[str, Tensor], found: Mapping[object, object]) -> list[str]:
    """What keeps the entries of a file from being the expected ones, in the file's names."""
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


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def official_name(name: str) -> str:
    """The official checkpoint's name of one of our entries; only TinyViT's differ, which are timm's here."""
    if not name.startswith(("image_encoder.patch_embed.", "image_encoder.stages.")):
        return name
    name = (
        name.replace(".conv.", ".c.")
        .replace("patch_embed.conv1.", "patch_embed.seq.0.")
        .replace("patch_embed.conv2.", "patch_embed.seq.2.")
    )
    # There a stage ends with the reduction for the next one; in timm the next one begins with it.
    name = re.sub(r"stages\.(\d)\.downsample", lambda match: f"layers.{int(match[1]) - 1}.downsample", name)
    return name.replace("stages.", "layers.")
