from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest
from support.published_frames import published

from streamseg.errors import UsageError
from streamseg.ipc.control import PublishedMask, Ready
from streamseg.messages import Dropped, Models
from streamseg.monitor.prometheus import MetricsServer, RunMetrics

STAGES = ("capture", "publish")


@pytest.fixture
def metrics() -> RunMetrics:
    metrics = RunMetrics(STAGES)
    metrics.describe(Models(detector="motion", segmenter="nano"))
    return metrics


def value(metrics: RunMetrics, name: str, labels: Mapping[str, str] | None = None) -> float | None:
    return metrics.registry.get_sample_value(f"streamseg_{name}", dict(labels or {}))


def get(url: str) -> tuple[int, str]:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    try:
        connection.request("GET", address.path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_a_frame_is_counted_with_its_ages_objects_and_masks(metrics: RunMetrics) -> None:
    metrics.published(published(PublishedMask("nano", 0.0), PublishedMask("propagated", 400.0), objects=3, age_ms=40.0))
    assert value(metrics, "frames_published_total") == 1
    assert value(metrics, "objects") == 3
    assert value(metrics, "masks", {"method": "nano"}) == value(metrics, "masks", {"method": "propagated"}) == 1
    assert value(metrics, "frame_age_seconds_sum") == pytest.approx(0.04)
    assert value(metrics, "frame_age_seconds_bucket", {"le": "0.035"}) == 0
    assert value(metrics, "frame_age_seconds_bucket", {"le": "0.05"}) == 1
    assert value(metrics, "mask_age_seconds_sum") == pytest.approx(0.4)
    assert value(metrics, "mask_age_seconds_count") == 2
    metrics.published(published(PublishedMask("nano", 0.0), objects=1))
    assert value(metrics, "frames_published_total") == 2
    assert value(metrics, "masks", {"method": "propagated"}) == 0
    assert value(metrics, "info", {"detector": "motion", "segmenter": "nano"}) == 1


def test_drops_go_on_across_restarts(metrics: RunMetrics) -> None:
    def dropped(detect: int, segment: int) -> tuple[float | None, float | None]:
        metrics.published(
            published(dropped=Dropped(detect_replaced=detect, segment_overrun=segment, masks_limited=segment))
        )
        assert value(metrics, "masks_limited_total") == value(
            metrics, "frames_dropped_total", {"cause": "segment_overrun"}
        )
        assert value(metrics, "frames_dropped_total", {"cause": "masks_limited"}) is None
        return tuple(
            value(metrics, "frames_dropped_total", {"cause": cause}) for cause in ("detect_replaced", "segment_overrun")
        )  # type: ignore[return-value]

    assert dropped(0, 0) == (0, 0)
    assert dropped(5, 7) == (5, 7)
    assert dropped(1, 8) == (6, 8), "capture is new"
    assert dropped(2, 0) == (7, 8), "publish is new, and has not heard from segment"
    assert dropped(2, 9) == (7, 9)


def test_same_frame_boxes_and_answered_keyframes_are_counted(metrics: RunMetrics) -> None:
    assert value(metrics, "frames_with_own_boxes_total") == value(metrics, "keyframes_segmented_total") == 0
    for seq, boxes_seq, masks_seq in ((0, None, None), (1, 1, None), (2, 1, 0), (3, 3, 0), (4, 3, 2)):
        metrics.published(published(seq=seq, boxes_seq=boxes_seq, masks_seq=masks_seq))
    assert value(metrics, "frames_with_own_boxes_total") == 2
    assert value(metrics, "keyframes_segmented_total") == 2


def test_up_and_restarts_follow_the_stages(metrics: RunMetrics) -> None:
    assert value(metrics, "up") == 0
    metrics.prepared("capture", Ready("a clip"))
    assert value(metrics, "up") == 0
    metrics.prepared("publish", Ready(""))
    assert value(metrics, "up") == 1
    assert value(metrics, "stage_restarts_total", {"stage": "publish"}) == 0
    metrics.changed("publish", "restarting", "ended by signal 9")
    assert (value(metrics, "up"), value(metrics, "stage_restarts_total", {"stage": "publish"})) == (0, 1)
    metrics.prepared("publish", Ready(""))
    metrics.changed("publish", "running", "")
    assert (value(metrics, "up"), value(metrics, "stage_restarts_total", {"stage": "publish"})) == (1, 1)
    assert value(metrics, "stage_restarts_total", {"stage": "capture"}) == 0
    for stage in STAGES:
        metrics.changed(stage, "restarting", "hung")
    metrics.prepared("publish", Ready(""))
    assert value(metrics, "up") == 0, "capture is not back yet"


def test_the_source_is_connected_from_its_first_frame_and_while_it_is_not_lost(metrics: RunMetrics) -> None:
    metrics.prepared("capture", Ready("a camera that is waited for"))
    assert value(metrics, "source_connected") == 0
    metrics.published(published())
    assert value(metrics, "source_connected") == 1
    metrics.changed("capture", "disconnected", "the stream ended")
    metrics.published(published())
    assert value(metrics, "source_connected") == 0, "the frame was under way"
    metrics.changed("capture", "running", "a camera")
    metrics.changed("publish", "restarting", "hung")
    assert value(metrics, "source_connected") == 1


@pytest.mark.parametrize(("address", "host"), [("0", "127.0.0.1"), ("localhost:0", "localhost")])
def test_the_server_answers_until_its_end(metrics: RunMetrics, address: str, host: str) -> None:
    threads = threading.active_count()
    with MetricsServer(address, metrics) as server:
        assert re.fullmatch(rf"http://{host}:[1-9]\d*/metrics", server.url)
        status, text = get(server.url)
        assert status == 200
        assert "streamseg_up 0.0" in text.splitlines()
        assert "python_info" not in text
        metrics.published(published())
        assert "streamseg_frames_published_total 1.0" in get(server.url)[1].splitlines()
    with pytest.raises(ConnectionRefusedError):
        get(server.url)
    assert threading.active_count() == threads


def test_a_client_that_says_nothing_holds_up_neither_others_nor_the_end(metrics: RunMetrics) -> None:
    with MetricsServer("0", metrics) as server, socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0)):
        assert get(server.url)[0] == 200


@pytest.mark.parametrize(
    "address", ["", "x", "127.0.0.1", ":9100", "[]:9100", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "::1:9100"]
)
def test_an_address_that_is_none(metrics: RunMetrics, address: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"--metrics: {address!r} is not an address; expected HOST:PORT")):
        MetricsServer(address, metrics)


@pytest.mark.parametrize("host", ["192.0.2.1", f"{'x' * 64}.invalid"])
def test_an_address_of_another_machine_or_of_none(metrics: RunMetrics, host: str) -> None:
    with pytest.raises(UsageError, match=f"--metrics: cannot listen on {host}:0 "):
        MetricsServer(f"{host}:0", metrics)


def test_an_address_in_use(metrics: RunMetrics) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        address = f"127.0.0.1:{foreign.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"--metrics: {address} is in use; end the program that listens there"):
            MetricsServer(address, metrics)
