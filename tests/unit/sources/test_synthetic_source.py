from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from msgspec.structs import replace

from streamseg.errors import SourceError
from streamseg.sources import SourceSettings
from streamseg.sources.scene_options import SceneOptions
from streamseg.sources.synthetic import CLASS_NAMES, SyntheticScene, SyntheticSource


def test_the_url_sets_the_options_of_the_scene() -> None:
    assert SceneOptions.parse("synthetic:?size=320x200&fps=12.5&frames=7&seed=9&objects=5") == SceneOptions(
        width=320, height=200, fps=12.5, frames=7, seed=9, objects=5
    )
    assert SceneOptions.parse("synthetic:") == SceneOptions(
        width=640, height=480, fps=30.0, frames=0, seed=1, objects=2
    )


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("synthetic:?scene=sea", "scene='sea' is not valid; expected bands or crossing or crowd"),
        ("synthetic:?colour=red", "no key 'colour'"),
        ("synthetic:?size=640", "size=''"),
        ("synthetic:?size=10x10", "size='10'"),
        ("synthetic:?fps=nan", "fps='nan'"),
        ("synthetic:?frames=-1", "frames='-1'"),
        ("synthetic:?objects=many", "objects='many'"),
        ("synthetic:objects=2", "cannot be read"),
    ],
)
def test_an_error_names_the_wrong_part_of_the_url(url: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        SyntheticSource(SourceSettings(url=url))


def test_a_frame_depends_on_its_number_and_the_seed_alone() -> None:
    options = SceneOptions(width=160, height=120, seed=3)
    one, other = SyntheticScene(options), SyntheticScene(options)
    one.render(5)
    np.testing.assert_array_equal(one.render(40), other.render(40))
    assert not np.array_equal(one.render(40), SyntheticScene(SceneOptions(width=160, height=120, seed=4)).render(40))


def test_truth_is_exactly_what_differs_from_the_background() -> None:
    # Two scenes of one seed share their background, because it is drawn first.
    scene = SyntheticScene(SceneOptions(objects=3))
    empty = SyntheticScene(SceneOptions(objects=0)).render(0)
    for seq in (0, 17, 200):
        image = scene.render(seq)
        inside = np.zeros(image.shape[:2], dtype=np.int64)
        for truth in scene.truth(seq):
            inside += truth.mask.paste(480, 640)
            assert truth.xyxy == truth.mask.xyxy
            assert truth.mask.inside(480, 640)
        assert inside.max() == 1
        changed = (image != empty).any(axis=2)
        np.testing.assert_array_equal(changed & (inside == 0), False)
        assert (changed & (inside == 1)).sum() > 0.995 * inside.sum()


def test_objects_move_from_the_first_frame_on_and_never_leave() -> None:
    scene = SyntheticScene(SceneOptions(objects=4, seed=2))
    before: dict[int, tuple[float, float]] = {}
    for seq in range(300):
        seen = {truth.tracker_id: truth for truth in scene.truth(seq)}
        assert set(seen) == {1, 2, 3, 4}
        for number, truth in seen.items():
            assert truth.class_name == CLASS_NAMES[(number - 1) % 3]
            assert truth.mask.area > 1000
            middle = ((truth.xyxy[0] + truth.xyxy[2]) / 2, (truth.xyxy[1] + truth.xyxy[3]) / 2)
            if number in before:
                assert 0 < np.hypot(middle[0] - before[number][0], middle[1] - before[number][1]) < 20
            before[number] = middle


def test_two_objects_of_the_default_scene_never_hide_each_other() -> None:
    scene = SyntheticScene(SceneOptions())
    areas = np.array([[truth.mask.area for truth in scene.truth(seq)] for seq in range(300)])
    assert areas.shape == (300, 2)
    assert (areas.min(axis=0) > 0.97 * areas.max(axis=0)).all()


def test_a_scene_with_an_end_has_all_frames_without_delay() -> None:
    source = SyntheticSource(SourceSettings(url="synthetic:?size=160x120&fps=1&frames=30"))
    assert (source.info.fps, source.info.frame_count) == (1.0, 30)
    began = time.monotonic()
    frames = list(source.frames(0, threading.Event()))
    assert time.monotonic() - began < 15
    assert [frame.pts_ns for frame in frames] == [number * 1_000_000_000 for number in range(30)]
    rest = list(source.frames(28, threading.Event()))
    np.testing.assert_array_equal(rest[0].image, frames[28].image)
    assert [frame.pts_ns for frame in rest] == [frame.pts_ns for frame in frames[28:]]


def test_an_endless_scene_keeps_its_rate_until_stopped() -> None:
    source = SyntheticSource(SourceSettings(url="synthetic:?size=160x120&fps=50"))
    stop = threading.Event()
    began = time.monotonic()
    times = []
    for frame in source.frames(0, stop):
        times.append(frame.pts_ns)
        assert frame.pts_ns <= (time.monotonic() - began) * 1e9 + 1e7
        if frame.pts_ns >= 500_000_000:
            stop.set()
    assert time.monotonic() - began >= 0.49
    assert times == sorted(set(times)) and len(times) > 10


def test_late_frames_are_skipped() -> None:
    stop = threading.Event()
    frames = SyntheticSource(SourceSettings(url="synthetic:?size=64x64&fps=100")).frames(0, stop)
    assert next(frames).pts_ns == 0
    began = time.monotonic()
    while time.monotonic() - began < 0.2:
        pass
    assert next(frames).pts_ns >= 190_000_000


def test_rotation_and_mirror() -> None:
    still = SourceSettings(url="synthetic:?size=160x120&frames=1")
    plain, turned, mirrored = (
        next(SyntheticSource(settings).frames(0, threading.Event())).image
        for settings in (still, replace(still, rotate=90), replace(still, mirror=True))
    )
    np.testing.assert_array_equal(turned, np.rot90(plain, -1))
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])


def test_the_scene_needs_no_decoder() -> None:
    program = "import sys, streamseg.sources.synthetic; raise SystemExit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
