"""A folder of files in one run: each has its results, and at most some run at the same time."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.clips import write_clip
from support.leftovers import Place
from support.pipeline_runs import free_endpoint, read_records, until

from streamseg import Subscriber
from streamseg.pipeline import Pipeline

SMALL = ("--detector", "motion", "--segmenter", "nano", "--set", "publish.bind=tcp://127.0.0.1:*")
FRAMES = {"a": 30, "b-part-1": 12, "c": 40, "d": 8}


@pytest.fixture
def clips(place: Place) -> Path:
    folder = place.folder / "clips"
    folder.mkdir()
    for name, frames in FRAMES.items():
        write_clip(folder / f"{name.replace('-', ' ')}.mp4", frames=frames)
    (folder / "notes.txt").write_text("no video")
    return folder


def test_a_folder_runs_with_one_set_of_models_and_a_broken_file_ends_only_its_part(place: Place, clips: Path) -> None:
    (clips / "z.mp4").write_text("This is no film.\n" * 200)
    outputs = ("--record", "out.mp4", "--jsonl", "out.jsonl", "--files-at-once", "2")
    source = ("--source", "clips/", "--mode", "every-frame")
    most = 0
    with place.run("run", *source, *SMALL, *outputs) as run:
        while run.process.poll() is None:
            # A file that has ended is joined while the next one starts.
            most = max(most, sum("capture" in run.stages(name) for name in (*FRAMES, "z")))
        status, output, errors = run.finish(60)
    assert status == 3, errors
    assert 2 <= most <= 3, "two run, and one may still end"
    rows = dict(line.split(": ", 1) for line in output.splitlines())
    for name, frames in FRAMES.items():
        assert rows[name].startswith(f"{frames} frames; ")
        assert f"{name}: {frames} frames, end of source" in errors
        assert [int(record.seq) for record in read_records(place.folder / f"out-{name}.jsonl")] == list(range(frames))
        assert f"out-{name}.mp4" in rows["wrote"]
    assert rows["z"].startswith(f"0 frames; failed: {clips / 'z.mp4'} ")
    assert rows["restarts, notices"] == "none"
    assert errors.splitlines()[-1].startswith(f"streamseg: {clips / 'z.mp4'} ")
    assert "running" not in errors, "the start of a file is worth no line"
    place.check_nothing_left()


def test_stages_that_are_killed_among_many_files_lose_no_frame(place: Place, clips: Path) -> None:
    for name in "abcd":
        write_clip(clips / f"{name}.mp4", frames=90)
    with place.run("run", "--source", "clips/[abcd].mp4", *SMALL, "--jsonl", "o.jsonl", "--files-at-once", "2") as run:
        until(lambda: "publish" in run.stages("c"), 60, "the third file")
        run.stages()["detect"].kill()
        run.stages("c")["publish"].kill()
        status, output, errors = run.finish(120)
    assert status == 0, errors
    assert "detect 1" in dict(line.split(": ", 1) for line in output.splitlines())["restarts"]
    for name in "abcd":
        assert [int(record.seq) for record in read_records(place.folder / f"o-{name}.jsonl")] == list(range(90))
    place.check_nothing_left()


def test_a_reader_of_all_sources_stays_until_the_last_file_ends(place: Place, clips: Path) -> None:
    endpoint = free_endpoint()
    more = ("--files-at-once", "1", "--set", f"publish.bind={endpoint}", "--set", "publish.wait_for_subscriber=true")
    with place.run("run", "--source", "clips/", *SMALL, *more) as run, Subscriber(endpoint, timeout=60) as subscriber:
        received = {result.source for result in subscriber}
        status, _, errors = run.finish(60)
    assert status == 0, errors
    assert received == FRAMES.keys()


def test_a_loop_gets_the_results_of_each_file_as_if_it_ran_alone(place: Place, clips: Path) -> None:
    settings: dict[str, object] = {
        "detector": {"model": "motion"},
        "segmenter": {"model": "nano"},
        "publish": {"bind": "tcp://127.0.0.1:*"},
        "files_at_once": 1,
    }

    def boxes(url: Path) -> dict[str, list[object]]:
        found: dict[str, list[object]] = {}
        with Pipeline({"sources": [{"url": str(url)}], **settings}, images=True) as pipeline:
            for result in pipeline:
                assert result.image is not None
                found.setdefault(result.source, []).append(
                    (result.seq, [item.detection.xyxy for item in result.objects])
                )
        return found

    together = boxes(clips)
    assert {name: len(results) for name, results in together.items()} == FRAMES
    assert boxes(clips / "c.mp4") == {"main": together["c"]}
