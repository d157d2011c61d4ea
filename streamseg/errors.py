"""The exceptions of streamseg: one tree, each branch with the exit code of its kind.

A message is one line that says what was wrong, what was expected, and what to do. It never contains a password.
"""

from __future__ import annotations

from typing import ClassVar


class StreamsegError(Exception):
    """Root of everything that streamseg raises on purpose."""

    exit_code: ClassVar[int] = 70


class UsageError(StreamsegError):
    """The command line or the call cannot be carried out as it was given."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is unknown, has the wrong type, or lies outside its range. The message begins with the key."""


class EndpointInUseError(UsageError):
    """Another process already publishes on the address."""


class OutputExistsError(UsageError):
    """A file that would be written is there already, and overwriting was not asked for."""


class DataError(UsageError):
    """Data to train on, or to measure with, is not what it should be."""


class NoImageError(UsageError, RuntimeError):
    """A predictor was asked about a picture before it was given one."""


class NoDisplayError(UsageError):
    """A window was asked for on a machine without a display."""


class SourceError(StreamsegError):
    """A source of frames could not be opened or read."""

    exit_code = 3


class SourceRefusedError(SourceError):
    """The source denied access (password, permission). Never retried."""


class WeightsError(StreamsegError):
    """Weights are missing, cannot be fetched, or are not what they claim to be."""

    exit_code = 4


class WeightsUnavailableError(WeightsError):
    """The network or the server did not deliver the weights; another model may be used in their place."""


class CheckpointError(WeightsError):
    """The file is not a checkpoint of the model."""


class BackendError(StreamsegError):
    """A library that runs networks failed; another one may do."""


class DamagedExportError(BackendError):
    """The file of an exported network cannot be read; exported again, it may be."""


class StageError(StreamsegError):
    """A stage failed, or failed too often."""


class RivalError(StreamsegError):
    """An implementation to be compared with could not be installed."""


class FrameOverrunError(StreamsegError):
    """The frame left its slot of the ring before it was read."""


class MessageError(StreamsegError):
    """A message does not follow the wire format."""


class SubscriptionRefusedError(StreamsegError):
    """The publisher does not let the subscriber in. Never retried."""

    exit_code = 3


class SubscriptionTimeoutError(StreamsegError, TimeoutError):
    """Nothing was received within the time-out."""

    exit_code = 3


def error_from_name(name: str, message: str) -> StreamsegError:
    """Rebuild an error that crossed a process boundary; unknown names become `StageError`."""
    branches: list[type[StreamsegError]] = [StreamsegError]
    while branches:
        branch = branches.pop()
        if branch.__name__ == name:
            return branch(message)
        branches.extend(branch.__subclasses__())
    return StageError(message)
