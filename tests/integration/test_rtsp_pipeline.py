from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from support.pipeline_runs import Recording, Run, free_endpoint, read_records, until
from support.rtsp_fixture import StartRtspServer

SUBSCRIBER = """
import json, sys
from streamseg.client import Subscriber
with Subscriber(sys.argv[1], source="door", timeout=60) as subscriber:
    for result in subscriber:
        masks = [item.mask for item in result.objects if item.mask is not None]
        inside = all(mask.inside(result.height, result.width) for mask in masks)
        print(json.dumps([result.seq, len(masks), inside, result.width, result.height]), flush=True)
print(json.dumps("end"), flush=True)
"""


def test_a_subscriber_elsewhere_gets_the_masks_of_an_rtsp_camera(
    rtsp_server: StartRtspServer, shared_data: Path, tmp_path: Path
) -> None:
    server = rtsp_server(shared_data / "clips" / "cups.mp4", width=640, height=360, fps="15")
    endpoint, lines = free_endpoint(), tmp_path / "subscriber.txt"
    with lines.open("w") as output:
        subscriber = subprocess.Popen([sys.executable, "-c", SUBSCRIBER, endpoint], stdout=output)
        options = [
            "--source",
            server.url,
            "--detector",
            "motion",
            "--segmenter",
            "nano",
            "--set",
            "sources.0.name=door",
        ]
        try:
            with Run("run", *options, "--set", f"publish.bind={endpoint}") as run:
                until(lambda: sum(line[1] > 0 for line in received(lines)) >= 40, 60, "forty results with masks")
                run.process.terminate()
                status, _, errors = run.finish(20)
            assert status == 143, errors
            assert subscriber.wait(10) == 0
        finally:
            subscriber.kill()
            subscriber.wait()
    results = received(lines)
    sequence = [line[0] for line in results]
    assert sequence == sorted(set(sequence))
    assert all(inside and (width, height) == (640, 360) for _, _, inside, width, height in results)
    assert json.loads(lines.read_text().splitlines()[-1]) == "end"


def received(path: Path) -> list[tuple[int, int, bool, int, int]]:
    lines = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [(*line,) for line in lines if isinstance(line, list)]


def test_a_camera_keeps_its_numbers_and_gets_masks_again_after_capture_and_segment_were_killed(
    rtsp_server: StartRtspServer, shared_data: Path, tmp_path: Path
) -> None:
    server = rtsp_server(shared_data / "clips" / "cups.mp4", width=640, height=360, fps="15")
    recording = Recording(tmp_path / "out.jsonl")
    models = ("--detector", "motion", "--segmenter", "nano", "--set", "publish.bind=tcp://127.0.0.1:*")
    with Run("run", "--source", server.url, *models, "--jsonl", str(tmp_path / "out.jsonl")) as run:

        def wait_for_a_new_mask() -> None:
            before = recording.segmented
            until(lambda: recording.segmented > before, 60, "a new mask")

        def kill(name: str) -> None:
            old = run.stages()[name]
            old.kill()
            until(lambda: (new := run.stages().get(name)) is not None and new.pid != old.pid, 40, f"a new {name}")
            wait_for_a_new_mask()
            wait_for_a_new_mask()

        wait_for_a_new_mask()
        kill("capture")
        kill("segment")
        run.process.terminate()
        status, output, errors = run.finish(20)
    assert status == 143, errors
    assert "restarts: capture 1, segment 1" in output
    records = read_records(tmp_path / "out.jsonl")
    sequence, times = [int(record.seq) for record in records], [int(record.pts_ns) for record in records]
    assert sequence == sorted(set(sequence))
    assert times == sorted(set(times))
