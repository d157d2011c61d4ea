"""The figures of `streamseg bench propagate`."""

from __future__ import annotations

import msgspec

from streamseg.bench.machine import Machine


class CarriedIoU(msgspec.Struct, frozen=True, kw_only=True):
    """Mean IoU with the truth, by what carried the masks; a mask that was lost counts as 0.

    Attributes:
        frozen: Left in place.
        flow: Plain dense flow of the whole frame.
        box: Moved and scaled with the box.
        ours: As the pipeline does, without the small segmenter.
        ours_refined: With it.
    """

    frozen: float
    flow: float
    box: float
    ours: float
    ours_refined: float


class LagFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Masks that were carried over so many frames.

    Attributes:
        lag: Frames.
        masks: How many were measured.
        iou: The mean; of several sequences, that of their means.
    """

    lag: int
    masks: int
    iou: CarriedIoU


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """How far the predicted IoU of refined masks can be trusted, over those that were not lost.

    Attributes:
        predicted: Mean of the prediction.
        actual: Mean IoU.
    """

    predicted: float
    actual: float


class FootageFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One folder, or the drawn scenes.

    Attributes:
        of: The folder's path as given, or `scenes`.
        keyframe_interval: Frames between those whose true masks are carried, from the first on.
        parts: By sequence or scene; lags for which one is too short are left out.
        mean: Of all of them.
        calibration: Of all masks; None where there are none.
    """

    of: str
    keyframe_interval: int
    parts: dict[str, list[LagFigures]]
    mean: list[LagFigures]
    calibration: Calibration | None


class CarryingMs(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of one core to carry five masks of about 200x300 pixels to the next frame of 1280x720, medians; as `CarriedIoU`.

    Attributes:
        flow: With finding the flow.
        box: Given the boxes.
        ours: Given the boxes.
        ours_refined: The same, and the small segmenter is asked for as many objects as the pipeline asks it for.
    """

    flow: float
    box: float
    ours: float
    ours_refined: float


class PropagateFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How good carried masks are, and what carrying them costs.

    Attributes:
        machine: What was measured on.
        ms_per_frame: What it costs.
        frames_timed: How many frames the medians are of.
        folders: In the order given, with the boxes of the true masks.
        scenes: The drawn ones, with boxes that are off.
    """

    machine: Machine
    ms_per_frame: CarryingMs
    frames_timed: int
    folders: list[FootageFigures]
    scenes: FootageFigures
