"""A data set's folder: what is in it, by which settings it was made, and who writes to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec
from filelock import FileLock, Timeout

from streamseg.annotate.formats import create_format
from streamseg.annotate.labelling import IMAGES, LabelledPicture
from streamseg.annotate.pictures import Picture
from streamseg.atomic import flush, put_in_place, unfinished, unfinished_files, write_atomically
from streamseg.errors import OutputExistsError, UsageError
from streamseg.images import IMAGE_SUFFIXES

_RECORD: Final = "annotate.json"
_LOCK: Final = ".annotate.lock"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides what a data set holds; weights are None where the model's name says which they are."""

    format: str
    source: str
    source_bytes: int | None
    every: int
    detector: str
    detector_sha256: str | None
    segmenter: str
    segmenter_sha256: str | None
    conf: float
    iou: float
    imgsz: int | None
    max_det: int
    classes: list[str | int] | None

    def differences(self, other: Settings) -> list[str]:
        """What the two do not share, such as `conf 0.25, not 0.4`."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in self.__struct_fields__)
        return [f"{name} {mine}, not {theirs}" for name, mine, theirs in pairs if mine != theirs]


class _Record(msgspec.Struct):
    """`annotate.json`: how a data set is made, and all classes that its objects may have."""

    settings: Settings
    classes: list[str]


class Dataset:
    """A folder with `images/` and their labels; a picture is in `images/` only when its labels are written, and done when it is.

    What an interrupted run left is taken up where it was.

    Args:
        directory: The folder; this process alone writes to it.
        settings: How it is made.
        anew: Whether what was made before is to be removed when the first picture comes.

    Raises:
        UsageError: It was begun with other settings, and not to be made anew.
    """

    def __init__(self, directory: Path, settings: Settings, *, anew: bool) -> None:
        self._directory = directory
        self._images = directory / IMAGES
        self._settings = settings
        self._format = create_format(settings.format)
        self._before = _read_record(directory)
        self._anew = anew
        self._done: dict[str, Path] = {}
        if self._before is not None and not anew:
            if differences := self._before.settings.differences(settings):
                raise UsageError(
                    f"{directory} was begun with {', '.join(differences)}; name another folder, or begin anew with -y"
                )
            self._complete_last()
            copies, labels = self._copies(), self._labels()
            self._done = {stem: copy for stem, copy in copies.items() if stem in labels}

    def has(self, picture: Picture) -> bool:
        """Whether a picture is labelled.

        Raises:
            UsageError: Another picture of that name is.
            SourceError: The picture cannot be read.
        """
        copy = self._done.get(Path(picture.name).stem)
        if copy is None:
            return False
        if copy.name != picture.name or not picture.is_at(copy):
            raise UsageError(
                f"{picture.name} is not the picture that {copy} was copied from; name another folder, or begin anew with -y"
            )
        return True

    def begin(self, classes: Sequence[str]) -> None:
        """Make the folders, write down the settings, and remove what is to be made anew.

        Raises:
            UsageError: The data set was begun with other classes.
        """
        with _writing(self._directory):
            if self._anew and self._before is not None:
                self._remove_all(self._before)
                self._before = None
            if self._before is not None and self._before.classes != list(classes):
                raise UsageError(
                    f"{self._directory} was begun with other classes; name another folder, or begin anew with -y"
                )
            for folder in (IMAGES, self._format.folder):
                (self._directory / folder).mkdir(exist_ok=True)
            if self._before is None:
                self._before = _Record(self._settings, list(classes))
                content = msgspec.json.format(msgspec.json.encode(self._before)) + b"\n"
                write_atomically(self._directory / _RECORD, content)

    def add(self, picture: Picture, labelled: LabelledPicture) -> None:
        """Write a picture's labels, and a copy of it."""
        copy = self._images / picture.name
        with _writing(self._directory):
            picture.save(unfinished(copy))
            # Once the labels are there, the copy counts as whole.
            flush(copy)
            write_atomically(self._label_file(picture.name), self._format.encode(labelled))
            put_in_place(copy)

    def finish(self) -> None:
        """Write what is about all pictures."""
        with _writing(self._directory):
            if self._before is not None:
                self._format.finish(self._directory, self._before.classes)

    def _label_file(self, name: str) -> Path:
        return self._directory / self._format.folder / f"{Path(name).stem}{self._format.suffix}"

    def _complete_last(self) -> None:
        """Put the picture in place whose labels were written last, and remove whatever else is unfinished."""
        for folder in {self._directory, self._images, self._directory / self._format.folder}:
            for path in unfinished_files(folder):
                if (
                    folder == self._images
                    and path.suffix.lower() in IMAGE_SUFFIXES
                    and self._label_file(path.name).exists()
                ):
                    put_in_place(path)
                else:
                    unfinished(path).unlink()

    def _copies(self) -> dict[str, Path]:
        """What is in `images/`, by stem."""
        return {path.stem: path for path in self._images.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES}

    def _labels(self) -> set[str]:
        """The stems of pictures whose labels are written."""
        labels = (self._directory / self._format.folder).glob(f"*{self._format.suffix}")
        stems = {path.name.removesuffix(self._format.suffix) for path in labels}
        return stems | {Path(name).stem for name in self._format.finished(self._directory)}

    def _remove_all(self, before: _Record) -> None:
        """Remove what was made by the settings before, and nothing else; what is needed to know of it goes last."""
        earlier = Dataset(self._directory, before.settings, anew=False)
        copies = earlier._copies()
        for stem in earlier._labels():
            if stem in copies:
                copies[stem].unlink()
            earlier._label_file(stem).unlink(missing_ok=True)
        earlier._format.withdraw(self._directory)
        for folder in (earlier._format.folder, IMAGES):
            path = self._directory / folder
            if path.exists() and not any(path.iterdir()):
                path.rmdir()
        (self._directory / _RECORD).unlink()


@contextmanager
def open_dataset(directory: Path, settings: Settings, *, anew: bool) -> Iterator[Dataset]:
    """Have a data set for this process alone; where nothing is written, no trace of the attempt is left.

    Raises:
        OutputExistsError: The folder holds something else.
        UsageError: Another process writes to it, it cannot be written, or it was begun with other settings and not to be made anew.
    """
    with _writing(directory):
        if directory.exists() and not directory.is_dir():
            raise OutputExistsError(f"{directory} is a file; name a folder for the data set")
        if (
            directory.exists()
            and not (directory / _RECORD).exists()
            and any(path.name != _LOCK for path in directory.iterdir())
        ):
            raise OutputExistsError(
                f"{directory} holds something, but no data set that was made here; name another folder"
            )
    with ExitStack() as stack:
        with _writing(directory):
            made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
            directory.mkdir(parents=True, exist_ok=True)
            stack.callback(_remove_traces, directory, made)
            lock = FileLock(directory / _LOCK)
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                raise UsageError(
                    f"another process writes to {directory}; wait for its end, or name another folder"
                ) from error
        stack.callback(lock.release)
        yield Dataset(directory, settings, anew=anew)


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """Say what to do where the disk does not take what is written."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{directory} cannot be written: {error.strerror or error}; what is done is kept, run again to go on"
        ) from error


def _remove_traces(directory: Path, made: list[Path]) -> None:
    """Where nothing but the lock came to be in the folder, remove that, and the folders that were made for it."""
    lock = directory / _LOCK
    if list(directory.iterdir()) == [lock]:
        lock.unlink()
        for folder in made:
            folder.rmdir()


def _read_record(directory: Path) -> _Record | None:
    path = directory / _RECORD
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Record)
    except msgspec.MsgspecError as error:
        raise OutputExistsError(f"{path} is not as it was written here ({error}); name another folder") from error
