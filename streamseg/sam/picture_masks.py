"""What `SAM.predict` returns: detections that know their picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import supervision as sv

from streamseg.errors import UsageError
from streamseg.messages import Image


@dataclass(eq=False)
class PictureMasks(sv.Detections):
    """The masks of one picture as `supervision.Detections`. A selection of rows is a plain `Detections`.

        (detections,) = SAM("mobile_sam.pt")("dog.jpg", bboxes=[439, 437, 524, 709])
        detections.save("dog-masks.jpg")

    Attributes:
        image: The picture: shape (height, width, 3), uint8, BGR.
    """

    image: Image = field(kw_only=True, repr=False)

    def plot(self) -> Image:
        """Draw the masks on a copy of the picture, each prompted object in a colour of its own.

        Returns:
            Shape (height, width, 3), uint8, BGR.
        """
        colours = np.asarray(self.data.get("prompt", np.arange(len(self))), np.int64)
        return np.asarray(sv.MaskAnnotator().annotate(self.image.copy(), self, colours), np.uint8)

    def save(self, path: str | Path) -> None:
        """Write the plot to a picture file; its suffix, such as `.jpg` or `.png`, sets the format.

        Raises:
            UsageError: The suffix is of no format of OpenCV, or the file cannot be written.
        """
        path = Path(path)
        if not cv2.haveImageWriter(path.name):
            raise UsageError(f"{path}: pictures are not written as {path.suffix or 'files without a suffix'}; try .jpg")
        _, content = cv2.imencode(path.suffix, self.plot())
        try:
            path.write_bytes(content.tobytes())
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror or error}; name another file") from error
