"""Labels the pictures of a source that are not labelled yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console

from streamseg.annotate.labelling import LabelledPicture, Labeller
from streamseg.annotate.pictures import Picture, Pictures
from streamseg.errors import SourceError
from streamseg.monitor.progress import WorkDisplay
from streamseg.printable import printable


class Destination(Protocol):
    """Stores labels."""

    def has(self, picture: Picture) -> bool:
        """Whether a picture is labelled.

        Raises:
            SourceError: The picture cannot be read.
        """
        ...

    def begin(self, classes: Sequence[str]) -> None:
        """Prepare for the first picture of a run."""
        ...

    def add(self, picture: Picture, labelled: LabelledPicture) -> None:
        """Store a picture's labels, completely or not at all."""
        ...

    def finish(self) -> None:
        """Complete the labels when all pictures are labelled, in this run or before."""
        ...


@dataclass(slots=True)
class Summary:
    """Counts of a run.

    Attributes:
        before: Pictures labelled by earlier runs.
        pictures: Pictures labelled by this run.
        objects: Their objects by class.
        unreadable: Failed reads of the source.
    """

    before: int = 0
    pictures: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0


def annotate_pictures(
    pictures: Pictures, destination: Destination, load: Callable[[], Labeller], console: Console
) -> Summary:
    """Label every wanted picture that is not labelled yet.

    Pictures that cannot be read are skipped, reported in one line each, and counted.

    Args:
        pictures: Iterated once, and twice if labels are missing.
        destination: Stores the labels.
        load: Loads the models; called only if labels are missing.
        console: Shows progress and unreadable pictures.
    """
    summary = Summary()
    if pictures.left_out:
        text = f"left out of {pictures.name}: {pictures.left_out}; only its pictures are annotated"
        console.print(printable(text), markup=False, highlight=False, soft_wrap=True)
    if _is_any_missing(pictures, destination, summary, console):
        summary = Summary()
        labeller = load()
        destination.begin(labeller.classes)
        with WorkDisplay("annotating", pictures.total, console) as display:
            for picture in _readable(pictures, summary, console):
                _annotate(picture, destination, labeller, summary, console, consecutive=pictures.consecutive)
                display.update(summary.before + summary.pictures + summary.unreadable)
    destination.finish()
    return summary


def _is_any_missing(pictures: Pictures, destination: Destination, summary: Summary, console: Console) -> bool:
    """Whether a picture has no labels or cannot be read; counts those that have, up to the first that has not."""
    for picture in _readable(pictures, summary, console):
        try:
            if picture.wanted and not destination.has(picture):
                return True
        except SourceError:
            return True
        summary.before += picture.wanted
    return False


def _readable(pictures: Pictures, summary: Summary, console: Console) -> Iterator[Picture]:
    """The pictures up to the first one that the source cannot read."""
    try:
        yield from pictures
    except SourceError as error:
        _report(error, summary, console)


def _annotate(
    picture: Picture,
    destination: Destination,
    labeller: Labeller,
    summary: Summary,
    console: Console,
    *,
    consecutive: bool,
) -> None:
    try:
        if not picture.wanted or destination.has(picture):
            summary.before += picture.wanted
            if consecutive:
                labeller.observe(picture.read())
            return
        image = picture.read()
    except SourceError as error:
        _report(error, summary, console)
        return
    labelled = LabelledPicture(picture.name, image.shape[1], image.shape[0], labeller.label(image))
    destination.add(picture, labelled)
    summary.pictures += 1
    summary.objects.update(one.detection.class_name for one in labelled.objects)


def _report(error: SourceError, summary: Summary, console: Console) -> None:
    summary.unreadable += 1
    console.print(f"skipped: {error}", markup=False, highlight=False, soft_wrap=True)
