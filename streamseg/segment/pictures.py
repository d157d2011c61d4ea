"""Runs a job: one picture after the other, one prompt after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamseg.errors import UsageError
from streamseg.images import read_image
from streamseg.messages import Image
from streamseg.models import StepProgress
from streamseg.models.segmenters.sam import Sam
from streamseg.models.segmenters.sam.automatic import AutomaticOptions, generate
from streamseg.object_prompts import ObjectPrompts
from streamseg.paths import unicode_name
from streamseg.segment.job import SegmentJob
from streamseg.segment.result import CandidateMask, PictureResult, PromptRecord, write_result


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmented:
    """A finished picture: `masks` were written to `folder`, and `without` prompted objects have none."""

    image: Path
    folder: Path
    masks: int
    without: int


def segment_images(job: SegmentJob, model: Sam, progress: StepProgress) -> Iterator[Segmented]:
    """Run a checked job, one picture after the other.

    Raises:
        SourceError: A picture can no longer be read.
        UsageError: A result cannot be written.
    """
    for index, path in enumerate(job.images):
        image = read_image(path)
        result = _segment(model, image, job, _share(progress, index, len(job.images)))
        folder = job.folder(path)
        try:
            write_result(folder, unicode_name(path.name), image, result)
        except OSError as error:
            raise UsageError(f"{folder} cannot be written: {error.strerror or error}; name another --output") from error
        without = len(result.prompts) - len({one.object for one in result.masks})
        yield Segmented(image=path, folder=folder, masks=len(result.masks), without=without)


def _share(progress: StepProgress, index: int, count: int) -> StepProgress:
    """Convert one picture's progress to that of all pictures."""
    return lambda done, total: progress(index * total + done, count * total)


def _segment(model: Sam, image: Image, job: SegmentJob, progress: StepProgress) -> PictureResult:
    if isinstance(job.prompts, AutomaticOptions):
        return _everything(model, image, job.prompts, progress)
    prompts = [prompt.clipped((image.shape[0], image.shape[1])) for prompt in job.prompts]
    embedding = model.encode(image)
    found, logits = [], []
    for index, prompt in enumerate(prompts):
        # One by one: objects with different numbers of points would need padding, which changes masks slightly.
        prediction = model.predict(embedding, prompt.on(embedding), multimask=job.multimask)
        logits.append(prediction.logits.numpy(force=True))
        for candidates in model.masks(embedding, prediction):
            for candidate, one in enumerate(candidates):
                if one.mask is not None and one.predicted_iou is not None and one.stability is not None:
                    found.append(CandidateMask(index, candidate, one.mask, one.predicted_iou, one.stability))
        progress(index + 1, len(prompts))
    return PictureResult(model.name, [_prompt_record(prompt) for prompt in prompts], found, np.concatenate(logits))


def _everything(model: Sam, image: Image, options: AutomaticOptions, progress: StepProgress) -> PictureResult:
    masks = generate(model, image, options, progress)
    prompts = [PromptRecord(points=[list(one.point)], labels=[1]) for one in masks]
    found = [CandidateMask(index, 0, one.mask, one.predicted_iou, one.stability) for index, one in enumerate(masks)]
    return PictureResult(model.name, prompts, found, None)


def _prompt_record(prompt: ObjectPrompts) -> PromptRecord:
    return PromptRecord(
        box=None if prompt.boxes is None else prompt.boxes[0].tolist(),
        points=None if prompt.points is None else prompt.points[0].tolist(),
        labels=None if prompt.labels is None else prompt.labels[0].tolist(),
        mask_input=prompt.masks is not None,
    )
