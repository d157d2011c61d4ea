"""The objects of a frame, followed together: to the next frame, from a mask that came late, and to what is drawn of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamseg.geometry import Box
from streamseg.messages import Image
from streamseg.propagate.appearance import evidence
from streamseg.propagate.carried import Carried, along, checked, in_boxes, odds_of, of_objects, shares_after
from streamseg.propagate.followed import Followed, Place
from streamseg.propagate.keyframe_mask import FrameTime
from streamseg.propagate.known import Coming
from streamseg.propagate.looks import Flow, FlowFinder, Look, look
from streamseg.propagate.planes import split
from streamseg.window import Plane

_STEPS_A_FRAME = 8
"""That masks which come late are carried in a frame: an answer that is three seconds old is there after about half a second."""


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What is seen of an object in the next frame, wherever its box turns out to be.

    Attributes:
        look: The look at it.
        flow: Between the look before and this one, shape (1, FLOW_SIDE, FLOW_SIDE, 2); None where there is none before.
        carried: Its mask there.
    """

    look: Look
    flow: Flow | None
    carried: Carried | None

    def settled(self, box: Box) -> Sight:
        """The same of an object whose box turns out to be that one."""
        return replace(self, look=self.look.settled(box))


def see(
    objects: Sequence[Followed], seq: int, image: Image, boxes: Sequence[Box], side: int, finder: FlowFinder
) -> list[Sight | None]:
    """Look at objects in a newer frame, at those boxes and in squares of that side; None for one that lies outside."""
    looks = look(image, boxes, side)
    pairs = [
        (each.seen, seen, each)
        for each, seen in zip(objects, looks, strict=True)
        if each.seen is not None and seen is not None
    ]
    flows = finder.between(
        [before for before, _, _ in pairs], [after for _, after, _ in pairs], [each.ahead(seq) for _, _, each in pairs]
    )
    ways = zip(flows, _carried_on([each.carried for _, _, each in pairs], flows), strict=True)
    sights: list[Sight | None] = []
    for each, seen in zip(objects, looks, strict=True):
        if seen is None:
            sights.append(None)
        elif each.seen is None:
            sights.append(Sight(seen, None, each.carried_unseen()))
        else:
            flow, carried = next(ways)
            sights.append(Sight(seen, flow[None], carried))
    return sights


def follow(
    objects: Sequence[Followed], moment: FrameTime, places: Sequence[Place], sights: Sequence[Sight | None]
) -> None:
    """Go on to a newer frame, where each object is at its place and is seen there, or nearly there."""
    for each, place, sight in zip(objects, places, sights, strict=True):
        if sight is None:
            each.come_unseen(place)
            continue
        each.come(moment.seq, place, sight.look, sight.flow, sight.carried)
        if each.missed:
            each.look_for()


def catch_up(objects: Sequence[Followed], now: FrameTime) -> None:
    """Carry newer answers of the segmenter on towards the newest frame: some steps in each frame, so that none has to wait long."""
    ways = {each: each.still_to_come for each in objects if each.coming is not None}
    for seq in sorted({seq for way in ways.values() for seq in way})[:_STEPS_A_FRAME]:
        _come_closer(
            [(each, each.coming, way[seq]) for each, way in ways.items() if each.coming is not None and seq in way]
        )
    for each, way in ways.items():
        if each.coming is not None and each.coming.seq >= max(way, default=each.coming.seq):
            each.arrives(each.coming, now)


def _come_closer(coming: Sequence[tuple[Followed, Coming, int]]) -> None:
    """Carry newer answers one step further, to a place of their objects' paths."""
    masks = [each.carried for _, each, _ in coming]
    flows = np.concatenate([flow for followed, _, place in coming if (flow := followed.path[place].flow) is not None])
    for (followed, each, place), mask in zip(coming, along(masks, flows, shares_after(masks, flows)), strict=True):
        followed.comes_closer(each, place, mask)


def _carried_on(masks: Sequence[Carried | None], flows: Flow) -> list[Carried | None]:
    """The masks a step further, by flows that from then on are those of their objects' own pixels."""
    known = [mask for mask in masks if mask is not None]
    if not known:
        return list(masks)
    places = [place for place, mask in enumerate(masks) if mask is not None]
    shares = shares_after(known, flows[places])
    flows[places] = of_objects(flows[places], shares)
    newer = iter(along(known, flows[places], shares))
    return [None if mask is None else next(newer) for mask in masks]


def odds_of_objects(objects: Sequence[Followed]) -> list[Plane | None]:
    """For each pixel of each object's newest look, the logarithm of the odds that it is the object's; None where nothing is known."""
    carrying = [
        (each, each.carried, each.seen) for each in objects if each.carried is not None and each.seen is not None
    ]
    odds: Iterator[Plane] = iter(())
    if carrying:
        looks = [seen for _, _, seen in carrying]
        told = evidence([mask.origin.appearance for _, mask, _ in carrying], np.stack([seen.picture for seen in looks]))
        masks = [mask for _, mask, _ in carrying]
        share_at_rest, odds_at_rest = split(in_boxes(masks, looks))
        masks = checked(masks, looks, share_at_rest, told)
        for (each, _, _), mask in zip(carrying, masks, strict=True):
            each.carried = mask
        opinions = [None if each.opinion is None else each.opinion.odds for each, _, _ in carrying]
        odds = iter(odds_of(masks, looks, odds_at_rest, told, opinions))
    return [each.opinion_alone if each.seen is None or each.carried is None else next(odds) for each in objects]
