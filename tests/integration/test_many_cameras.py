"""Three RTSP cameras in one run, of different sizes, rates and codecs: what happens to one costs the others nothing."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from support.pipeline_runs import Run, free_endpoint, read_records, until
from support.rtsp_fixture import RtspServer, StartRtspServer
from support.tcp_proxy import TcpProxy

from streamseg.client import Subscriber
from streamseg.messages import End, ResultMessage, SourceState

CAMERAS = {"door": (320, 240, 15), "yard": (480, 270, 10), "gate": (640, 360, 12)}
PATIENCE_S = 60.0


class Watched:
    """What a subscriber to all sources receives."""

    def __init__(self, endpoint: str) -> None:
        self.subscriber = Subscriber(endpoint, timeout=PATIENCE_S)
        self.results: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.states: dict[str, list[str]] = defaultdict(list)
        self.ends: dict[str, str] = {}
        self.tracks: dict[str, set[int]] = defaultdict(set)
        self.sizes: dict[str, set[tuple[int, int]]] = defaultdict(set)

    def receive(self) -> bool:
        """Take one message."""
        match self.subscriber.receive():
            case ResultMessage() as result:
                self.sizes[result.source].add((result.width, result.height))
                self.results[result.source] += 1
                self.missed[result.source] += result.gap
                self.tracks[result.source] |= {item.detection.tracker_id or 0 for item in result.objects}
            case SourceState() as state:
                self.states[state.source].append(f"{state.stage} {state.state}")
            case End() as end:
                self.ends[end.source] = end.reason
        return True

    def more(self, count: int, *sources: str) -> None:
        """Wait for so many further results of each of these sources."""
        wanted = {source: self.results[source] + count for source in sources}
        until(
            lambda: self.receive() and all(self.results[source] >= least for source, least in wanted.items()),
            PATIENCE_S,
            f"{count} results of {sources}",
        )


@pytest.fixture
def servers(rtsp_server: StartRtspServer) -> dict[str, RtspServer]:
    kinds = {"door": rtsp_server, "yard": partial(rtsp_server, codec="h265"), "gate": partial(rtsp_server, audio=True)}
    return {
        name: kinds[name](width=width, height=height, fps=str(fps)) for name, (width, height, fps) in CAMERAS.items()
    }


@pytest.fixture
def endpoint() -> str:
    return free_endpoint()


@pytest.fixture
def watched(endpoint: str) -> Iterator[Watched]:
    watched = Watched(endpoint)
    with closing(watched.subscriber):
        yield watched


def run_of(servers: dict[str, RtspServer], endpoint: str, *more: str) -> Run:
    sources = [word for name, server in servers.items() for word in ("--source", f"{name}={server.url}")]
    models = ("--detector", "motion", "--segmenter", "nano", "--set", f"publish.bind={endpoint}")
    return Run("run", *sources, *models, *more)


def test_what_happens_to_one_camera_costs_the_others_nothing(
    servers: dict[str, RtspServer], endpoint: str, watched: Watched, tmp_path: Path
) -> None:
    records = tmp_path / "all.jsonl"
    metrics = free_endpoint().removeprefix("tcp://")
    with run_of(servers, endpoint, "--jsonl", str(records), "--metrics", metrics) as run:
        until(
            lambda: watched.receive() and all(watched.tracks[name] - {0} for name in CAMERAS),
            PATIENCE_S,
            "objects of each",
        )
        listed = {source.name: (source.state, source.size) for source in watched.subscriber.sources()}
        assert listed == {name: ("running", size[:2]) for name, size in CAMERAS.items()}
        with Subscriber(endpoint, sources=["door", "gate"], timeout=PATIENCE_S) as some:
            seen = {next(iter(some)).source for _ in range(20)}
        assert seen == {"door", "gate"}

        servers["gate"].kill()
        until(lambda: watched.receive() and "capture disconnected" in watched.states["gate"], PATIENCE_S, "the loss")
        before = watched.results["gate"]
        watched.more(30, "door", "yard")
        assert watched.results["gate"] <= before + 3, "some frames were on their way"

        captures = {name: run.stages(name)["capture"] for name in CAMERAS}
        captures["yard"].kill()
        until(lambda: watched.receive() and "capture restarting" in watched.states["yard"], PATIENCE_S, "the restart")
        watched.more(30, "door", "yard")
        assert run.stages("yard")["capture"].pid != captures["yard"].pid
        assert run.stages("door")["capture"].pid == captures["door"].pid

        run.stages()["hub"].kill()
        watched.more(30, "door", "yard")
        with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        assert 'streamseg_source_connected{source="gate"} 0.0' in text
        assert 'streamseg_source_connected{source="door"} 1.0' in text
        run.process.terminate()
        until(lambda: watched.receive() and len(watched.ends) == len(CAMERAS), PATIENCE_S, "the end of each")
        status, output, errors = run.finish(30)
    assert status == 143, errors
    # A camera may be ready later than another one.
    assert set(watched.states["door"]) <= {"capture running", "hub restarting", "hub running"}
    rows = dict(line.split(": ", 1) for line in output.splitlines())
    assert {"door", "yard", "gate"} <= rows.keys()
    assert "once" in rows["gate"]
    assert watched.sizes == {name: {size[:2]} for name, size in CAMERAS.items()}
    assert all(read_records(tmp_path / f"all-{name}.jsonl") for name in CAMERAS)


def test_a_camera_that_stalls_is_damaged_or_changes_its_size_costs_the_others_nothing(
    servers: dict[str, RtspServer], endpoint: str, watched: Watched
) -> None:
    with TcpProxy(servers["gate"].port) as proxy:
        gate = f"gate=rtsp://127.0.0.1:{proxy.port}/stream"
        others = [word for name in ("door", "yard") for word in ("--source", f"{name}={servers[name].url}")]
        models = ("--detector", "motion", "--segmenter", "nano", "--set", f"publish.bind={endpoint}")
        with Run("run", *others, "--source", gate, *models, "--set", "sources.2.timeout=1") as run:
            watched.more(10, *CAMERAS)
            stages = {name: run.stages(name) for name in ("door", "yard")}
            proxy.damage(every=500)
            watched.more(30, "door", "yard")
            proxy.damage(every=0)
            proxy.stall()
            until(
                lambda: watched.receive() and "capture disconnected" in watched.states["gate"], PATIENCE_S, "the loss"
            )
            watched.more(20, "door", "yard")
            servers["gate"].set_size(320, 180)
            proxy.resume()
            proxy.cut()
            until(lambda: watched.receive() and (320, 180) in watched.sizes["gate"], PATIENCE_S, "the other size")
            watched.more(20, *CAMERAS)
            assert {name: run.stages(name) for name in stages} == stages
            run.process.terminate()
            status, _, errors = run.finish(30)
    assert status == 143, errors
    assert set(watched.states["door"] + watched.states["yard"]) <= {"capture running"}, "one may be ready later"
    assert all(watched.sizes[name] == {CAMERAS[name][:2]} for name in stages)


def test_a_camera_that_cannot_be_opened_ends_only_its_lane(
    servers: dict[str, RtspServer], endpoint: str, watched: Watched
) -> None:
    servers["gate"].stop()
    patience = ("--set", "sources.2.start_timeout=2")
    with run_of(servers, endpoint, *patience, "--jsonl", "-") as run:
        watched.more(10, "door", "yard")
        run.process.terminate()
        status, output, errors = run.finish(30)
    assert status == 143
    assert {json.loads(line)["source"] for line in output.splitlines()} == {"door", "yard"}
    rows = dict(line.split(": ", 1) for line in errors.splitlines() if ": " in line)
    assert "failed: " in rows["gate"]
    assert "gate: capture: failed" in errors
    assert watched.results["gate"] == 0
