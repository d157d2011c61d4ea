"""What is wrong with the models of a run, in one line that goes with each result."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from streamseg.config import Config
from streamseg.ipc.descriptors import Masks
from streamseg.messages import PENDING, RUNNING, Models, TrackedObject
from streamseg.monitor.suggestions import Starvation


class Notices:
    """Adds to the models' names what is wrong during a live run.

    It adds nothing in every-frame mode: the results of a file do not depend on how fast its stages were.

    Attributes:
        models: The models as the next result names them.
    """

    def __init__(self, config: Config, models: Models) -> None:
        """Begin with `models`, whose notice says what the preferred ones lack."""
        self.models = models
        self._live = config.resolved_mode == "live"
        self._planned = models
        self._starvation = Starvation(config)
        self._restarting: dict[str, str] = {}

    @property
    def suggestion(self) -> str | None:
        """What would help while the masks starve; None while they do not."""
        return self._starvation.notice

    def add(self, masks: Masks) -> None:
        """Note how long a keyframe took."""
        if self._live:
            self._starvation.add((masks.t_decoded_ns - masks.t_capture_ns) / 1e6)

    def update(self, objects: Sequence[TrackedObject], now_ns: int) -> None:
        """Decide on the notice for a frame with these objects, published at that time of the monotonic clock."""
        if self._live:
            self._starvation.update(now_ns / 1e6, pending=any(item.method == PENDING for item in objects))
            self._update()

    def change(self, stage: str, state: str) -> None:
        """Note whether a stage runs."""
        self._restarting.pop(stage, None)
        if self._live and state != RUNNING:
            self._restarting[stage] = f"{stage}: {state}"

    def _update(self) -> None:
        notices = (self._planned.notice, *self._restarting.values(), self._starvation.notice)
        line = "; ".join(notice for notice in notices if notice is not None) or None
        if line != self.models.notice:
            self.models = msgspec.structs.replace(self._planned, notice=line)
