"""Segments pictures from files: for each, a folder with the masks, their records, and the picture with the masks drawn on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamseg.errors import OutputExistsError, UsageError
from streamseg.images import read_image
from streamseg.messages import Image
from streamseg.models.segmenters.sam import Sam
from streamseg.models.segmenters.sam.automatic import AutomaticOptions, generate
from streamseg.sam.object_prompts import ObjectPrompts
from streamseg.segment.result import RECORDS, Answer, FoundObject, PromptRecord, write_result

Progress = Callable[[int, int], None]
"""Told how many steps are done, and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentJob:
    """What is to be segmented, and where the results go.

    Attributes:
        images: Files; the result of each is a folder in `output` named as the file, without its ending.
        wanted: What each object is asked for by, every one for one object; or how to look for everything.
        output: Made where it is missing.
        multimask: Whether each object asked for gets three masks.
        overwrite: Whether earlier results are replaced.
    """

    images: tuple[Path, ...]
    wanted: tuple[ObjectPrompts, ...] | AutomaticOptions
    output: Path
    multimask: bool = False
    overwrite: bool = False

    def folder(self, image: Path) -> Path:
        """Where the result of a picture goes."""
        return self.output / image.stem


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmented:
    """One picture that is done: `masks` of them were written to `folder`, and `without` of the objects asked for have none."""

    image: Path
    folder: Path
    masks: int
    without: int


def check_job(job: SegmentJob) -> None:
    """See that nothing keeps a job from being done, before a model is loaded.

    Raises:
        SourceError: A picture cannot be read.
        UsageError: Two pictures have one name, or a prompt lies outside a picture.
        OutputExistsError: A result is there already and may not be replaced, or something else is in its place.
    """
    if job.output.exists() and not job.output.is_dir():
        raise UsageError(f"{job.output} is a file; name a folder for the results")
    names: dict[str, Path] = {}
    for image in job.images:
        if image.stem in names:
            raise UsageError(
                f"{names[image.stem]} and {image} would both be written to {job.folder(image)}; segment them one by one"
            )
        names[image.stem] = image
    for folder in map(job.folder, job.images):
        if folder.exists() and not job.overwrite:
            raise OutputExistsError(f"{folder} exists; name another --output, or allow replacing it with -y")
        if folder.exists() and not (folder / RECORDS).is_file():
            raise OutputExistsError(
                f"{folder} exists and holds no {RECORDS}, so it is not replaced; name another --output"
            )
    for image in job.images:
        height, width = read_image(image).shape[:2]
        for prompts in () if isinstance(job.wanted, AutomaticOptions) else job.wanted:
            try:
                prompts.check_inside((height, width))
            except UsageError as error:
                raise UsageError(f"{image}: {error}") from error


def segment_images(job: SegmentJob, model: Sam, progress: Progress) -> Iterator[Segmented]:
    """Do a job that was checked, one picture after the other.

    Raises:
        SourceError: A picture cannot be read any more.
        UsageError: A result cannot be written.
    """
    for index, path in enumerate(job.images):
        image = read_image(path)
        answer = _answer(model, image, job, _share(progress, index, len(job.images)))
        folder = job.folder(path)
        try:
            write_result(folder, path.name, image, answer)
        except OSError as error:
            raise UsageError(f"{folder} cannot be written: {error.strerror or error}; name another --output") from error
        without = len(answer.prompts) - len({one.object for one in answer.found})
        yield Segmented(image=path, folder=folder, masks=len(answer.found), without=without)


def _share(progress: Progress, index: int, count: int) -> Progress:
    """Takes one picture's progress, and passes it on as that of all pictures."""
    return lambda done, total: progress(index * total + done, count * total)


def _answer(model: Sam, image: Image, job: SegmentJob, progress: Progress) -> Answer:
    if isinstance(job.wanted, AutomaticOptions):
        return _everything(model, image, job.wanted, progress)
    embedding = model.encode(image)
    found, logits = [], []
    for index, asked in enumerate(job.wanted):
        # One by one, since objects with different numbers of points need filling points, which change the answers a little.
        prediction = model.predict(embedding, asked.on(embedding), multimask=job.multimask)
        logits.append(prediction.logits.numpy(force=True))
        for candidates in model.masks(embedding, prediction):
            for candidate, one in enumerate(candidates):
                if one.mask is not None and one.predicted_iou is not None and one.stability is not None:
                    found.append(FoundObject(index, candidate, one.mask, one.predicted_iou, one.stability))
        progress(index + 1, len(job.wanted))
    return Answer(model.name, [_prompt_record(asked) for asked in job.wanted], found, np.concatenate(logits))


def _everything(model: Sam, image: Image, options: AutomaticOptions, progress: Progress) -> Answer:
    masks = generate(model, image, options, progress)
    prompts = [PromptRecord(points=[list(one.point)], labels=[1]) for one in masks]
    found = [FoundObject(index, 0, one.mask, one.predicted_iou, one.stability) for index, one in enumerate(masks)]
    return Answer(model.name, prompts, found, None)


def _prompt_record(asked: ObjectPrompts) -> PromptRecord:
    return PromptRecord(
        box=None if asked.boxes is None else asked.boxes[0].tolist(),
        points=None if asked.points is None else asked.points[0].tolist(),
        labels=None if asked.labels is None else asked.labels[0].tolist(),
        mask_input=asked.masks is not None,
    )
