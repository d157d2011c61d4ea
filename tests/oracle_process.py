"""Runs the original MobileSAM or SAM; a process of its own, since importing it replaces timm's TinyViT.

    python oracle_process.py entries MODEL
    python oracle_process.py checkpoint MODEL SEED OUTPUT.pt
    python oracle_process.py predict MODEL CHECKPOINT.pt INPUT.npz OUTPUT.npz

INPUT holds `<i>.image` (BGR) and, for its prompt j, `<i>.<j>.multimask` with any of `<i>.<j>.<argument>`; OUTPUT holds `<i>.features` and
`<i>.<j>.logits` (over the whole picture), `<i>.<j>.iou`, `<i>.<j>.low_res`.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mobile_sam import SamPredictor, sam_model_registry

ARGUMENTS = ("box", "point_coords", "point_labels", "mask_input")


def print_entries(name: str) -> None:
    """Print the names and shapes of a checkpoint's entries as JSON."""
    # SAM's weights are too large to be made for this; MobileSAM cannot be made without them.
    with torch.device("cpu" if name == "vit_t" else "meta"):
        model = sam_model_registry[name]()
    print(json.dumps({entry: list(tensor.shape) for entry, tensor in model.state_dict().items()}))


def write_checkpoint(name: str, seed: int, path: Path) -> None:
    """Save random weights under the official names. Fresh weights would hide errors: many begin as zeros and ones."""
    model = sam_model_registry[name]()
    random = torch.Generator().manual_seed(seed)
    state = model.state_dict()
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=random)
        if name.endswith("running_var"):
            tensor.copy_(noise.abs() + 0.5)
        elif name.endswith(("bias", "running_mean", "attention_biases", "pos_embed")):
            tensor.copy_(noise * 0.3)
        elif tensor.ndim == 1:
            tensor.copy_(1 + 0.2 * noise)
        elif tensor.ndim == 2 and ("embed" in name or "token.weight" in name or "tokens.weight" in name or "gaussian" in name):
            tensor.copy_(noise)
        else:
            tensor.copy_(noise * math.sqrt(2 / tensor[0].numel()))
        if "hypernetworks" in name and "layers.2" in name:
            # Kernels that sum to zero make masks that are neither empty nor the whole picture.
            tensor.sub_(tensor.mean(dim=0))
    torch.save(state, path)


def predict(name: str, checkpoint: Path, source: Path, output: Path) -> None:
    model = sam_model_registry[name](checkpoint=checkpoint)
    # The original computes its attention biases when it is told to evaluate, which its loader does before it reads the weights.
    predictor = SamPredictor(model.eval())
    answers: dict[str, np.ndarray] = {}
    with np.load(source) as given:
        prompts = [key.removesuffix(".multimask") for key in given.files if key.endswith(".multimask")]
        for image in (key for key in given.files if key.endswith(".image")):
            picture = image.removesuffix("image")
            predictor.set_image(given[image], image_format="BGR")
            answers[f"{picture}features"] = predictor.get_image_embedding().numpy()
            for prompt in (prompt for prompt in prompts if prompt.startswith(picture)):
                arguments = {name: given[f"{prompt}.{name}"] for name in ARGUMENTS if f"{prompt}.{name}" in given.files}
                logits, iou, low_res = predictor.predict(
                    **arguments, multimask_output=bool(given[f"{prompt}.multimask"]), return_logits=True
                )
                answers |= {f"{prompt}.logits": logits, f"{prompt}.iou": iou, f"{prompt}.low_res": low_res}
    np.savez(output, allow_pickle=False, **answers)


if __name__ == "__main__":
    torch.set_num_threads(2)
    if sys.argv[1] == "entries":
        print_entries(sys.argv[2])
    elif sys.argv[1] == "checkpoint":
        write_checkpoint(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    else:
        predict(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5]))
