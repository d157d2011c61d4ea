"""The objects of a frame, followed together: to the next frame, from a mask that came late, and to what is drawn of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from streamseg.propagate.appearance import evidence
from streamseg.propagate.carried import Carried, along, checked, odds_of, of_objects, shares_after
from streamseg.propagate.followed import Followed, Learnt, Moment, Place
from streamseg.propagate.looks import Flow, FlowFinder, Look
from streamseg.window import Plane


def follow(objects: Sequence[Followed], moment: Moment, places: Sequence[Place], looks: Sequence[Look | None], finder: FlowFinder) -> None:
    """Go on to a newer frame, where each object is looked at at its place."""
    both = zip(objects, looks, strict=True)
    pairs = [(each.seen, seen, each) for each, seen in both if each.seen is not None and seen is not None]
    flows = finder.between(
        [before for before, _, _ in pairs], [after for _, after, _ in pairs], [each.ahead(moment.seq) for _, _, each in pairs]
    )
    masks = _carried_on([each.carried for _, _, each in pairs], flows)
    ways = zip(flows, masks, strict=True)
    for each, place, seen in zip(objects, places, looks, strict=True):
        if seen is None:
            each.come_unseen(place)
        elif each.seen is None:
            each.come(moment.seq, place, seen, None, each.carried_unseen())
        else:
            flow, mask = next(ways)
            each.come(moment.seq, place, seen, flow[None], mask)


def learn(answers: Mapping[Followed, Learnt], now: Moment) -> None:
    """Take newer answers of the segmenter, and carry their masks to where their objects are now."""
    steps = {followed: followed.learn(learnt) for followed, learnt in answers.items()}
    for seq in sorted({seq for places in steps.values() for seq in places}):
        coming = {followed: places[seq] for followed, places in steps.items() if seq in places}
        masks = [followed.carried for followed in coming if followed.carried is not None]
        flows = np.concatenate([flow for followed, place in coming.items() if (flow := followed.path[place].flow) is not None])
        shares = shares_after(masks, flows)
        for (followed, place), mask in zip(coming.items(), along(masks, flows, shares), strict=True):
            followed.rebased(place, mask)
    for followed, learnt in answers.items():
        if followed.carried is not None:
            # Motion that nobody has seen counts as well: then only the box has been followed.
            followed.carried = followed.carried.aged(now.seq - learnt.moment.seq)


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
    carrying = [(each, each.carried, each.seen) for each in objects if each.carried is not None and each.seen is not None]
    odds: Iterator[Plane] = iter(())
    if carrying:
        looks = [seen for _, _, seen in carrying]
        told = evidence([mask.origin.appearance for _, mask, _ in carrying], np.stack([seen.picture for seen in looks]))
        masks = checked([mask for _, mask, _ in carrying], told)
        for (each, _, _), mask in zip(carrying, masks, strict=True):
            each.carried = mask
        odds = iter(odds_of(masks, looks, told, [None if each.opinion is None else each.opinion.odds for each, _, _ in carrying]))
    return [each.opinion_alone if each.seen is None or each.carried is None else next(odds) for each in objects]
