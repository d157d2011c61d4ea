"""A pipeline that admits only subscribers with an allowed key."""

from __future__ import annotations

import re
import signal
import stat
from pathlib import Path

import pytest
from support.leftovers import Place
from support.pipeline_runs import Run, free_endpoint, until
from zmq.auth import load_certificate

from streamseg.client import Subscriber
from streamseg.errors import SubscriptionTimeoutError
from streamseg.wire.curve import make_key_pair

SCENE = ("run", "--source", "synthetic:?size=160x120&fps=25&objects=1", "--detector", "motion", "--segmenter", "nano")
PATIENCE = 60.0
NAMES = ("publisher", "friend", "stranger")


@pytest.fixture
def keys(place: Place) -> Path:
    """The run's folder, with the key pairs of the publisher, an allowed subscriber, and a stranger."""
    for name in NAMES:
        make_key_pair(place.folder / name)
    return place.folder


def guarded(place: Place, bind: str, *more: str) -> Run:
    curve = ("publish.curve.secret_key_file=publisher.key", "publish.curve.allow=[friend.pub]")
    return place.run(
        *SCENE, *(word for setting in (f"publish.bind={bind}", *curve, *more) for word in ("--set", setting))
    )


def subscriber(endpoint: str, keys: Path, own: str, server: str) -> Subscriber:
    return Subscriber(endpoint, timeout=PATIENCE, secret_key_file=keys / own, server_key_file=keys / server)


def check_receives_nothing(other: Subscriber) -> None:
    with pytest.raises(SubscriptionTimeoutError):
        other.receive(0)


def test_only_an_allowed_subscriber_receives_also_from_a_restarted_publisher(place: Place, keys: Path) -> None:
    endpoint = free_endpoint()
    with (
        guarded(place, endpoint) as run,
        subscriber(endpoint, keys, "friend.key", "publisher.pub") as friend,
        subscriber(endpoint, keys, "friend.key", "stranger.pub") as misled,
    ):
        before = [next(iter(friend)) for _ in range(30)]
        pair = ("--secret-key-file", "stranger.key", "--server-key-file", "publisher.pub")
        with place.run("subscribe", endpoint, *pair) as stranger:
            status, output, errors = stranger.finish(PATIENCE)
        assert (status, output) == (3, "")
        assert errors.startswith(f"streamseg: {endpoint} refused this key")
        assert len(errors.splitlines()) == 1
        check_receives_nothing(misled)

        victim = run.stages()["hub"]
        victim.kill()
        until(lambda: (new := run.stages().get("hub")) and new.pid != victim.pid, PATIENCE, "a new hub")
        friend.latest()  # skips the results of the old one
        after = [next(iter(friend)) for _ in range(30)]
        assert {result.run_id for result in before + after} == {before[0].run_id}
        with place.run("subscribe", endpoint, *pair) as stranger:
            assert stranger.finish(PATIENCE)[0] == 3
        check_receives_nothing(misled)

        commands = [word for process in place.processes() for word in process.cmdline()]
        run.process.send_signal(signal.SIGINT)
        status, output, errors = run.finish(10)
    assert status == 130, errors
    refusals = re.findall(
        r"a program at 127\.0\.0\.1 was refused: its key (\S{40}) is not in publish\.curve\.allow", errors
    )
    stranger_key, _ = load_certificate(keys / "stranger.pub")
    assert refusals == [stranger_key.decode().translate(str.maketrans("@:%=", "????"))] * 2
    for name in NAMES:
        _, secret = load_certificate(keys / f"{name}.key")
        assert secret is not None
        assert not any(secret.decode() in text for text in (output, errors, *commands))


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("publish.curve.secret_key_file=gone", "publish.curve.secret_key_file: gone cannot be read"),
        ("publish.curve.secret_key_file=friend.pub", "publish.curve.secret_key_file: friend.pub holds a public key"),
        ("publish.curve.allow=[friend.pub, stranger.key]", "publish.curve.allow: stranger.key holds a secret key"),
        ("publish.curve.allow=text", "publish.curve.allow: text is not a key file"),
    ],
)
def test_a_bad_key_file_is_named_and_nothing_starts(place: Place, keys: Path, setting: str, complaint: str) -> None:
    (keys / "text").write_text("These are no keys.\n")
    with guarded(place, "tcp://127.0.0.1:*", setting, "record.jsonl=out.jsonl") as run:
        status, output, errors = run.finish(PATIENCE)
    assert (status, output) == (2, "")
    assert errors.startswith(f"streamseg: {complaint}")
    assert len(errors.splitlines()) == 1
    assert not (keys / "out.jsonl").exists()


def test_publishing_without_keys_requires_insecure(place: Place) -> None:
    outside = (*SCENE, "--max-frames", "3", "--set", "publish.bind=tcp://0.0.0.0:*")
    with place.run(*outside) as run:
        status, _, errors = run.finish(PATIENCE)
    assert status == 2
    assert "publish.curve" in errors
    assert "--insecure" in errors
    with place.run(*outside, "--insecure") as run:
        status, _, errors = run.finish(PATIENCE)
    assert status == 0, errors


def test_a_command_makes_keys(place: Place) -> None:
    with place.run("keys", "door") as run:
        assert run.finish(PATIENCE) == (
            0,
            "wrote door.key, the secret key of this side, and door.pub, the public key for the other side\n",
            "",
        )
    before = (place.folder / "door.key").read_bytes()
    assert stat.S_IMODE((place.folder / "door.key").stat().st_mode) == 0o600
    with place.run("keys", "door") as run:
        status, output, errors = run.finish(PATIENCE)
    assert (status, output) == (2, "")
    assert errors.startswith("streamseg: door.key exists")
    assert (place.folder / "door.key").read_bytes() == before
