from __future__ import annotations

import numpy as np

from streamseg.sources.crossing import CrossingScene, corner, read_number
from streamseg.sources.crowd import CrowdScene
from streamseg.sources.scene import TruthObject
from streamseg.sources.scene_options import SceneOptions
from streamseg.sources.synthetic import SyntheticScene, open_scene

OPTIONS = SceneOptions.parse("synthetic:?scene=crossing&size=1280x720&seed=10&objects=5")


def test_the_url_chooses_the_scene() -> None:
    assert isinstance(open_scene(OPTIONS), CrossingScene)
    assert isinstance(open_scene(SceneOptions.parse("synthetic:?scene=bands")), SyntheticScene)
    assert isinstance(open_scene(SceneOptions.parse("synthetic:?scene=crowd")), CrowdScene)


def test_a_frame_depends_on_its_number_and_the_seed_alone() -> None:
    one, other = CrossingScene(OPTIONS), CrossingScene(OPTIONS)
    one.render(5)
    np.testing.assert_array_equal(one.render(40), other.render(40))
    small = SceneOptions.parse("synthetic:?scene=crossing&size=320x180")
    assert not np.array_equal(
        CrossingScene(small).render(1),
        CrossingScene(SceneOptions.parse("synthetic:?scene=crossing&size=320x180&seed=2")).render(1),
    )


def test_the_frame_shows_its_number() -> None:
    scene = CrossingScene(OPTIONS)
    assert [read_number(scene.render(number)) for number in (0, 1, 1234)] == [0, 1, 1234]


def test_truth_is_exactly_what_differs_from_the_background() -> None:
    # Two scenes of one seed share their background, because it is drawn first.
    scene = CrossingScene(OPTIONS)
    empty = CrossingScene(SceneOptions.parse("synthetic:?scene=crossing&size=1280x720&seed=10&objects=0"))
    rows, columns = corner(720, 1280)
    for seq in (0, 150, 300, 1074):  # in the last one an object lies under the number
        inside = np.zeros((720, 1280), np.int64)
        for truth in scene.truth(seq):
            inside += truth.mask.paste(720, 1280)
            assert truth.xyxy == truth.mask.xyxy
            assert truth.mask.inside(720, 1280)
        changed = (scene.render(seq) != empty.render(seq)).any(axis=2)
        assert inside.max() == 1
        assert inside[:rows, :columns].max() == 0
        np.testing.assert_array_equal(changed & (inside == 0), False)
        assert (changed & (inside == 1)).sum() > 0.99 * inside.sum()


def test_objects_are_large_cross_and_move_by_a_few_pixels() -> None:
    scene = CrossingScene(OPTIONS)
    shares: list[float] = []
    before: dict[int, TruthObject] = {}
    for seq in range(400):
        truth = {item.tracker_id: item for item in scene.truth(seq)}
        shares += [item.share for item in truth.values()]
        for number, item in truth.items():
            if number in before and min(item.share, before[number].share) > 0.99:
                centre, earlier = middle(item), middle(before[number])
                assert np.hypot(*(centre - earlier)) < 9  # a box also moves with the object's turn
                assert 100 < max(item.mask.width, item.mask.height) < 450
        before = truth
    assert len(before) == 5
    assert max(shares) == 1.0
    assert np.mean(np.array(shares) > 0.9) > 0.5
    assert np.mean(np.array(shares) < 0.5) > 0.03


def middle(item: TruthObject) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    left, top, right, bottom = item.xyxy
    return np.array([(left + right) / 2, (top + bottom) / 2])


def test_a_crowd_has_small_and_large_objects_and_shows_most_of_them() -> None:
    truth = CrowdScene(SceneOptions.parse("synthetic:?scene=crowd&size=640x360&objects=300")).truth(0)
    assert {item.tracker_id for item in truth} <= set(range(1, 301)) and len(truth) > 200
    sides = [max(item.mask.width, item.mask.height) for item in truth]
    assert min(sides) < 24 and max(sides) > 150
