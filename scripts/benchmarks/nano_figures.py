"""The figures of `streamseg bench nano`."""

from __future__ import annotations

import msgspec

from streamseg.bench.machine import Machine


class BoxIoU(msgspec.Struct, frozen=True, kw_only=True):
    """Mean IoU with the truth, over objects; None of no objects.

    Attributes:
        nano: From true boxes.
        nano_jittered: From boxes whose edges are off by 5% of their sides (standard deviation).
        grabcut: GrabCut from true boxes.
        grabcut_jittered: GrabCut from those that are off.
    """

    nano: float | None
    nano_jittered: float | None
    grabcut: float | None
    grabcut_jittered: float | None


class Confidence(msgspec.Struct, frozen=True, kw_only=True):
    """How far the predicted IoU can be trusted, over the masks from both kinds of boxes.

    Attributes:
        predicted: Mean of the prediction.
        actual: Mean IoU.
        calibration_error: Mean distance of the two in ten bins of equal number, each weighed by its number.
        correlation: Pearson's, of prediction and IoU; None where one of them never changes.
    """

    predicted: float
    actual: float
    calibration_error: float
    correlation: float | None


class PriorIoU(msgspec.Struct, frozen=True, kw_only=True):
    """Mean IoU of objects whose mask plain flow carried over `lag` frames, with true boxes.

    Attributes:
        lag: Frames.
        without: Nano, without the carried mask.
        prior: The carried mask itself.
        nano: Nano, shown the carried mask.
        good_prior: The carried masks whose IoU is at least 0.9, over all frames; None where there are none.
        good_nano: Nano, shown one of those.
    """

    lag: int
    without: float
    prior: float
    nano: float
    good_prior: float | None
    good_nano: float | None


class SetFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One folder.

    Attributes:
        folder: Its path as given.
        pictures: How many were measured; photographs that the network was trained on are left out.
        objects: How many masks.
        iou: Over all objects; of sequences, the mean of their means.
        confidence: Of nano's masks; None of no objects.
        sequences: The same by sequence; empty for photographs.
        priors: By lag, the mean over the sequences; empty for photographs.
    """

    folder: str
    pictures: int
    objects: int
    iou: BoxIoU
    confidence: Confidence | None
    sequences: dict[str, BoxIoU]
    priors: list[PriorIoU]


class NanoFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What nano costs, and how good its masks are. Times are medians on one thread.

    Attributes:
        machine: What was measured on.
        file_bytes: Of the network.
        load_ms: Until the network is ready, ONNX Runtime being imported already.
        one_box_ms: A frame of 1280x720 with one box of 200x300 pixels, from the frame to the mask.
        ten_boxes_ms: The same with ten boxes.
        grabcut_one_box_ms: GrabCut, the same box.
        sets: The folders, in the order given.
    """

    machine: Machine
    file_bytes: int
    load_ms: float
    one_box_ms: float
    ten_boxes_ms: float
    grabcut_one_box_ms: float
    sets: list[SetFigures]
