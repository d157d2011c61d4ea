"""The exceptions of streamseg: one tree, with an exit code for each kind of error.

A message is one line: what is wrong, what was expected, what to do. It never contains a password: `redact` hides it.
"""

from __future__ import annotations

from typing import ClassVar

from streamseg.printable import printable
from streamseg.redaction import redact


class StreamsegError(Exception):
    """Base of all errors that streamseg raises on purpose. Its message is made printable."""

    exit_code: ClassVar[int] = 70

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(redact(message)))


class UsageError(StreamsegError):
    """The command line or the call is invalid."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is unknown, of the wrong type, or out of range. The message starts with its key."""


class EndpointInUseError(UsageError):
    """Another process already publishes on the endpoint."""


class OutputExistsError(UsageError):
    """An output file already exists, and overwriting it was not allowed."""


class DataError(UsageError):
    """Data for training or for measuring is missing or invalid."""


class MissingPackageError(UsageError, ImportError):
    """A package that only an extra installs is missing."""


class NoImageError(UsageError, RuntimeError):
    """A predictor was called before it had a picture."""


class NoDisplayError(UsageError):
    """A window needs a display, and this machine has none."""


class SourceError(StreamsegError):
    """A source could not be opened or read."""

    exit_code = 3


class SourceRefusedError(SourceError):
    """The source denied access (password, permission). Not retried."""


class WeightsError(StreamsegError):
    """Weights are missing, could not be downloaded, or have the wrong hash."""

    exit_code = 4


class WeightsUnavailableError(WeightsError):
    """The network or the server did not deliver the weights; a model without a download may replace the model."""


class CheckpointError(WeightsError):
    """The file is not a checkpoint of this model."""


class BackendError(StreamsegError):
    """A library that runs networks failed; another one may work."""


class DamagedExportError(BackendError):
    """An exported network cannot be read; a new export may help."""


class StageError(StreamsegError):
    """A stage failed, or failed too often."""


class OutputError(StreamsegError):
    """Standard output cannot be written, or a recording was deleted while it was written."""

    exit_code = 74


class ReaderGoneError(OutputError):
    """The program that read standard output has ended, as `head` does; not worth a message."""

    exit_code = 141


class FrameGoneError(StreamsegError):
    """A frame is no longer in shared memory."""


class FrameOverrunError(FrameGoneError):
    """The frame was overwritten before it was read."""


class RingGoneError(FrameGoneError):
    """The ring's shared memory was removed or replaced; capture makes a new ring."""


class MessageError(StreamsegError):
    """A message breaks the wire format."""


class LaterMessageError(MessageError):
    """A message has a kind or a view that this version does not know; a later one may."""


class SubscriptionRefusedError(StreamsegError):
    """The publisher refused the subscriber's key. Not retried."""

    exit_code = 3


class FrameRefusedError(StreamsegError):
    """The pipeline refused a program's frames: its key, its frame, or a second sender of one source."""

    exit_code = 3


class SubscriptionTimeoutError(StreamsegError, TimeoutError):
    """Nothing arrived within the time-out."""

    exit_code = 3


class ControlTimeoutError(StreamsegError, TimeoutError):
    """A pipeline did not reply to a request within the time-out."""

    exit_code = 3


def error_from_name(name: str, message: str) -> StreamsegError:
    """Rebuild an error of another process from the name of its class; unknown names become `StageError`."""
    branches: list[type[StreamsegError]] = [StreamsegError]
    while branches:
        branch = branches.pop()
        if branch.__name__ == name:
            return branch(message)
        branches.extend(branch.__subclasses__())
    return StageError(message)
