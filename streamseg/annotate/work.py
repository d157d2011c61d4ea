"""Goes through the pictures of a source and labels those that are not labelled yet."""

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


class Destination(Protocol):
    """Where labels go, and where one can see which are there already."""

    def has(self, picture: Picture) -> bool:
        """Whether a picture is labelled.

        Raises:
            SourceError: The picture cannot be read, so that nobody knows.
        """
        ...

    def begin(self, classes: Sequence[str]) -> None:
        """Called before the first picture of a run is added."""
        ...

    def add(self, picture: Picture, labelled: LabelledPicture) -> None:
        """Keep a picture's labels; whatever happens, they are there in full or not at all."""
        ...

    def finish(self) -> None:
        """Called when all pictures are labelled, also when they were before."""
        ...


@dataclass(slots=True)
class Summary:
    """What a run did.

    Attributes:
        before: Pictures that were labelled before.
        pictures: Pictures that were labelled now.
        objects: How many objects of each class they have.
        unreadable: How often the source could not be read.
    """

    before: int = 0
    pictures: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0


def annotate_pictures(
    pictures: Pictures, destination: Destination, load: Callable[[], Labeller], console: Console
) -> Summary:
    """Label every picture that is wanted and not labelled yet.

    What cannot be read is left out, said in one line each, and counted.

    Args:
        pictures: Gone through at least once, and twice where one is missing.
        destination: Takes the labels.
        load: Loads the models; called only when a picture is missing.
        console: For progress and for what cannot be read.
    """
    summary = Summary()
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
    """Whether a picture is not labelled, or cannot be told; counts those that are, up to the first that is not."""
    for picture in _readable(pictures, summary, console):
        try:
            if picture.wanted and not destination.has(picture):
                return True
        except SourceError:
            return True
        summary.before += picture.wanted
    return False


def _readable(pictures: Pictures, summary: Summary, console: Console) -> Iterator[Picture]:
    """The pictures up to the place from which on the source cannot be read, if there is one."""
    try:
        yield from pictures
    except SourceError as error:
        _tell(error, summary, console)


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
                labeller.show(picture.read())
            return
        image = picture.read()
    except SourceError as error:
        _tell(error, summary, console)
        return
    labelled = LabelledPicture(picture.name, image.shape[1], image.shape[0], labeller.label(image))
    destination.add(picture, labelled)
    summary.pictures += 1
    summary.objects.update(one.detection.class_name for one in labelled.objects)


def _tell(error: SourceError, summary: Summary, console: Console) -> None:
    summary.unreadable += 1
    console.print(f"left out: {error}", markup=False, highlight=False, soft_wrap=True)
