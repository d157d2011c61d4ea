"""The files of a run: a video and JSON Lines, opened with the first result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamseg.config import RecordSettings
    from streamseg.messages import Image, Result
    from streamseg.sinks.jsonl import JsonlSink
    from streamseg.sinks.video import VideoSink


class Recording:
    """Writes each result once, also when a publish process takes over from one that was killed."""

    def __init__(self, settings: RecordSettings, *, resume: bool) -> None:
        self._settings = settings
        self._resume = resume
        self._video: VideoSink | None = None
        self._jsonl: JsonlSink | None = None

    @property
    def wants_picture(self) -> bool:
        """Whether there is a video."""
        return self._settings.video is not None

    @property
    def wants_overlay(self) -> bool:
        """Whether the video shows the drawn picture."""
        return self._settings.video is not None and self._settings.view == "overlay"

    def write(self, result: Result, image: Image | None) -> None:
        """Append a result, and its picture of shape (height, width, 3) in the wanted view where there is a video."""
        if self._settings.video is not None and image is not None:
            if self._video is None:
                from streamseg.sinks.video import VideoSink

                self._video = VideoSink(Path(self._settings.video), 30.0, resume=self._resume)
            self._video.write(image, result.pts_ns)
        if self._settings.jsonl is not None:
            if self._jsonl is None:
                from streamseg.sinks.jsonl import JsonlSink

                self._jsonl = JsonlSink(Path(self._settings.jsonl), resume=self._resume)
            self._jsonl.write(result)

    def close(self) -> None:
        """Finish the files."""
        if self._video is not None:
            self._video.close()
        if self._jsonl is not None:
            self._jsonl.close()
