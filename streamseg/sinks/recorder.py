"""The files of a run: a video and JSON Lines, opened with the first result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streamseg.sinks.parts import existing_parts, later_parts, next_part

if TYPE_CHECKING:
    from streamseg.config import RecordSettings
    from streamseg.messages import Image, Result
    from streamseg.sinks.jsonl import LinesWriter
    from streamseg.sinks.video import VideoWriter


class Recorder:
    """Writes results to new part files, and joins all parts of the recording at its end."""

    def __init__(self, settings: RecordSettings, *, resume: bool) -> None:
        """Begin a recording, or with `resume` a further part of one."""
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
        """Whether a part of this recording exists. Before, an existing file is of an earlier run."""
        return self._resume or self._video is not None or self._lines is not None

    def write(self, result: Result, image: Image | None) -> None:
        """Append a result and its picture, of shape (height, width, 3), where there is a video.

        Raises:
            UsageError: A file cannot be opened.
            StageError: The result could not be written.
        """
        if self._video_path is not None and image is not None:
            self._video = self._video or self._open_video(self._video_path)
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
            StageError: A file could not be finished; all its parts are kept.
        """
        self.close()
        if self._video_path is not None and self.begun and (parts := existing_parts(self._video_path)):
            from streamseg.sinks.joining import join_videos

            join_videos(parts, self._video_path)
        if self._lines_path is not None and self.begun and len(parts := existing_parts(self._lines_path)) > 1:
            from streamseg.sinks.joining import join_lines

            join_lines(parts, self._lines_path)

    def _open_video(self, target: Path) -> VideoWriter:
        from streamseg.sinks.joining import video_size
        from streamseg.sinks.video import VideoWriter

        if not self._resume or not target.exists():
            return VideoWriter(target)
        return VideoWriter(next_part(target), video_size(target))

    def _open_lines(self, target: Path) -> LinesWriter:
        from streamseg.sinks.jsonl import LinesWriter

        return LinesWriter(next_part(target) if self._resume else target)
