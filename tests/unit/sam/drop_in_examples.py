"""The calls of the original repositories' notebooks and of MobileSAM's README, as a user writes them for the original.

A test calls `run` as it is, and once more with nothing but the imports changed, and compares the outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mobile_sam import SamAutomaticMaskGenerator, SamPredictor, build_sam_vit_t, sam_model_registry
from mobile_sam.utils.transforms import ResizeLongestSide
from numpy.typing import NDArray
from pycocotools import mask as mask_utils

Outputs = dict[str, NDArray[Any]]


def predictor_example(checkpoint: str, image: NDArray[np.uint8]) -> Outputs:
    sam = sam_model_registry["vit_t"](checkpoint=checkpoint)
    sam.to(device="cpu")
    # Without this the original's TinyViT keeps tables from before it loaded the weights.
    sam.eval()
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    outputs = {"embedding": predictor.get_image_embedding().numpy()}

    input_point = np.array([[150, 75]])
    input_label = np.array([1])
    masks, scores, logits = predictor.predict(point_coords=input_point, point_labels=input_label, multimask_output=True)
    outputs |= {"point.masks": masks, "point.scores": scores, "point.logits": logits}

    input_point = np.array([[150, 75], [225, 125]])
    mask_input = logits[np.argmax(scores), :, :]
    for name, labels in (("two points", [1, 1]), ("negative point", [1, 0])):
        masks, scores, _ = predictor.predict(
            point_coords=input_point,
            point_labels=np.array(labels),
            mask_input=mask_input[None, :, :],
            multimask_output=False,
        )
        outputs |= {f"{name}.masks": masks, f"{name}.scores": scores}

    input_box = np.array([85, 60, 140, 175])
    masks, scores, _ = predictor.predict(
        point_coords=None, point_labels=None, box=input_box[None, :], multimask_output=False
    )
    outputs |= {"box.masks": masks, "box.scores": scores}
    masks, scores, _ = predictor.predict(
        point_coords=np.array([[115, 120]]), point_labels=np.array([0]), box=input_box, multimask_output=False
    )
    outputs |= {"box and point.masks": masks, "box and point.scores": scores}

    input_boxes = torch.tensor([[15, 55, 170, 130], [85, 60, 140, 175], [275, 5, 290, 160]], device=predictor.device)
    transformed_boxes = predictor.transform.apply_boxes_torch(input_boxes, image.shape[:2])
    many, scores, low_res = predictor.predict_torch(
        point_coords=None, point_labels=None, boxes=transformed_boxes, multimask_output=False
    )
    outputs |= {"boxes": transformed_boxes.numpy(), "boxes.masks": many.numpy(), "boxes.scores": scores.numpy()}
    many, scores, _ = predictor.predict_torch(
        None, None, transformed_boxes, low_res[:1], multimask_output=True, return_logits=True
    )
    return outputs | {"boxes and one mask.logits": many.numpy(), "boxes and one mask.scores": scores.numpy()}


def batched_example(checkpoint: str, image: NDArray[np.uint8]) -> Outputs:
    sam = build_sam_vit_t(checkpoint=checkpoint).eval()
    resize_transform = ResizeLongestSide(sam.image_encoder.img_size)

    def prepare_image(image: NDArray[np.uint8], transform: ResizeLongestSide, device: Any) -> torch.Tensor:
        resized = transform.apply_image(image)
        pixels = torch.as_tensor(resized, device=device.device)
        return pixels.permute(2, 0, 1).contiguous()

    other = np.ascontiguousarray(image[:, :120])
    image1_boxes = torch.tensor([[15, 55, 170, 130], [85, 60, 140, 175]], device=sam.device)
    image2_points = torch.tensor(
        [[[30, 40], [60, 150]], [[100, 20], [20, 20]], [[5, 190], [70, 90]]], device=sam.device
    )
    batched_input = [
        {
            "image": prepare_image(image, resize_transform, sam),
            "boxes": resize_transform.apply_boxes_torch(image1_boxes, image.shape[:2]),
            "original_size": image.shape[:2],
        },
        {
            "image": prepare_image(other, resize_transform, sam),
            "point_coords": resize_transform.apply_coords_torch(image2_points, other.shape[:2]),
            "point_labels": torch.tensor([[1, 1], [1, 0], [0, 1]], device=sam.device),
            "original_size": other.shape[:2],
        },
    ]
    batched_output = sam(batched_input, multimask_output=True)
    return {f"{i}.{name}": value.numpy() for i, output in enumerate(batched_output) for name, value in output.items()}


def automatic_mask_generator_example(checkpoint: str, image: NDArray[np.uint8]) -> Outputs:
    mobile_sam = sam_model_registry["vit_t"](checkpoint=checkpoint)
    mobile_sam.to(device="cpu")
    mobile_sam.eval()
    outputs: Outputs = {}
    for output_mode in ("binary_mask", "uncompressed_rle", "coco_rle"):
        mask_generator = SamAutomaticMaskGenerator(
            model=mobile_sam,
            points_per_side=3,
            pred_iou_thresh=0.3,
            stability_score_thresh=0.05,
            crop_n_layers=0,  # crops are compared with the original in everything mode, where they cost less
            crop_n_points_downscale_factor=2,
            min_mask_region_area=100 if output_mode == "uncompressed_rle" else 0,
            output_mode=output_mode,
        )
        masks = mask_generator.generate(image)
        outputs[f"{output_mode}.keys"] = np.array([sorted(masks[0])])
        outputs[f"{output_mode}.masks"] = np.array([decoded(ann["segmentation"]) for ann in masks])
        sorted_anns = sorted(masks, key=(lambda ann: ann["area"]), reverse=True)
        for key in ("area", "bbox", "predicted_iou", "point_coords", "stability_score", "crop_box"):
            outputs[f"{output_mode}.{key}"] = np.array([ann[key] for ann in sorted_anns])
    return outputs


def decoded(segmentation: Any) -> NDArray[np.bool_]:
    if isinstance(segmentation, np.ndarray):
        return segmentation
    if isinstance(segmentation["counts"], list):
        segmentation = mask_utils.frPyObjects(segmentation, *segmentation["size"])
    return np.asarray(mask_utils.decode(segmentation), np.bool_)


def cached_features_example(checkpoint: str, image: NDArray[np.uint8]) -> Outputs:
    """Labelling tools keep the features of pictures and give them back to a predictor."""
    sam = sam_model_registry["vit_t"](checkpoint=checkpoint).eval()
    first = SamPredictor(sam)
    first.set_image(np.ascontiguousarray(image[..., ::-1]), image_format="BGR")
    second = SamPredictor(sam)
    second.features, second.original_size, second.input_size = first.features, first.original_size, first.input_size
    second.is_image_set = True
    first.reset_image()
    logits, scores, _ = second.predict(np.array([[40.5, 60.25]]), np.array([1]), return_logits=True)
    return {"logits": logits, "scores": scores, "sizes": np.array([second.original_size, second.input_size])}


def transform_example(checkpoint: str, image: NDArray[np.uint8]) -> Outputs:
    transform = ResizeLongestSide(333)
    pixels = torch.as_tensor(image).permute(2, 0, 1)[None].float()
    size = image.shape[:2]
    return {
        "image": transform.apply_image(image),
        "image torch": transform.apply_image_torch(pixels).numpy(),
        "coords": transform.apply_coords(np.array([[[3, 4], [50.5, 7]]]), size),
        "coords torch": transform.apply_coords_torch(
            torch.tensor([[[3, 4], [50.5, 7]]], dtype=torch.float64), size
        ).numpy(),
        "box": transform.apply_boxes(np.array([3, 4, 50, 70]), size),
        "shape": np.array(transform.get_preprocess_shape(31, 47, 1024)),
    }


EXAMPLES = (
    predictor_example, batched_example, automatic_mask_generator_example, cached_features_example, transform_example,
)  # fmt: skip


def run(checkpoint: str, image: NDArray[np.uint8]) -> Outputs:
    return {
        f"{example.__name__}: {name}": value
        for example in EXAMPLES
        for name, value in example(checkpoint, image).items()
    }
