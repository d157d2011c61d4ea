"""The files of a run, a video and JSON Lines: written in parts, joined at the end."""

from __future__ import annotations

from pathlib import Path

from streamseg.config import RecordSettings
from streamseg.messages import Image, PixelAspect, ResultMessage
from streamseg.sinks.joining import join_lines, join_videos, video_size
from streamseg.sinks.jsonl import LinesWriter
from streamseg.sinks.parts import all_parts, later_parts, next_part
from streamseg.sinks.video import VideoWriter


class Recorder:
    """Writes results to new part files, opened with the first result, and joins all parts at the end.

    Attributes:
        wants_picture: Whether `write` needs the picture of a result.
        wants_overlay: Whether that is the drawn one.
    """

    def __init__(self, settings: RecordSettings, *, resume: bool) -> None:
        """Start a recording, or with `resume` the next part of one."""
        self.wants_picture = settings.video is not None
        self.wants_overlay = self.wants_picture and settings.view == "overlay"
        self._video_path = None if settings.video is None else Path(settings.video)
        self._lines_path = None if settings.jsonl is None else Path(settings.jsonl)
        self._resume = resume
        self._video: VideoWriter | None = None
        self._lines: LinesWriter | None = None
        if not resume:
            for target in filter(None, (self._video_path, self._lines_path)):
                for part in later_parts(target):
                    part.unlink()

    @property
    def begun(self) -> bool:
        """Whether a part of this recording exists. Until then, existing files are those of an earlier run."""
        return self._resume or self._video is not None or self._lines is not None

    def write(self, result: ResultMessage, image: Image | None) -> None:
        """Append a result and its picture, of shape (height, width, 3), if there is a video.

        Raises:
            UsageError: A file cannot be opened.
            OutputError: A file or part was deleted.
            StageError: The result could not be written.
        """
        if self._video_path is not None and image is not None:
            self._video = self._video or self._open_video(self._video_path, result.pixel_aspect)
            self._video.write(image, result.pts_ns)
        if self._lines_path is not None:
            self._lines = self._lines or self._open_lines(self._lines_path)
            self._lines.write(result)

    def close(self) -> None:
        """Close the parts."""
        if self._video is not None:
            self._video.close()
        if self._lines is not None:
            self._lines.close()

    def finish(self) -> None:
        """Close the parts and make one ordinary file of them. Takes seconds for hours of video.

        Raises:
            OutputError: A part was deleted; the others are kept.
            StageError: A file could not be finished; all its parts are kept.
        """
        for writer in (self._video, self._lines):
            if writer is not None:
                writer.file.require()
        self.close()
        if not self.begun:
            return
        if self._video_path is not None:
            join_videos(all_parts(self._video_path), self._video_path)
        if self._lines_path is not None and len(parts := all_parts(self._lines_path)) > 1:
            join_lines(parts, self._lines_path)

    def _open_video(self, target: Path, pixel_aspect: PixelAspect) -> VideoWriter:
        if not self._resume:
            return VideoWriter(target, pixel_aspect=pixel_aspect)
        return VideoWriter(next_part(target), video_size(target), pixel_aspect)

    def _open_lines(self, target: Path) -> LinesWriter:
        return LinesWriter(next_part(target) if self._resume else target)
