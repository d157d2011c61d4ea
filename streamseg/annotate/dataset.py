"""A data set's folder: its contents, its settings, and the lock of the process that writes to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
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
from streamseg.locks import remove_and_release

_RECORD: Final = "annotate.json"
_LOCK: Final = ".annotate.lock"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that determines the contents of a data set; hashes are None for weights of the catalogue."""

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
        """The differing settings, such as `conf 0.25, not 0.4`."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in self.__struct_fields__)
        return [f"{name} {mine}, not {theirs}" for name, mine, theirs in pairs if mine != theirs]


class _Record(msgspec.Struct):
    """`annotate.json`: settings and all classes of a data set."""

    settings: Settings
    classes: list[str]


class Dataset:
    """A folder with `images/` and their labels. A picture is placed in `images/` after its labels are written.

    The work of an interrupted run is kept.

    Args:
        directory: The folder; only this process writes to it.
        settings: Of the run.
        restart: Whether to remove the results of earlier runs before the first picture is added.

    Raises:
        UsageError: The data set has other settings, and `restart` is not set.
    """

    def __init__(self, directory: Path, settings: Settings, *, restart: bool) -> None:
        self._directory = directory
        self._images = directory / IMAGES
        self._settings = settings
        self._format = create_format(settings.format)
        self._before = _read_record(directory)
        self._restart = restart
        self._done: dict[str, Path] = {}
        if self._before is not None and not restart:
            if differences := self._before.settings.differences(settings):
                raise UsageError(
                    f"{directory} was made with {', '.join(differences)}; name another folder, or start over with -y"
                )
            self._complete_last()
            copies, labels = self._copies(), self._labels()
            self._done = {stem: copy for stem, copy in copies.items() if stem in labels}

    def has(self, picture: Picture) -> bool:
        """Whether a picture is labelled.

        Raises:
            UsageError: The data set has another picture of that name.
            SourceError: The picture cannot be read.
        """
        copy = self._done.get(Path(picture.name).stem)
        if copy is None:
            return False
        if copy.name != picture.name or not picture.matches(copy):
            raise UsageError(
                f"{picture.name} is not the picture that {copy} was copied from;"
                " name another folder, or start over with -y"
            )
        return True

    def begin(self, classes: Sequence[str]) -> None:
        """Create the folders and the record, after removing earlier results on a restart.

        Raises:
            UsageError: The data set has other classes.
        """
        with _writing(self._directory):
            if self._restart and self._before is not None:
                self._remove_all(self._before)
                self._before = None
            if self._before is not None and self._before.classes != list(classes):
                raise UsageError(
                    f"{self._directory} was made with other classes; name another folder, or start over with -y"
                )
            for folder in (IMAGES, self._format.folder):
                (self._directory / folder).mkdir(exist_ok=True)
            if self._before is None:
                self._before = _Record(self._settings, list(classes))
                content = msgspec.json.format(msgspec.json.encode(self._before)) + b"\n"
                write_atomically(self._directory / _RECORD, content)

    def add(self, picture: Picture, labelled: LabelledPicture) -> None:
        """Write a picture's labels and a copy of the picture."""
        copy = self._images / picture.name
        with _writing(self._directory):
            picture.save(unfinished(copy))
            # From the moment the labels exist, the copy counts as complete.
            flush(copy)
            write_atomically(self._label_file(picture.name), self._format.encode(labelled))
            put_in_place(copy)

    def finish(self) -> None:
        """Write the index of all pictures."""
        with _writing(self._directory):
            if self._before is not None:
                self._format.finish(self._directory, self._before.classes)

    def _label_file(self, name: str) -> Path:
        return self._directory / self._format.folder / f"{Path(name).stem}{self._format.suffix}"

    def _complete_last(self) -> None:
        """Move the picture whose labels were written last into place, and remove all other unfinished files."""
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
        """The pictures in `images/` by stem."""
        return {path.stem: path for path in self._images.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES}

    def _labels(self) -> set[str]:
        """Stems of labelled pictures."""
        labels = (self._directory / self._format.folder).glob(f"*{self._format.suffix}")
        stems = {path.name.removesuffix(self._format.suffix) for path in labels}
        return stems | {Path(name).stem for name in self._format.indexed(self._directory)}

    def _remove_all(self, before: _Record) -> None:
        """Remove the results of earlier runs and nothing else; the record, which identifies them, goes last."""
        earlier = Dataset(self._directory, before.settings, restart=False)
        copies = earlier._copies()
        for stem in earlier._labels():
            if stem in copies:
                copies[stem].unlink()
            earlier._label_file(stem).unlink(missing_ok=True)
        earlier._format.remove_index(self._directory)
        for folder in (earlier._format.folder, IMAGES):
            path = self._directory / folder
            if path.exists() and not any(path.iterdir()):
                path.rmdir()
        (self._directory / _RECORD).unlink()


@contextmanager
def open_dataset(directory: Path, settings: Settings, *, restart: bool) -> Iterator[Dataset]:
    """Lock a data set for this process; if nothing is written, no trace of the attempt is left.

    Raises:
        OutputExistsError: The folder holds something else.
        UsageError: Another process writes to it, it cannot be written, or it has other settings without `restart`.
    """
    with _writing(directory):
        if directory.exists() and not directory.is_dir():
            raise OutputExistsError(f"{directory} is a file; name a folder for the data set")
        if (
            directory.exists()
            and not (directory / _RECORD).exists()
            and any(path.name != _LOCK for path in directory.iterdir())
        ):
            raise OutputExistsError(f"{directory} is not empty and holds no data set of streamseg; name another folder")
    with ExitStack() as stack:
        with _writing(directory):
            made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
            directory.mkdir(parents=True, exist_ok=True)
            stack.callback(_remove_traces, made)
            lock = FileLock(directory / _LOCK)
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                raise UsageError(
                    f"another process writes to {directory}; wait until it ends, or name another folder"
                ) from error
        stack.callback(remove_and_release, lock)
        yield Dataset(directory, settings, restart=restart)


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """Turn a failure to write into an error with a remedy."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{directory} cannot be written: {error.strerror or error}; finished pictures are kept, run again to resume"
        ) from error


def _remove_traces(made: list[Path]) -> None:
    """Remove the folders that were made for the data set, if nothing is in them: another process may write there."""
    with suppress(OSError):
        for folder in made:
            folder.rmdir()


def _read_record(directory: Path) -> _Record | None:
    path = directory / _RECORD
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Record)
    except msgspec.MsgspecError as error:
        raise OutputExistsError(f"{path} is not as streamseg wrote it ({error}); name another folder") from error
