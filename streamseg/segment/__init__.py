"""Segments picture files, and writes for each a folder of masks, their records, and an overlay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamseg.errors import OutputExistsError, UsageError
from streamseg.images import read_image
from streamseg.messages import Image
from streamseg.models import StepProgress
from streamseg.models.segmenters.sam import Sam
from streamseg.models.segmenters.sam.automatic import AutomaticOptions, generate
from streamseg.paths import unicode_name
from streamseg.sam.object_prompts import ObjectPrompts
from streamseg.segment.result import CandidateMask, PictureResult, PromptRecord, foreign_content, write_result


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentJob:
    """Pictures to segment, the prompts, and where the results go.

    Attributes:
        images: Files; the result of each is a folder in `output`, named like the file without its suffix, or
            like the file if that leaves only dots.
        prompts: One per object, boxes clipped to each picture; or the settings of everything mode.
        output: Created if missing.
        multimask: Whether to return three candidates per prompted object.
        overwrite: Whether earlier results are replaced.
    """

    images: tuple[Path, ...]
    prompts: tuple[ObjectPrompts, ...] | AutomaticOptions
    output: Path
    multimask: bool = False
    overwrite: bool = False

    def folder(self, image: Path) -> Path:
        """Return the folder for the result of a picture."""
        return self.output / (image.stem if image.stem.strip(".") else image.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmented:
    """A finished picture: `masks` were written to `folder`, and `without` prompted objects have none."""

    image: Path
    folder: Path
    masks: int
    without: int


def check_job(job: SegmentJob) -> None:
    """Check a job before a model is loaded.

    Raises:
        SourceError: A picture cannot be read.
        UsageError: Two pictures have the same name, or a prompt lies outside a picture.
        OutputExistsError: A result exists and may not be replaced, or another file is in its place.
    """
    if job.output.exists() and not job.output.is_dir():
        raise UsageError(f"{job.output} is a file; name a folder for the results")
    folders: dict[Path, Path] = {}
    for image in job.images:
        folder = job.folder(image)
        if folder in folders:
            raise UsageError(
                f"{folders[folder]} and {image} would both be written to {folder}; segment them one by one"
            )
        folders[folder] = image
    for folder in folders:
        if folder.exists() and not job.overwrite:
            raise OutputExistsError(f"{folder} exists; name another --output, or allow replacing it with -y")
        if folder.exists() and (foreign := foreign_content(folder)) is not None:
            raise OutputExistsError(f"{folder} {foreign}, so it is not replaced; name another --output")
    for image in job.images:
        height, width = read_image(image).shape[:2]
        for prompts in () if isinstance(job.prompts, AutomaticOptions) else job.prompts:
            try:
                prompts.check_inside((height, width))
            except UsageError as error:
                raise UsageError(f"{image}: {error}") from error


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
