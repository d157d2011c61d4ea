from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from streamseg.client import Subscriber
from streamseg.config import PublishSettings, check_config
from streamseg.config_file import load_config, parse_override
from streamseg.control import Control
from streamseg.errors import SettingsError, UsageError
from streamseg.push.sender import FrameSender

KEYS = ("publish.curve.secret_key_file=door.key", "publish.curve.allow=viewers.pub")
OUTSIDE = "tcp://0.0.0.0:5555"


def load(*assignments: str) -> PublishSettings:
    return load_config(None, [parse_override(text) for text in ("sources.0.url=clip.mp4", *assignments)], {}).publish


def refusal(*assignments: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(*assignments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "address"),
    [
        ("publish.bind", "tcp://*:5555"),
        *product(
            ("publish.bind", "publish.connect"),
            (OUTSIDE, "tcp://192.0.2.1:5555", "tcp://hub.example:5555", "tcp://127.0.0.1;hub:5555"),
        ),
    ],
)
def test_an_address_that_other_machines_reach_needs_keys_or_insecure(key: str, address: str) -> None:
    message = refusal(f"{key}={address}")
    assert message.startswith(f"{key}: {address} ")
    assert "publish.curve" in message
    assert "--insecure" in message
    for guard in (("publish.insecure=true",), KEYS):
        assert load(f"{key}={address}", *guard)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:5556", "tcp://localhost:5556", "ipc:///tmp/hub"])
def test_a_local_proxy_needs_nothing(address: str) -> None:
    assert load(f"publish.connect={address}").connect == address
    assert load().connect is None


@pytest.mark.parametrize(
    "address", ["nowhere", "tcp://127.0.0.1", "tcp://127.0.0.1:*", "tcp://:1", "udp://127.0.0.1:1"]
)
def test_an_address_that_cannot_be_connected_to_is_an_error(address: str) -> None:
    assert refusal(f"publish.connect={address}").startswith("publish.connect: ")


def test_keys_are_allowed_by_a_file_or_by_a_list_of_files() -> None:
    one, two = load(*KEYS), load(KEYS[0], "publish.curve.allow=[a.pub, b.pub]")
    assert one.curve is not None
    assert two.curve is not None
    assert (one.curve.allow_files, two.curve.allow_files) == (("viewers.pub",), ("a.pub", "b.pub"))


@pytest.mark.parametrize(
    ("assignment", "key", "expected"),
    [
        ("publish.curve.allow=[]", "publish.curve.allow:", ">= 1"),
        ("publish.curve.allow=3", "publish.curve.allow:", "expected"),
        ("publish.curve.secret=3", "publish.curve.secret:", "expected one of secret_key_file, allow"),
        ("publish.curve.secret_key_file=x", "publish.curve.allow:", "missing"),
        ("publish.curve=door.key", "publish.curve:", "expected `object"),
    ],
)
def test_an_error_names_the_bad_setting(assignment: str, key: str, expected: str) -> None:
    before = [] if "secret_key_file" in assignment or assignment.startswith("publish.curve=") else [KEYS[0]]
    message = refusal(*before, assignment)
    assert message.startswith(key)
    assert expected in message


def test_only_a_file_waits_for_a_subscriber() -> None:
    assert load("publish.wait_for_subscriber=true").wait_for_subscriber
    message = refusal("publish.wait_for_subscriber=true", "mode=live")
    assert message.startswith("publish.wait_for_subscriber: a live source does not wait; expected a file")


CURVE = {"secret_key_file": "a.key", "allow": "b.pub"}


@pytest.mark.parametrize(
    ("control", "publish", "message"),
    [
        ({"bind": "tcp://0.0.0.0:1"}, {"insecure": True}, r"control\.bind: .* reachable from other machines"),
        ({"bind": "tcp://0.0.0.0:1"}, {"curve": CURVE}, r"control\.allow: missing; with publish\.curve"),
        ({"bind": "tcp://127.0.0.1:1", "allow": "b.pub"}, {}, r"control\.allow: needs this publisher's key too"),
        ({"bind": "127.0.0.1:1"}, {}, r"control\.bind: '127\.0\.0\.1:1' is not an endpoint"),
    ],
)
def test_a_run_is_controlled_from_this_machine_or_with_a_key(
    control: dict[str, object], publish: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        check_config({"sources": [{"url": "0"}], "control": control, "publish": publish})


def test_the_keys_that_may_control_are_not_those_that_may_subscribe() -> None:
    control = {"bind": "tcp://0.0.0.0:1", "allow": ["c.pub"]}
    config = check_config({"sources": [{"url": "0"}], "control": control, "publish": {"curve": CURVE}})
    assert (config.control.allow_files, config.publish.curve and config.publish.curve.allow_files) == (
        ("c.pub",),
        ("b.pub",),
    )


@pytest.mark.parametrize("connect", [FrameSender, Subscriber, Control])
def test_a_side_that_connects_needs_a_host(connect: Callable[[str], object]) -> None:
    with pytest.raises(UsageError, match=r"^endpoint: tcp://\*:5560 stands for all addresses of one machine; expected"):
        connect("tcp://*:5560")
    publish = {"connect": "tcp://*:5560", "insecure": True}
    with pytest.raises(SettingsError, match=r"^publish\.connect: tcp://\*:5560 stands for"):
        check_config({"sources": [{"url": "0"}], "publish": publish})
