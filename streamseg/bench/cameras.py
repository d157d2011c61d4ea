"""Measures a run with several cameras: 640x360 at 15 frames a second each, both networks in full, two subscribers."""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec
import zmq
from rich.console import Console
from rich.table import Table

from streamseg.bench.machine import Machine, this_machine
from streamseg.bench.pipeline import LEAST_IOU, write_random_weights
from streamseg.bench.run import WHOLE, Measured, PipelineRun, run_pipeline
from streamseg.bench.true_models import TrueScene, detector_settings, match
from streamseg.config import PublishSettings
from streamseg.monitor.latency import Percentiles, percentiles
from streamseg.sinks.hub import Hub

FPS: Final = 15
SCENE_URL: Final = f"synthetic:?scene=crossing&size=640x360&fps={FPS}&seed=10&objects=3"
_UNCOUNTED_S = 60
"""A run may last so much longer than it is counted before the boxes prepared for it end."""
_HOPS, _HOP_BYTES, _HOP_PAUSE_S = 300, 3000, 0.005
"""Messages that measure the hub, their size, and the time between two of them."""


class CamerasFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of the sources of one run, or of as many runs.

    Attributes:
        published_fps: Frames published a second, of each source.
        frame_age_ms: From a frame's capture to its publication, of all sources.
        keyframes_per_s: Keyframes segmented a second, of each source.
        masked_share: Share of the visible objects with a published mask.
        mask_iou: Mean IoU of those masks with the true ones of the same frame; None without masks.
        rss_mb: Memory of all processes at the end, in 10^6 bytes; a page that they share counts once. None without
            `/proc`.
        cpu_s_per_frame: Processor time of all processes for a published frame; None without `/proc`.
    """

    published_fps: list[float]
    frame_age_ms: Percentiles | None
    keyframes_per_s: list[float]
    masked_share: float
    mask_iou: float | None
    rss_mb: float | None
    cpu_s_per_frame: float | None


class ManyCameras(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine reaches with several cameras.

    Attributes:
        seconds: Duration of each count.
        sources: By number of sources in one run.
        separate_runs: As many runs of one source each, at the same time, by their number; None if not measured.
        hub_hop_ms: Time that a message takes longer through the hub than directly.
    """

    machine: Machine
    seconds: float
    sources: dict[int, CamerasFigures]
    separate_runs: dict[int, CamerasFigures] | None
    hub_hop_ms: Percentiles


def bench_cameras(
    seconds: float,
    counts: Sequence[int],
    separate: int | None,
    settings: Sequence[str],
    detector_weights: Path | None,
    report: Callable[[str], None],
) -> ManyCameras:
    """Measure runs of several sources, separate runs of one source each, and the hub.

    Args:
        seconds: How long each run is counted.
        counts: Numbers of sources.
        separate: How many separate runs there are at the same time; None leaves them out.
        settings: Of the runs, `KEY=VALUE` each.
        detector_weights: A YOLOX export in place of spot.
        report: Receives a line before each step.

    Raises:
        SettingsError: A setting is invalid.
        WeightsError: The weights are missing or invalid.
        StageError: A measured process failed.
    """
    detector = detector_settings(detector_weights)
    with tempfile.TemporaryDirectory(prefix="streamseg-bench-") as name:
        folder = Path(name)
        report("writing random weights, and the boxes of the drawn objects")
        weights = folder / "mobile_sam.pt"
        write_random_weights(weights)
        scene = TrueScene(url=SCENE_URL)
        every = ("device=cpu", *detector, f"segmenter.weights={weights}", *settings)

        def run(place: str, sources: int) -> PipelineRun:
            own = folder / place
            own.mkdir()
            scene.write(own, round((seconds + _UNCOUNTED_S) * FPS))
            names = tuple(f"camera-{number}" for number in range(sources))
            return run_pipeline(own, every, seconds, measured=_measured(names))

        figures = {}
        for count in counts:
            report(f"measuring {count} source{'s' if count > 1 else ''} in one run for {seconds:g} s")
            figures[count] = cameras_figures(scene, [run(f"one-{count}", count)])
        together = None
        if separate is not None:
            report(f"measuring {separate} runs of one source each for {seconds:g} s")
            with ThreadPoolExecutor(separate) as threads:
                runs = list(threads.map(lambda number: run(f"separate-{number}", 1), range(separate)))
            together = {separate: cameras_figures(scene, runs)}
    report("measuring the hub")
    return ManyCameras(
        machine=this_machine(), seconds=seconds, sources=figures, separate_runs=together, hub_hop_ms=measure_hop()
    )


def _measured(names: tuple[str, ...]) -> Measured:
    return Measured(SCENE_URL, WHOLE.detector, WHOLE.segmenter, fps=FPS, names=names)


def cameras_figures(scene: TrueScene, runs: Sequence[PipelineRun]) -> CamerasFigures:
    """Compare the published results with the truth of their frames."""
    true_objects = 0
    ious: list[float] = []
    published: list[float] = []
    for run in runs:
        for name in run.keyframes:
            results = [result for result in run.results if result.source == name]
            published.append(len(results) / run.seconds)
            for result in results if name in run.first_pts_ns else ():
                truth = scene.objects(run.frame_number(result))
                masks = [item.mask for item in result.objects if item.mask is not None]
                true_objects += len(truth)
                overlaps = [[mask.iou(item.mask) for item in truth] for mask in masks]
                ious += [iou for iou, _, _ in match(overlaps, LEAST_IOU)]
    frames = sum(len(run.results) for run in runs)
    memory = [run.rss_mb[-1] for run in runs if run.rss_mb]
    cpu = [run.cpu_s for run in runs if run.cpu_s is not None]
    return CamerasFigures(
        published_fps=published,
        frame_age_ms=percentiles([result.timings.published or 0.0 for run in runs for result in run.results]),
        keyframes_per_s=[count / run.seconds for run in runs for count in run.keyframes.values()],
        masked_share=len(ious) / max(true_objects, 1),
        mask_iou=statistics.mean(ious) if ious else None,
        rss_mb=sum(memory) if memory else None,
        cpu_s_per_frame=sum(cpu) / frames if cpu else None,
    )


def measure_hop() -> Percentiles:
    """Measure how much longer a message takes through a hub in another process than directly."""
    with tempfile.TemporaryDirectory(prefix="streamseg-bench-") as folder:
        inside, outside = f"ipc://{folder}/inside", f"ipc://{folder}/outside"
        process = multiprocessing.get_context("spawn").Process(target=_serve_hub, args=(inside, outside), daemon=True)
        process.start()
        try:
            direct, through = _delays_ms(None, f"ipc://{folder}/direct"), _delays_ms(inside, outside)
        finally:
            process.kill()
            process.join()
    typical = statistics.median(direct)
    hop = percentiles([delay - typical for delay in through])
    assert hop is not None
    return hop


def _serve_hub(inside: str, outside: str) -> None:
    with zmq.Context() as context:
        hub = Hub(context, PublishSettings(bind=outside), inside, live=True)
        poller = zmq.Poller()
        for socket in hub.sockets:
            poller.register(socket, zmq.POLLIN)
        while True:
            poller.poll()
            hub.service()


def _delays_ms(inside: str | None, outside: str) -> list[float]:
    """The delays of messages from one thread to another, directly or through the hub that has these addresses."""
    delays: list[float] = []
    received = threading.Event()

    def receive(socket: zmq.Socket[bytes]) -> None:
        while len(delays) < _HOPS:
            sent_ns = int.from_bytes(socket.recv()[:8], "big")
            if sent_ns:
                delays.append((time.perf_counter_ns() - sent_ns) / 1e6)
            received.set()

    with zmq.Context() as context, context.socket(zmq.XPUB) as sender, context.socket(zmq.SUB) as subscriber:
        if inside is None:
            sender.bind(outside)
        else:
            sender.connect(inside)
        subscriber.subscribe(b"")
        subscriber.connect(outside)
        thread = threading.Thread(target=receive, args=(subscriber,))
        thread.start()
        while not received.wait(_HOP_PAUSE_S):  # until the subscription has arrived
            sender.send(bytes(_HOP_BYTES))
        while len(delays) < _HOPS:
            sender.send(time.perf_counter_ns().to_bytes(8, "big") + bytes(_HOP_BYTES))
            time.sleep(_HOP_PAUSE_S)
        thread.join()
    return delays


def print_cameras(figures: ManyCameras) -> None:
    """Print the figures as a table."""
    table = Table(title=f"{figures.seconds:.0f} s, 640x360 at {FPS} frames/s each")
    for column in ("", "frames/s", "keyframes/s", "age", "masked", "IoU", "MB", "CPU ms a frame"):
        table.add_column(column)
    for count, each in figures.sources.items():
        table.add_row(f"{count} in one run", *_cells(each))
    for count, each in (figures.separate_runs or {}).items():
        table.add_row(f"{count} runs", *_cells(each))
    machine, console, hop = figures.machine, Console(), figures.hub_hop_ms
    console.print(table)
    console.print(f"the hub adds {hop.p50:.2f} ms, p99 {hop.p99:.2f}; {machine.cpu}, {machine.cores} cores")


def _cells(each: CamerasFigures) -> list[str]:
    ages, memory, cpu = each.frame_age_ms, each.rss_mb, each.cpu_s_per_frame
    return [
        f"{min(each.published_fps):.1f} to {max(each.published_fps):.1f}",
        f"{min(each.keyframes_per_s):.2f} to {max(each.keyframes_per_s):.2f}",
        "-" if ages is None else f"{ages.p50:.0f} / {ages.p99:.0f} ms",
        f"{each.masked_share:.1%}",
        "-" if each.mask_iou is None else f"{each.mask_iou:.3f}",
        "-" if memory is None else f"{memory:,.0f}",
        "-" if cpu is None else f"{1000 * cpu:.0f}",
    ]
