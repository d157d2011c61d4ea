"""Runs the original MobileSAM and SAM, in a process of its own, since importing them replaces timm's TinyViT.

Reads requests from standard input, each a line of JSON: a command's name and its arguments. Writes one line of JSON
for each. A request that fails ends the process, and its traceback is on standard error.

MODEL is `vit_t` (MobileSAM) or `vit_b` (SAM); `vit_b_short` is `vit_b` without all blocks after the third.

    entries MODEL                                   the answer: names and shapes of a checkpoint's entries
    checkpoint MODEL SEED OUTPUT.pt ADDED
    blobs SEED OUTPUT.pt ADDED
    predict MODEL CHECKPOINT.pt INPUT.npz OUTPUT.npz
    generate MODEL CHECKPOINT.pt INPUT.npz OUTPUT.npz
    script SCRIPT.py CHECKPOINT.pt INPUT.npz OUTPUT.npz

For `predict`, INPUT holds `<i>.image` (BGR) and, for its prompt j, `<i>.<j>.multimask` with any of
`<i>.<j>.<argument>`; OUTPUT holds `<i>.features` and `<i>.<j>.logits` (over the whole picture), `<i>.<j>.iou`,
`<i>.<j>.low_res`.
For `generate`, which uses `quick_features`, INPUT holds `<i>.image` (BGR) and `<i>.option.<name>`,
`<i>.point_grids.<layer>`; OUTPUT holds for the n masks found `<i>.masks` and `<i>.logits`, shape (n, height, width),
`<i>.bbox`, `<i>.predicted_iou`, `<i>.stability_score`, `<i>.point`, `<i>.crop_box`.
For `script`, INPUT holds `image`; OUTPUT holds what the script's `run(checkpoint, image)` returns.
"""

from __future__ import annotations

import json
import math
import os
import runpy
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from support.quick_features import quick_features
from support.torch_speed import features_computed_once, keep_memory

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mobile_sam import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry
    from mobile_sam.modeling import ImageEncoderViT, Sam, TinyViT
    from mobile_sam.utils.amg import generate_crop_boxes

SHORT_BLOCKS = 3
"""With one of them that attends to the whole picture, not within windows alone."""
ARGUMENTS = ("box", "point_coords", "point_labels", "mask_input")


def build(name: str) -> Sam:
    """A model with random weights."""
    model: Sam = sam_model_registry[name.removesuffix("_short")]()
    if name == "vit_b_short":
        model.image_encoder.blocks = model.image_encoder.blocks[:SHORT_BLOCKS]
    return model


def load(name: str, checkpoint: str) -> Sam:
    """A model with the weights of a checkpoint."""
    model = build(name)
    model.load_state_dict(torch.load(checkpoint, weights_only=True))
    return model.eval()  # the original computes its attention biases here, from the weights


def entries(name: str) -> dict[str, list[int]]:
    """The names and shapes of a checkpoint's entries."""
    # SAM's weights are too large to allocate for this; MobileSAM cannot be built without them.
    with torch.device("cpu" if name == "vit_t" else "meta"):
        model = build(name)
    return {entry: list(tensor.shape) for entry, tensor in model.state_dict().items()}


def seeded_state(name: str, seed: int) -> dict[str, torch.Tensor]:
    """Random weights under the official names. Initial weights would hide errors: many are zeros and ones."""
    model = build(name)
    random = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = model.state_dict()
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
        elif tensor.ndim == 2 and (
            "embed" in name or "token.weight" in name or "tokens.weight" in name or "gaussian" in name
        ):
            tensor.copy_(noise)
        else:
            tensor.copy_(noise * math.sqrt(2 / tensor[0].numel()))
        if "hypernetworks" in name and "layers.2" in name:
            # Kernels that sum to zero make masks that are neither empty nor the whole picture.
            tensor.sub_(tensor.mean(dim=0))
    return state


def write_checkpoint(state: dict[str, torch.Tensor], path: str, added: list[float]) -> None:
    """Save weights after shifting the predicted IoU of the four masks by `added`."""
    state["mask_decoder.iou_prediction_head.layers.2.bias"].add_(torch.tensor(added))
    torch.save(state, path)


def blob_state(seed: int) -> dict[str, torch.Tensor]:
    """Random weights of MobileSAM whose masks are a few blobs that depend on the prompt, so that their boxes differ."""
    state = seeded_state("vit_t", seed)
    for name, tensor in state.items():
        if name.startswith("image_encoder.neck.3"):
            tensor.mul_(0.05)
        elif "point_embeddings" in name:
            tensor.mul_(0.1)
        elif "output_upscaling" in name and tensor.ndim == 4:
            # Otherwise each upscaled pixel has a texture of its own.
            tensor.copy_(2 * tensor.mean(dim=(2, 3), keepdim=True).expand_as(tensor))
        elif "cross_attn_image_to_token.q_proj.weight" in name:
            # Each position of the picture attends to the token of the point at that position.
            tensor.copy_(state[name.replace("q_proj", "k_proj")])
        elif "cross_attn_image_to_token.q_proj.bias" in name or "cross_attn_image_to_token.k_proj.bias" in name:
            tensor.zero_()
    model = build("vit_t")
    model.eval()
    model.load_state_dict(state)
    means: list[torch.Tensor] = []
    model.mask_decoder.output_upscaling.register_forward_hook(
        lambda _module, _input, output: means.append(output.mean(dim=(0, 2, 3)))
    )
    predictor = SamPredictor(model)
    predictor.set_image(np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    points = torch.rand(4, 1, 2, generator=torch.Generator().manual_seed(seed)) * 1024
    predictor.predict_torch(points, torch.ones(4, 1))
    mean = means[0] / means[0].norm()
    # Remove the component that all pixels share, which would put all of them above the threshold.
    for name, tensor in state.items():
        if "hypernetworks" in name and "layers.2" in name:
            tensor.sub_(torch.tensordot(mean, mean @ tensor, dims=0)).mul_(10)
            if tensor.ndim == 1:
                tensor.sub_(5 * mean / means[0].norm())
    return state


def predict(name: str, checkpoint: str, source: str, output: str) -> None:
    predictor = SamPredictor(load(name, checkpoint))
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


def generate(name: str, checkpoint: str, source: str, output: str) -> None:
    model = load(name, checkpoint)
    model.image_encoder.forward = quick_features
    answers: dict[str, np.ndarray] = {}
    with np.load(source) as given:
        for case in (key.removesuffix(".image") for key in given.files if key.endswith(".image")):
            image = np.ascontiguousarray(given[f"{case}.image"][..., ::-1])
            options = {
                key.rpartition(".")[2]: given[key].item() for key in given.files if key.startswith(f"{case}.option.")
            }
            grids = [given[key] for key in given.files if key.startswith(f"{case}.point_grids.")]
            if grids:
                options |= {"points_per_side": None, "point_grids": grids}
            generator = SamAutomaticMaskGenerator(model, **options)
            generator.predictor = RememberingPredictor(model)
            records = generator.generate(image)
            for key in ("bbox", "predicted_iou", "stability_score", "crop_box"):
                answers[f"{case}.{key}"] = np.array([record[key] for record in records])
            answers[f"{case}.point"] = np.array([record["point_coords"][0] for record in records])
            answers[f"{case}.masks"] = np.array([record["segmentation"] for record in records])
            answers[f"{case}.logits"] = logits_of(generator, image.shape[:2], records)
    np.savez(output, allow_pickle=False, **answers)


class RememberingPredictor(SamPredictor):  # type: ignore[misc]  # the original has no types
    """Keeps all predictions for each of its pictures: points, logits and IoU of each batch."""

    def __init__(self, model: Sam) -> None:
        super().__init__(model)
        self.pictures: list[list[tuple[torch.Tensor, ...]]] = []

    def set_image(self, *given: Any, **named: Any) -> None:
        self.pictures.append([])
        super().set_image(*given, **named)

    def predict_torch(self, points: torch.Tensor, *given: Any, **named: Any) -> Any:
        logits, iou, low_res = super().predict_torch(points, *given, **named)
        self.pictures[-1].append((points[:, 0], logits, iou))
        return logits, iou, low_res


def logits_of(generator: SamAutomaticMaskGenerator, size: tuple[int, int], records: list[dict[str, Any]]) -> np.ndarray:
    """The logits behind each record's mask, shape (n, height, width); the generator does not return them."""
    crops, _ = generate_crop_boxes(size, generator.crop_n_layers, generator.crop_overlap_ratio)
    full = np.full((len(records), *size), -np.inf, np.float32)
    for row, record in zip(full, records, strict=True):
        # They are floats if one of the crops has no masks.
        left, top, width, height = map(int, record["crop_box"])
        pictures = generator.predictor.pictures[crops.index([left, top, left + width, top + height])]
        points, logits, iou = (torch.cat(parts) for parts in zip(*pictures, strict=True))
        asked = np.array(record["point_coords"]) - (left, top)
        place = (points - generator.predictor.transform.apply_coords(asked, (height, width))).norm(dim=1).argmin()
        best = (iou[place] - record["predicted_iou"]).abs().argmin()  # a point has up to three masks
        row[top : top + height, left : left + width] = logits[place, best]
    return full


def run_script(script: str, checkpoint: str, source: str, output: str) -> None:
    with np.load(source) as given, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answers = runpy.run_path(script, run_name="script")["run"](checkpoint, given["image"])
    np.savez(output, allow_pickle=False, **answers)


COMMANDS: dict[str, Callable[..., object]] = {
    "entries": entries,
    "checkpoint": lambda name, seed, path, added: write_checkpoint(seeded_state(name, seed), path, added),
    "blobs": lambda seed, path, added: write_checkpoint(blob_state(seed), path, added),
    "predict": predict,
    "generate": generate,
    "script": run_script,
}


def main() -> None:
    # Tests run in two workers, and a second thread halves no time.
    torch.set_num_threads(1)
    keep_memory()
    # Keep what the originals print out of the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with features_computed_once(TinyViT), features_computed_once(ImageEncoderViT):
        for line in sys.stdin:
            name, *arguments = json.loads(line)
            print(json.dumps(COMMANDS[name](*arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main()
