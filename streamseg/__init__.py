"""streamseg: live video segmentation in processes of its own, with masks for every subscriber.

Public names are loaded on first use, so that `import streamseg` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamseg.annotate import auto_annotate
    from streamseg.client import Subscriber
    from streamseg.config import Config
    from streamseg.control import Control
    from streamseg.errors import StreamsegError
    from streamseg.masks import Mask
    from streamseg.messages import Detection
    from streamseg.pipeline import Pipeline
    from streamseg.push.sender import FrameSender
    from streamseg.result import Result
    from streamseg.sam.promptable import SAM

__all__ = [
    "SAM",
    "Config",
    "Control",
    "Detection",
    "FrameSender",
    "Mask",
    "Pipeline",
    "Result",
    "StreamsegError",
    "Subscriber",
    "auto_annotate",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    homes = {
        "Config": "streamseg.config",
        "Control": "streamseg.control",
        "Detection": "streamseg.messages",
        "FrameSender": "streamseg.push.sender",
        "Mask": "streamseg.masks",
        "Pipeline": "streamseg.pipeline",
        "Result": "streamseg.result",
        "SAM": "streamseg.sam.promptable",
        "StreamsegError": "streamseg.errors",
        "Subscriber": "streamseg.client",
        "auto_annotate": "streamseg.annotate",
    }
    if name not in homes:
        raise AttributeError(f"module 'streamseg' has no attribute {name!r}")
    from streamseg.extras import needed_for

    with needed_for(f"streamseg.{name}"):
        home = import_module(homes[name])
    return getattr(home, name)
