from __future__ import annotations

import signal

import msgspec
from support.leftovers import Place
from support.pipeline_runs import until

LIVE = ("--source", "synthetic:?size=320x240&fps=30&frames=0", "--detector", "motion", "--segmenter", "nano")


class Seen(msgspec.Struct):
    seq: str


def last_seq(text: bytes) -> int:
    lines = text[: text.rfind(b"\n") + 1].splitlines()
    return int(msgspec.json.decode(lines[-1], type=Seen).seq) if lines else -1


def test_a_hung_stage_is_replaced_and_frames_continue(place: Place) -> None:
    records = place.folder / "out.jsonl"
    with place.run("run", *LIVE, "--jsonl", str(records), "--set", "publish.bind=tcp://127.0.0.1:*") as run:
        until(lambda: records.exists() and last_seq(records.read_bytes()) > 5, 60, "frames")
        stuck = run.stages()["publish"]
        stuck.send_signal(signal.SIGSTOP)
        until(lambda: (new := run.stages().get("publish")) and new.pid != stuck.pid, 40, "a new publish")
        before = last_seq(records.read_bytes())
        until(lambda: last_seq(records.read_bytes()) > before + 5, 40, "more frames")
        run.process.terminate()
        status, _, errors = run.finish(20)
    assert status == 143
    assert "publish: restarting (hung)" in errors
