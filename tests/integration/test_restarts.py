from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
from support.leftovers import Place
from support.pipeline_runs import RECORDING_STAGES, Recording, Run, read_records, until
from support.pipes import shrink_pipes_between

from streamseg.ipc.ring import block_folder

MODELS = ("--detector", "motion", "--segmenter", "nano", "--set", "publish.bind=tcp://127.0.0.1:*")
LIVE = ("--source", "synthetic:?size=320x240&fps=30&frames=0", *MODELS)


def wait_for(run: Run, condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait for a condition that a run fulfils, and fail at once if the run ends before."""
    until(lambda: condition() or run.process.poll() is not None, seconds, what)
    assert run.process.poll() is None, run.finish(1)


def remove_shared_memory(capture: psutil.Process) -> None:
    """Remove what a run keeps in shared memory, as a log-out does under systemd's RemoveIPC."""
    mapped = [Path(each.path).name for each in capture.memory_maps() if each.path.startswith(str(block_folder()))]
    (name,) = [name for name in mapped if name.startswith("streamseg-")]
    for path in block_folder().glob(f"{'-'.join(name.split('-')[:2])}*"):
        path.unlink()


def test_a_file_whose_shared_memory_is_removed_loses_no_frame(place: Place) -> None:
    file = ("--source", "synthetic:?size=320x240&frames=120", "--set", "mode=every-frame", *MODELS)
    records = Recording(place.folder / "out.jsonl")
    with place.run("run", *file, "--record", "out.mp4", "--jsonl", "out.jsonl") as run:
        wait_for(run, lambda: records.seq > 10, "frames")
        stages = run.stages()
        remove_shared_memory(stages["capture"])
        stages["detect"].kill()
        stages["record"].kill()
        status, output, errors = run.finish(120)
    assert status == 0, errors
    assert "was removed; its frames go to a new one" in errors
    assert [int(record.seq) for record in read_records(place.folder / "out.jsonl")] == list(range(120))
    assert "dropped, notices: none" in output


def test_a_live_run_whose_shared_memory_is_removed_finds_objects_again(place: Place) -> None:
    records = Recording(place.folder / "out.jsonl")
    with place.run("run", *LIVE, "--jsonl", "out.jsonl") as run:
        wait_for(run, lambda: records.has_own_boxes, "boxes")
        stages = run.stages()
        remove_shared_memory(stages["capture"])
        stages["detect"].kill()
        until(lambda: (new := run.stages().get("detect")) and new.pid != stages["detect"].pid, 40, "a new detect")
        before = records.seq
        wait_for(run, lambda: records.seq > before + 30 and records.has_own_boxes, "boxes of the newest frame")
        run.process.terminate()
        assert run.finish(20)[0] == 143


def test_live_frames_go_on_while_the_supervisor_is_paused(place: Place) -> None:
    records = Recording(place.folder / "out.jsonl")
    with place.run("run", *LIVE, "--jsonl", "out.jsonl") as run:
        supervisor = psutil.Process(run.process.pid)
        wait_for(run, lambda: records.seq > 5, "frames")
        for stage in run.stages().values():  # else their reports fill a pipe after half a minute only
            shrink_pipes_between(stage, supervisor)
        supervisor.suspend()
        before = records.seq
        until(lambda: records.seq > before + 150 and records.has_own_boxes, 60, "frames without a supervisor")
        supervisor.resume()
        before = records.seq
        wait_for(run, lambda: records.seq > before + 30, "frames with a supervisor")
        run.process.terminate()
        status, output, errors = run.finish(20)
    assert status == 143
    assert re.search(r"^[a-z, ]*\brestarts\b[a-z, ]*: none$", output, re.MULTILINE), errors
    frames = int(output.split("frames: ")[1].split(",")[0])
    assert frames > 180, "the supervisor counts also what was published meanwhile"


def test_hung_stages_are_replaced_and_frames_continue(place: Place) -> None:
    records = Recording(place.folder / "out.jsonl")
    with place.run("run", *LIVE, "--jsonl", "out.jsonl") as run:
        wait_for(run, lambda: records.segmented >= 0, "masks: the first picture may take longer")
        stuck = run.stages()
        assert set(stuck) == set(RECORDING_STAGES)
        for stage in stuck.values():
            stage.suspend()
        wait_for(
            run,
            lambda: (new := run.stages()).keys() == stuck.keys() and not set(new.values()) & set(stuck.values()),
            "new stages",
            120,  # on a busy machine a turn takes seconds, and twenty of them must pass
        )
        before = records.seq
        wait_for(run, lambda: records.seq > before + 30 and records.has_own_boxes, "more frames with boxes")
        run.process.send_signal(signal.SIGTERM)
        status, _, errors = run.finish(20)
    assert status == 143
    for name in RECORDING_STAGES:
        assert f"{name}: restarting (hung)" in errors
