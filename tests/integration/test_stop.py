"""However a run ends, it ends soon, its recordings are complete, and it leaves nothing behind."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from support.leftovers import Place
from support.pipeline_runs import RECORDING_STAGES, Run, read_records, until

from streamseg.client import Subscriber
from streamseg.errors import SubscriptionTimeoutError
from streamseg.messages import End

ORPHANS_END_WITHIN_S = 10.0


def live(endpoint: str = "tcp://127.0.0.1:*") -> tuple[str, ...]:
    return (
        "run", "--source", "synthetic:?size=160x120&fps=30", "--detector", "motion", "--segmenter", "nano",
        "--set", f"publish.bind={endpoint}", "--record", "out.mp4", "--jsonl", "out.jsonl",
    )  # fmt: skip


def wait_for(run: Run, condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition that a run fulfils, and fail at once if the run ends before."""
    until(lambda: condition() or run.process.poll() is not None, 60, what)
    assert run.process.poll() is None, run.finish(1)


def wait_for_records(place: Place, run: Run, count: int) -> None:
    path = place.folder / "out.jsonl"
    wait_for(run, lambda: path.exists() and path.read_bytes().count(b"\n") >= count, f"{count} records")


def wait_for_all_stages(run: Run) -> None:
    wait_for(run, lambda: len(run.stages()) == len(RECORDING_STAGES), "every stage")


def pictures(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_live_run_in_an_orderly_way(place: Place, number: signal.Signals) -> None:
    with place.run(*live()) as run:
        wait_for_records(place, run, 20)
        run.process.send_signal(number)
        code, output, errors = run.finish(10)
    assert code == 128 + number, errors
    assert "interrupted" in output
    endpoint = errors.splitlines()[0].removeprefix("publishing on ")
    place.check_nothing_left()
    assert (place.folder / "out.jsonl").read_bytes().endswith(b"\n")
    records = read_records(place.folder / "out.jsonl")
    assert len(records) >= 20
    assert pictures(place.folder / "out.mp4") == len(records)
    host, port = endpoint.removeprefix("tcp://").split(":")
    socket.create_server((host, int(port))).close()


def test_subscribers_receive_the_end_and_nothing_after_it(place: Place) -> None:
    endpoint = f"ipc://{place.folder}/wire"
    with place.run(*live(endpoint)) as run, Subscriber(endpoint, timeout=30) as subscriber:
        next(iter(subscriber))
        run.process.send_signal(signal.SIGINT)
        last = list(subscriber.messages())[-1]
        assert run.finish(10)[0] == 130
    assert isinstance(last, End)
    assert last.reason == "interrupted"
    with Subscriber(endpoint) as late, pytest.raises(SubscriptionTimeoutError):
        late.receive(0.2)


def test_a_second_signal_ends_a_run_with_a_stuck_stage(place: Place) -> None:
    with place.run(*live()) as run:
        wait_for_records(place, run, 1)
        stages = run.stages()
        stages["segment"].suspend()
        run.process.send_signal(signal.SIGINT)
        until(lambda: not stages["capture"].is_running(), 10, "the end of a stage that is not stuck")
        assert stages["segment"].is_running()
        run.process.send_signal(signal.SIGINT)
        code, _, errors = run.finish(30)
    assert code == 130, errors
    place.check_nothing_left()


def test_a_stuck_stage_does_not_prevent_the_end(place: Place) -> None:
    with place.run(*live()) as run:
        wait_for_records(place, run, 1)
        run.stages()["segment"].suspend()
        run.process.send_signal(signal.SIGINT)
        code, _, errors = run.finish(30)
    assert code == 130, errors
    place.check_nothing_left()


def test_a_recording_deleted_while_the_run_writes_it_ends_the_run_with_a_line(place: Place) -> None:
    with place.run(*live(), "--set", "mode=every-frame") as run:
        wait_for_records(place, run, 5)
        (place.folder / "out.mp4").unlink()
        code, output, errors = run.finish(30)
    assert (code, output) == (74, "")
    assert errors.splitlines()[-1] == (
        "streamseg: out.mp4 was deleted or renamed while the run recorded; leave it alone until the run has ended"
    )
    place.check_nothing_left()


def test_a_signal_while_the_stages_prepare(place: Place) -> None:
    with place.run(*live()) as run:
        wait_for_all_stages(run)
        run.process.send_signal(signal.SIGTERM)
        code, output, errors = run.finish(10)
    assert code == 128 + signal.SIGTERM
    assert (output, errors) == ("", "streamseg: interrupted before the first frame\n")
    assert not (place.folder / "out.mp4").exists()
    place.check_nothing_left()


def test_a_signal_during_a_download(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(30)
        place.environment["https_proxy"] = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with (
            place.run("run", "--source", "synthetic:", "--set", "publish.bind=tcp://127.0.0.1:*") as run,
            mute.accept()[0],
        ):
            run.process.send_signal(signal.SIGINT)
            assert run.finish(10) == (128 + signal.SIGINT, "", "fetching mobilesam from raw.githubusercontent.com\n")
    assert not list(place.folder.rglob("*.part"))
    place.check_nothing_left()


def test_no_stage_outlives_a_killed_supervisor_and_the_next_run_cleans_up(place: Place) -> None:
    with place.run(*live()) as run:
        wait_for_records(place, run, 5)
        assert len(run.stages()) == len(RECORDING_STAGES)
        run.process.kill()
        until(lambda: not place.processes(), ORPHANS_END_WITHIN_S, "the end of the stages")
        run.finish(5)
    # Its blocks may be gone already: a run of another test sweeps them too.
    assert any(item.startswith("runtime file") for item in place.leftovers())
    assert len(read_records(place.folder / "out.jsonl")) <= pictures(place.folder / "out.mp4")
    with place.run(*live(), "-y", "--max-frames", "3") as run:
        assert run.finish(60)[0] == 0
    place.check_nothing_left()


def test_no_stage_outlives_a_supervisor_killed_during_preparation(place: Place) -> None:
    with place.run(*live()) as run:
        wait_for_all_stages(run)
        run.process.kill()
        until(lambda: not place.processes(), ORPHANS_END_WITHIN_S, "the end of the stages")
        run.finish(5)
    place.sweep()
