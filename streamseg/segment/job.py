"""What `streamseg segment` is to do, checked before PyTorch is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamseg.errors import OutputExistsError, UsageError
from streamseg.images import read_image
from streamseg.object_prompts import ObjectPrompts
from streamseg.segment.result import foreign_content

if TYPE_CHECKING:
    from streamseg.models.segmenters.sam.automatic import AutomaticOptions


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
        for prompts in job.prompts if isinstance(job.prompts, tuple) else ():
            try:
                prompts.check_inside((height, width))
            except UsageError as error:
                raise UsageError(f"{image}: {error}") from error
