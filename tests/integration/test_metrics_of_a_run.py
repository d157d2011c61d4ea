"""Metrics of real runs, read over HTTP."""

from __future__ import annotations

import http.client
import signal
import socket

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.leftovers import Place
from support.pipeline_runs import STAGES, free_endpoint, until

from streamseg import __version__

RUN = (
    "run", "--source", "synthetic:?size=320x240&fps=30", "--detector", "motion", "--segmenter", "nano",
    "--set", "publish.bind=tcp://127.0.0.1:*",
)  # fmt: skip


def scrape(address: str) -> dict[str, float]:
    """Every sample by its name and labels; empty while no server listens."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    except ConnectionRefusedError:
        return {}
    finally:
        connection.close()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        " ".join(
            [
                sample.name.removeprefix("streamseg_"),
                *(text for name, text in sample.labels.items() if name != "source"),
            ]
        ): sample.value
        for sample in samples
    }


def test_counters_rise_and_a_killed_stage_shows(place: Place) -> None:
    address = free_endpoint().removeprefix("tcp://")
    with place.run(*RUN, "--metrics", address) as run:
        until(lambda: scrape(address).get("mask_age_seconds_count", 0) > 0, 60, "a mask")
        before = scrape(address)
        assert before["up"] == before["source_connected"] == before[f"info motion nano main {__version__}"] == 1
        assert before["frame_age_seconds_count"] == before["frames_published_total"] > 0
        assert before["frame_age_seconds_sum"] > 0
        assert before["frames_dropped_total detect_replaced"] >= 0
        assert {name: before[f"stage_restarts_total {name}"] for name in STAGES} == dict.fromkeys(STAGES, 0)
        run.stages()["detect"].kill()
        until(
            lambda: (now := scrape(address))["stage_restarts_total detect"] == 1 and now["up"] == 1, 60, "a new detect"
        )
        restarted = scrape(address)
        assert sum(restarted[f"stage_restarts_total {name}"] for name in STAGES) == 1
        until(
            lambda: scrape(address)["mask_age_seconds_count"] > restarted["mask_age_seconds_count"], 30, "another mask"
        )
        until(
            lambda: (now := scrape(address))["objects"] >= now["masks segmented"] + now["masks propagated"] > 0,
            30,
            "objects with masks",
        )
        after = scrape(address)
        assert after["frames_published_total"] > before["frames_published_total"]
        run.process.send_signal(signal.SIGINT)
        status, _, errors = run.finish(20)
    assert status == 130
    assert f"metrics on http://{address}/metrics" in errors.splitlines()
    assert scrape(address) == {}


@pytest.mark.parametrize("address", ["in use", "nonsense"])
def test_an_unusable_address_ends_the_run_before_it_starts(place: Place, address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        if address == "in use":
            address = f"127.0.0.1:{foreign.getsockname()[1]}"
        with place.run(*RUN, "--metrics", address, "--jsonl", "out.jsonl") as run:
            status, output, errors = run.finish(60)
    assert (status, output) == (2, "")
    assert errors.startswith("streamseg: --metrics: ")
    assert address in errors
    assert len(errors.splitlines()) == 1
    assert not (place.folder / "out.jsonl").exists()
