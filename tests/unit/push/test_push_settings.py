from __future__ import annotations

from pathlib import Path

import pytest

from streamseg.config import check_config
from streamseg.errors import SettingsError
from streamseg.plan import check_run

KEYS = {"secret_key_file": "camera.key", "allow": ["robot.pub"]}


def settings(url: str, **more: object) -> dict[str, object]:
    models = {"detector": {"model": "motion"}, "segmenter": {"model": "nano"}}
    return {"sources": [{"url": url, "name": "robot", **more}], **models}


@pytest.mark.parametrize("url", ["push:", "PUSH:", "push:tcp://127.0.0.1:5560", "push:ipc:///tmp/robot"])
def test_a_pushed_source_is_live_and_needs_no_keys_on_this_machine(url: str) -> None:
    config = check_config(settings(url))
    assert (config.sources[0].kind, config.resolved_mode) == ("push", "live")


def test_other_machines_need_keys() -> None:
    with pytest.raises(
        SettingsError, match=r"^sources\.robot\.url: other machines can send frames to tcp://0\.0\.0\.0:5560"
    ):
        check_config(settings("push:tcp://0.0.0.0:5560"))
    check_config(settings("push:tcp://0.0.0.0:5560", curve=KEYS))


@pytest.mark.parametrize("url", ["push:5560", "push:tcp://*:*", "push:tcp://host", "push:udp://127.0.0.1:5560"])
def test_what_is_no_endpoint_is_refused(url: str) -> None:
    with pytest.raises(
        SettingsError, match=r"^sources\.robot\.url: .* is not an endpoint; expected tcp://HOST:PORT or ipc://"
    ):
        check_config(settings(url))


def test_keys_are_for_pushed_sources_alone_and_read_before_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^sources\.robot\.curve: only for push:"):
        check_config(settings("rtsp://camera/stream", curve=KEYS))
    keys = {"secret_key_file": str(tmp_path / "gone.key"), "allow": str(tmp_path / "robot.pub")}
    with pytest.raises(SettingsError, match=r"^sources\.robot\.curve\.allow: .*robot\.pub cannot be read"):
        check_run(check_config(settings("push:", curve=keys)), overwrite=False)
