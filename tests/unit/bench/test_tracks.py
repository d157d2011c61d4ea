from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import msgspec
import pytest
from typer.testing import CliRunner

from benchmarks import tracks
from benchmarks.__main__ import app
from benchmarks.track_scenes import TrackScene, track_scenes
from benchmarks.track_score import Scorer, TrackScore
from benchmarks.tracks import TracksFigures, bench_tracks, print_tracks, true_clips
from streamseg.errors import DataError
from streamseg.geometry import Box

LEFT: Box = (0.0, 0.0, 100.0, 100.0)
RIGHT: Box = (200.0, 0.0, 300.0, 100.0)
NEAR: Box = (10.0, 0.0, 110.0, 100.0)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    threads = cv2.getNumThreads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracks, "track_scenes", lambda: [TrackScene("crowd", 0, 8)])
        yield
    cv2.setNumThreads(threads)


def score(*frames: tuple[dict[str, Box], dict[int, Box]], complete: bool = True) -> TrackScore:
    scorer = Scorer(complete=complete)
    for truth, found in frames:
        scorer.add(truth, found)
    return scorer.score()


def test_perfect_tracks() -> None:
    given = score(*[({"a": LEFT, "b": RIGHT}, {1: NEAR, 2: RIGHT})] * 4)
    expected = {"a": {1: 4}, "b": {2: 4}}
    assert given == TrackScore(numbers=expected, shared=[], switches=0, fragments=0, idf1=1.0)


def test_two_objects_that_swap_numbers() -> None:
    before, after = {1: LEFT, 2: RIGHT}, {2: LEFT, 1: RIGHT}
    given = score(*[({"a": LEFT, "b": RIGHT}, found) for found in (before, before, before, after)])
    assert (given.switches, given.fragments, given.shared) == (2, 0, [1, 2])
    assert given.idf1 == pytest.approx(6 / 8)


def test_a_gap_is_a_fragment_and_a_new_number_after_it_a_switch_too() -> None:
    truth = {"a": LEFT}
    given = score((truth, {}), (truth, {1: LEFT}), (truth, {}), (truth, {1: LEFT}), (truth, {}), (truth, {2: LEFT}))
    assert (given.switches, given.fragments, given.numbers) == (1, 2, {"a": {1: 2, 2: 1}})
    assert given.idf1 == pytest.approx(2 * 2 / (6 + 3))


def test_tracks_of_nothing_count_only_where_the_truth_is_complete() -> None:
    frame = ({"a": LEFT}, {1: LEFT, 2: RIGHT})
    assert score(frame).idf1 == pytest.approx(2 / 3)
    assert score(frame, complete=False).idf1 == 1.0
    assert score(({"a": LEFT}, {}), complete=False).idf1 == 0.0
    assert score().idf1 == 1.0


def test_between_two_boxes_the_number_before_counts() -> None:
    given = score(({"a": LEFT}, {1: LEFT}), ({"a": LEFT}, {2: LEFT, 1: NEAR}))
    assert (given.switches, given.shared) == (0, [])


def test_scenes_have_every_kind_of_error_and_repeat() -> None:
    scene = TrackScene("lanes", 1, 40)
    frames = list(scene.frames())
    assert [frame.detections for frame in frames] == [frame.detections for frame in scene.frames()]
    found = [len(frame.detections) - len(frame.truth) for frame in frames]
    assert min(found) < 0 < max(found)
    assert len({each.class_id for frame in frames for each in frame.detections}) == 4
    assert len({(each.name, each.seed) for each in track_scenes()}) == 12


def test_the_truth_of_the_clips_moves_between_its_keys() -> None:
    clips = {clip.clip: clip for clip in true_clips()}
    assert set(clips) == {"cups.mp4", "coffee.mp4"}
    for clip in clips.values():
        for item in clip.objects:
            keys = [key for span in item.spans for key in span]
            assert [key[0] for key in keys] == sorted({key[0] for key in keys})
            for _, left, top, right, bottom in keys:
                assert 0 <= left < right <= clip.width
                assert 0 <= top < bottom <= clip.height
    cups = clips["cups.mp4"]
    assert {name for name in cups.truth(100) if name.startswith("cup")} == {"cup a", "cup b", "cup c"}
    assert ("ball" in cups.truth(0), "ball" in cups.truth(100)) == (True, False)
    before, between, after = (cups.truth(seq)["cup a"] for seq in (20, 22, 24))
    assert between == pytest.approx([(a + b) / 2 for a, b in zip(before, after, strict=True)])


def test_keys_of_the_json_and_the_printed_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracks, "SHARED", tmp_path)
        steps: list[str] = []
        figures = bench_tracks(None, None, steps.append)
        assert steps == ["measuring scene crowd, seed 0"]
        plain = CliRunner().invoke(app, ["tracks", "--json"])
    assert set(msgspec.json.decode(plain.stdout)) == {"machine", "ms_per_frame", "scenes", "clips"}
    assert msgspec.json.decode(msgspec.json.encode(figures), type=TracksFigures) == figures
    (scene,) = figures.scenes
    assert (scene.name, scene.frames, figures.clips) == ("crowd 0", 8, [])
    print_tracks(figures)
    assert "crowd" in capsys.readouterr().out


def test_a_folder_without_the_clips_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds none of the clips; expected coffee\.mp4 or cups\.mp4"):
        bench_tracks(tmp_path, None, print)
