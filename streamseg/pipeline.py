"""READ FIRST: the stages, the links between them, and the pipeline that runs them.

           frame                  boxes + ids                masks             results
capture ───────────▶ detect ────────────────────▶ segment ───────────▶ publish ───────▶ record (if files are written)
   │                    │                                                ▲  ▲ ├───────▶ hub ──────▶ subscribers
   │                    └────────────────── boxes + ids ─────────────────┘  │ └───────▶ tap: the loop over a `Pipeline`
   └─────────────────────────────── frame ──────────────────────────────────┘
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from streamseg import messages
from streamseg.address_space import check_address_space
from streamseg.answers import Answers
from streamseg.changes import ChangingPlan
from streamseg.config import Config, ControlSettings, RecordSettings, check_config
from streamseg.config_file import SettingsFile, load_config
from streamseg.errors import FrameGoneError, StreamsegError, UsageError
from streamseg.ipc.frame_memory import SharedFrames
from streamseg.ipc.instance import Endpoint, Instance
from streamseg.ipc.launcher import ProcessLauncher
from streamseg.messages import Image
from streamseg.models.weights import WeightsProgress
from streamseg.monitor.observer import Observer
from streamseg.plan import RunPlan, make_plan
from streamseg.result import Result
from streamseg.supervisor import Supervisor
from streamseg.taps import Taps
from streamseg.topology import TAP, Link, StageEntry, StageKey, Topology

STAGES = (
    StageEntry("capture", "streamseg.stages.capture", reads_source=True, replays=True),
    StageEntry("detect", "streamseg.stages.detect", cores=0.5, shared=True, acknowledges=True),
    StageEntry("segment", "streamseg.stages.segment", cores=1, live_cores=0.5, niceness=10, shared=True, replays=True),
    StageEntry("publish", "streamseg.stages.publish", acknowledges=True, announces=True, finishes=True),
    StageEntry(
        "record",
        "streamseg.stages.record",
        niceness=5,
        acknowledges=True,
        finishes=True,
        needed=lambda config: config.record.enabled,
    ),
    StageEntry("hub", "streamseg.stages.hub", shared=True, finishes=True, last=True),
)
"""The processes."""

LINKS = (
    Link("capture", "detect"),
    Link("capture", "publish"),
    Link("detect", "segment"),
    Link("detect", "publish", "ordered"),
    Link("segment", "publish", "ordered"),
    Link("publish", "record"),
    # Also in every-frame mode: the loop misses none, because publish withholds the next result until the loop takes it.
    Link("publish", TAP, "newest"),
)
"""What connects them. Pixels stay in shared memory; links carry descriptors."""

_POLL_MS = 50
_REPEAT_S = 0.01


def stages_of(config: Config) -> tuple[StageEntry, ...]:
    """The stages that a run with these settings has."""
    return tuple(entry for entry in STAGES if entry.keys(config))


def processes_of(config: Config) -> list[StageKey]:
    """The processes that a run with these settings has."""
    return [key for entry in STAGES for key in entry.keys(config)]


class Pipeline:
    """Segments one or more sources, in child processes.

    As a context manager it runs in the background and yields its results::

        with Pipeline({"sources": [{"url": "clip.mp4"}]}, images=True) as pipeline:
            for result in pipeline:
                picture = result.plot()

    In every-frame mode the pipeline waits for the loop, which gets every result; in live mode it gets the newest one.
    With several sources, the results of each are in order, and `Result.source` names theirs. If one source fails for
    good, the others go on; the loop then raises the error at its end, and `failures` has it.
    """

    def __init__(
        self,
        config: Config | Mapping[str, object] | str | os.PathLike[str],
        *,
        images: bool = False,
        overwrite: bool = False,
        progress: Callable[[WeightsProgress], None] | None = None,
        file: SettingsFile | None = None,
    ) -> None:
        """Check the settings and fetch the weights, before any process starts.

        Args:
            config: The settings, as a dictionary such as `{"sources": [{"url": "clip.mp4"}]}`, as the path of a YAML
                file, which may refer to the environment (`${NAME}`), or as a checked `Config`.
            images: Whether each result has its picture (`Result.image`).
            overwrite: Whether recordings may replace files that exist.
            progress: Called during a download.
            file: Where `reload` reads the settings again; by default the file that `config` names, if it names one.

        Raises:
            UsageError: A setting or an output is unusable.
            WeightsError: Weights are not available.
            StageError: A process may use too little memory here.
        """
        check_address_space()
        if isinstance(config, str | os.PathLike):
            file = SettingsFile.read(Path(config), partial(load_config, Path(config), [], os.environ))
            config = file.config
        config = _check(config)
        self._images = images
        self._exit = ExitStack()
        self._endpoint = Endpoint(config.publish.bind)
        self._exit.enter_context(self._endpoint)
        try:
            bound = msgspec.structs.replace(
                config,
                publish=msgspec.structs.replace(config.publish, bind=self._endpoint.address),
                control=self._reserve_control(config.control),
            )
            plan = make_plan(bound, overwrite=overwrite, progress=progress)
        except BaseException:
            self._exit.close()
            raise
        self._changing = ChangingPlan(config, plan, overwrite=overwrite, file=file)
        self._supervisor: Supervisor | None = None
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._observer = Observer()
        self._reason = "failed"
        self._stop_reason: str | None = None

    @property
    def endpoint(self) -> str:
        """Address for subscribers."""
        return self._endpoint.address

    @property
    def control_endpoint(self) -> str | None:
        """Address for `Control`; None if the run cannot be controlled from outside."""
        return self.plan.config.control.bind

    @property
    def plan(self) -> RunPlan:
        """The settings and models of the run, with the sources that it has now."""
        return self._changing.plan

    def run(self, observer: Observer | None = None, take: Callable[[Result], None] | None = None) -> str:
        """Run to the end of all sources, blocking, and return the reason of the end.

        Args:
            observer: Gets the events of the run.
            take: Gets each result, as a loop over the pipeline does; what it raises ends the run.

        Raises:
            StreamsegError: The pipeline could not start, or a stage failed too often.
        """
        self._observer = observer or self._observer
        if take is not None:
            try:
                with self:
                    for result in self:
                        take(result)
            except StreamsegError as error:
                if error not in self.failures:  # of a source, while others went on
                    raise
            return self._reason
        with self._exit:
            return self._supervise(tap=False).run()

    @property
    def failures(self) -> list[StreamsegError]:
        """Errors of the sources that failed while others went on, also of those that were then removed or changed."""
        return [] if self._supervisor is None else self._supervisor.lanes.failures

    def add_source(self, name: str, url: str | int, **settings: object) -> str:
        """Add a source while the pipeline runs, and return what changes in one line; callable from any thread.

        Args:
            name: On the wire.
            url: As in the setting `sources.0.url`.
            settings: Others of the source, such as `mirror=True`.

        Raises:
            StreamsegError: The source is invalid, the run has as many as it can, or it does not run; nothing changes.
        """
        return self._change(partial(self._changing.add, {"name": name, "url": url, **settings}))

    def remove_source(self, name: str) -> str:
        """Remove a source while the pipeline runs, and return what changes in one line; callable from any thread.

        Raises:
            UsageError: There is no such source, or no other one, or the pipeline does not run; nothing changes.
        """
        return self._change(partial(self._changing.remove, name))

    @property
    def recordings(self) -> list[RecordSettings]:
        """The files of every source that the run has or had."""
        return [] if self._supervisor is None else self._supervisor.lanes.recordings

    def reload(self) -> None:
        """Read the settings file again, and run the sources that it has; callable from any thread or signal handler.

        Sources that are added, removed or changed are started, stopped or restarted; all others run on. A file that is
        invalid, or differs in other settings, changes nothing. Of a running pipeline, the observer gets one line either
        way.
        """
        if self._supervisor is not None:
            self._supervisor.call(self._reload)

    def stop(self, reason: str = "stopped") -> None:
        """End in an orderly way; callable from any thread or signal handler."""
        self._stop_reason = reason
        if self._supervisor is not None:
            self._supervisor.stop(reason)

    def kill(self) -> None:
        """End at once; callable from any thread or signal handler."""
        self.stop("killed")
        if self._supervisor is not None:
            self._supervisor.kill()

    def __enter__(self) -> Self:
        supervisor = self._supervise(tap=True)
        self._thread = threading.Thread(target=self._run_in_background, args=(supervisor,), name="supervisor")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.stop()
            if self._thread is not None:
                self._thread.join()
        except BaseException:
            self.kill()
            raise
        finally:
            if self._thread is not None:
                self._thread.join()
            self._exit.close()
        if kind is None:
            self._raise_error()

    def __iter__(self) -> Iterator[Result]:
        """Yield results until the pipeline ends.

        Raises:
            UsageError: This is not inside `with Pipeline(…)`.
            StreamsegError: The pipeline failed.
        """
        if self._supervisor is None or self._thread is None:
            raise UsageError("the pipeline is not running; iterate inside `with Pipeline(config) as pipeline:`")
        supervisor, thread = self._supervisor, self._thread
        with closing(Taps(supervisor.link_key)) as taps:
            while True:
                running = thread.is_alive()
                received = taps.receive(supervisor.lanes.links, _POLL_MS)
                if not running and not received:
                    break
                # Before the loop takes its time: live frames do not stay in shared memory for long.
                pixels = [self._pixels(message, frames, supervisor, thread) for message, frames in received]
                for (message, _), image in zip(received, pixels, strict=True):
                    if image is not None or not self._images:
                        yield Result.of(message, "clean" if self._images else "masks", image)
        self._raise_error()

    def _pixels(
        self, message: messages.ResultMessage, frames: SharedFrames, supervisor: Supervisor, thread: threading.Thread
    ) -> Image | None:
        """Copy the frame of a result, if pictures are wanted; None if that is no longer there.

        In every-frame mode the ring keeps it until the loop takes the next result. A capture process that dies may take
        it along; the next one reads it again.
        """
        while (
            self._images
            and thread.is_alive()
            and (lane := supervisor.lanes.get(message.source)) is not None
            and lane.run_id == message.run_id
            and lane.state != messages.FAILED
        ):
            ring = lane.ring
            try:
                if ring is not None:
                    return frames.read(ring, message.seq)
            except FrameGoneError:
                if self.plan.config.resolved_mode == "live":
                    return None
            time.sleep(_REPEAT_S)
        return None

    def _supervise(self, *, tap: bool) -> Supervisor:
        instance = self._exit.enter_context(Instance())
        # All stages: a source that is added may need one that the others do not.
        topology = Topology(STAGES, tuple(link for link in LINKS if tap or link.receiver != TAP))
        launcher = self._exit.enter_context(ProcessLauncher(entry.module for entry in STAGES))
        self._supervisor = Supervisor(self.plan, topology, instance, self._observer, launcher)
        self._changing.on_change = self._supervisor.lanes.change
        self._supervisor.reply = Answers(self._changing, self._supervisor).reply
        if self._stop_reason is not None:
            self._supervisor.stop(self._stop_reason)
        return self._supervisor

    def _change(self, change: Callable[[], str]) -> str:
        """Change the sources on the supervisor's thread, and wait for that."""
        supervisor, changed = self._supervisor, Future[str]()
        if supervisor is None:
            raise UsageError("the pipeline is not running; change its sources while it runs")

        def work() -> None:
            try:
                changed.set_result(change())
            except StreamsegError as error:
                changed.set_exception(error)

        supervisor.call(work)
        while not wait([changed], _POLL_MS / 1000).done:
            if supervisor.ended and not changed.done():
                raise UsageError("the pipeline has ended; its sources cannot be changed")
        return changed.result()

    def _reserve_control(self, control: ControlSettings) -> ControlSettings:
        if control.bind is None:
            return control
        endpoint = self._exit.enter_context(Endpoint(control.bind, "control.bind"))
        return msgspec.structs.replace(control, bind=endpoint.address)

    def _reload(self) -> None:
        try:
            changes = self._changing.reload()
        except StreamsegError as error:
            self._observer.logged(logging.WARNING, f"settings not reloaded, nothing has changed: {error}")
            return
        self._observer.logged(logging.WARNING, f"settings reloaded: {changes}")

    def _run_in_background(self, supervisor: Supervisor) -> None:
        try:
            self._reason = supervisor.run()
            self._error = next(iter(supervisor.lanes.failures), None)
        except Exception as error:  # noqa: BLE001 - raised where the pipeline is used
            self._error = error

    def _raise_error(self) -> None:
        """Raise what ended the pipeline, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error


def _check(config: Config | Mapping[str, object]) -> Config:
    if isinstance(config, Config):  # made in Python, where msgspec checks nothing
        return check_config(msgspec.to_builtins(config))
    return check_config(dict(config))
