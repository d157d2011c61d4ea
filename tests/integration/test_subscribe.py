"""`streamseg subscribe` beside a real pipeline: the table on a terminal, lines elsewhere."""

from __future__ import annotations

import re
import signal

import pytest
from support.leftovers import Place
from support.pipeline_runs import Run, free_endpoint, until
from support.pseudo_terminal import terminal

from streamseg import Subscriber
from streamseg.messages import ResultMessage

DEADLINE_S = 60.0


def pipeline(place: Place, endpoint: str) -> Run:
    source = ("--source", "synthetic:?size=320x240&fps=30", "--detector", "motion", "--segmenter", "nano")
    return place.run("run", *source, "--set", f"publish.bind={endpoint}")


def last_table(text: str) -> dict[str, str]:
    """The rows of the table that was drawn last."""
    rows = (
        re.fullmatch(r"│ (.+?) +│ (.+?) *│", line.strip()) for line in text[text.rindex("p50 / p99") :].splitlines()
    )
    return {row[1]: row[2] for row in rows if row}


@pytest.mark.parametrize("ended_by", ["the pipeline", "Ctrl-C"])
def test_the_table_updates_and_stays(place: Place, ended_by: str) -> None:
    endpoint = free_endpoint()
    with terminal(place, "subscribe", endpoint) as shown:
        until(lambda: f"waiting for {endpoint}" in shown.text, DEADLINE_S, "the table before the first frame")
        with pipeline(place, endpoint) as run:
            until(
                lambda: len(set(re.findall(r"\d+ in frame (\d+)", shown.text))) > 5, DEADLINE_S, "a table that keeps up"
            )
            until(lambda: re.search(r"masks +│ [1-9]", shown.text), DEADLINE_S, "masks")
            (shown if ended_by == "Ctrl-C" else run).process.send_signal(signal.SIGINT)
            assert shown.process.wait(DEADLINE_S) == (130 if ended_by == "Ctrl-C" else 0)
            run.process.send_signal(signal.SIGINT)
            run.finish(DEADLINE_S)
    rows = last_table(shown.text)
    received, rate = re.fullmatch(r"(\d+), (\d+\.\d) a second", rows["frames"]).groups()  # type: ignore[union-attr]
    assert int(received) > 5
    assert 0 < float(rate) < 60
    assert re.fullmatch(r"\d+\.\d / \d+\.\d ms", rows["mask age"])
    assert re.fullmatch(r"\d+\.\d%", rows["boxes of the same frame"])
    for point in ("received", "published"):
        ages = re.fullmatch(r"(\d+\.\d) / (\d+\.\d) ms", rows[f"{point} after"])
        assert ages is not None
        p50, p99 = map(float, ages.groups())
        assert 0 <= p50 <= p99
    assert rows["rendered after"] == "-", "results without a picture do not wait for it"
    assert "dropped" in rows


def test_without_a_terminal_there_is_one_line_per_frame(place: Place) -> None:
    endpoint = free_endpoint()
    with pipeline(place, endpoint) as run, place.run("subscribe", endpoint) as subscriber:
        assert subscriber.process.stdout is not None
        lines = [subscriber.process.stdout.readline().rstrip("\n") for _ in range(20)]
        run.process.send_signal(signal.SIGINT)
        status, output, errors = subscriber.finish(DEADLINE_S)
        run.finish(DEADLINE_S)
    assert (status, errors.splitlines()[-1]) == (0, "main ended: interrupted")
    assert all(re.fullmatch(r"main \d+( \(\+\d+ missed\))?: .+", line) for line in [*lines, *output.splitlines()])


def test_masks_are_sent_before_the_picture_is_drawn(place: Place) -> None:
    endpoint = free_endpoint()
    bare: dict[int, ResultMessage] = {}
    drawn: dict[int, ResultMessage] = {}
    with (
        pipeline(place, endpoint) as run,
        Subscriber(endpoint) as masks,
        Subscriber(endpoint, view="overlay") as overlay,
    ):

        def in_both_views() -> bool:
            for subscriber, results in ((masks, bare), (overlay, drawn)):
                result = next(iter(subscriber))
                results[result.seq] = result
            return len(bare.keys() & drawn.keys()) > 5

        until(in_both_views, DEADLINE_S, "frames in both views")
        run.process.send_signal(signal.SIGINT)
        run.finish(DEADLINE_S)
    for seq in bare.keys() & drawn.keys():
        before, after = bare[seq].timings, drawn[seq].timings
        assert before.published is not None and after.rendered is not None and after.published is not None
        assert before.rendered is None
        assert before.published < after.rendered <= after.published
        assert [item.detection for item in bare[seq].objects] == [item.detection for item in drawn[seq].objects]
