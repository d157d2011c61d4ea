"""Another program controls a run: it lists, adds and removes sources, and takes snapshots."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from support.leftovers import Place
from support.pipeline_runs import free_endpoint, until

from streamseg.client import Subscriber
from streamseg.control import Control
from streamseg.errors import ControlTimeoutError, SettingsError, SourceError, UsageError
from streamseg.wire.curve import make_key_pair

PATIENCE_S = 60.0
PROGRAM = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs/subscribe.md").read_text(encoding="utf-8"), re.DOTALL
)[0]
SCENE = "synthetic:?size=160x120&fps=15&objects=1"
MODELS = ("--detector", "motion", "--segmenter", "nano")


def settings(*pairs: str) -> list[str]:
    return [word for pair in pairs for word in ("--set", pair)]


def states(control: Control) -> dict[str, str]:
    return {source.name: source.state for source in control.sources()}


def when(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, without a flood of requests."""

    def calmly() -> bool:
        time.sleep(0.05)
        return condition()

    until(calmly, PATIENCE_S, what)


def test_sources_are_listed_added_and_removed(place: Place) -> None:
    publish, bind = free_endpoint(), free_endpoint()
    more = settings(f"publish.bind={publish}", f"control.bind={bind}")
    with (
        place.run("run", "--source", f"door={SCENE}", *MODELS, *more) as run,
        Control(bind, timeout=PATIENCE_S) as control,
        Subscriber(publish, source="yard", timeout=PATIENCE_S) as yard,
    ):
        when(lambda: states(control) == {"door": "running"}, "the door")
        assert control.health().up
        assert {(stage.stage, stage.source) for stage in control.health().stages} == {
            ("capture", "door"), ("publish", "door"), ("detect", None), ("segment", None), ("hub", None)
        }  # fmt: skip
        assert control.add_source("yard", SCENE, mirror=True) == "added yard"
        first = next(iter(yard))
        assert (first.source, first.width) == ("yard", 160)
        when(lambda: states(control) == {"door": "running", "yard": "running"}, "the yard")

        plain, drawn = control.snapshot("yard"), control.snapshot("yard", drawn=True)
        assert plain.source == drawn.source == "yard"
        assert plain.image is not None
        assert drawn.image is not None
        assert plain.image.shape == (120, 160, 3)
        assert drawn.seq > plain.seq, "each is the next one"
        if plain.objects:
            assert not np.array_equal(plain.image, drawn.image)

        with pytest.raises(SettingsError, match=r"sources\.2\.name: yard is the name of sources\.1 too"):
            control.add_source("yard", SCENE)
        with pytest.raises(SourceError, match=r"missing\.mp4: no such file"):
            control.add_source("clip", "missing.mp4")
        with pytest.raises(SettingsError, match=r"sources\.gate\.rotate: "):
            control.add_source("gate", SCENE, rotate=45)
        with pytest.raises(UsageError, match="gate: no such source; expected one of door, yard"):
            control.snapshot("gate")
        with pytest.raises(UsageError, match="the run has no settings file"):
            control.reload()
        assert control.remove_source("door") == "removed door"
        with pytest.raises(UsageError, match="yard is the only source; stop the run instead"):
            control.remove_source("yard")
        assert states(control) == {"yard": "running"}
        assert control.snapshot("yard").seq > drawn.seq
        run.stages()["hub"].kill()
        when(lambda: _answers(bind), "the hub again")
        run.process.terminate()
        status, _, errors = run.finish(30)
    assert status == 143, errors
    assert f"control on {bind}" in errors
    place.check_nothing_left()


def _answers(bind: str) -> bool:
    with Control(bind, timeout=1) as control:
        try:
            return control.health().up
        except ControlTimeoutError:
            return False


def test_a_snapshot_of_a_file_that_waits_or_has_ended_is_refused(place: Place) -> None:
    bind = free_endpoint()
    files = [word for name, frames in {"short": 3, "long": 100_000, "later": 3}.items()
             for word in ("--source", f"{name}={SCENE}&frames={frames}")]  # fmt: skip
    more = settings("publish.bind=tcp://127.0.0.1:*", f"control.bind={bind}", "files_at_once=1")
    with (
        place.run("run", *files, "--mode", "every-frame", *MODELS, *more) as run,
        Control(bind, timeout=PATIENCE_S) as control,
    ):
        when(lambda: states(control).get("long") == "running", "the second file")
        with pytest.raises(SourceError, match=r"short: it has ended \(end of source\)"):
            control.snapshot("short")
        with pytest.raises(SourceError, match="later: it has not started yet"):
            control.snapshot("later")
        assert control.snapshot("long").source == "long"
        run.process.terminate()
        assert run.finish(30)[0] == 143


def test_a_reload_replies_with_what_changes_or_why_nothing_does(place: Place) -> None:
    bind, path = free_endpoint(), place.folder / "cameras.yaml"

    def write(*names: str, conf: float = 0.3) -> None:
        tree = {
            "sources": [{"name": name, "url": SCENE} for name in names],
            "detector": {"model": "motion", "conf": conf},
            "segmenter": {"model": "nano"},
            "publish": {"bind": "tcp://127.0.0.1:*"},
            "control": {"bind": bind},
        }
        path.write_text(yaml.safe_dump(tree))

    write("door", "yard")
    with place.run("run", str(path)) as run, Control(bind, timeout=PATIENCE_S) as control:
        when(lambda: set(states(control).values()) == {"running"}, "both")
        write("door", "gate")
        assert control.reload() == "added gate; removed yard"
        when(lambda: states(control) == {"door": "running", "gate": "running"}, "the gate")
        write("door", "gate", conf=0.6)
        with pytest.raises(SettingsError, match=r"detector\.conf: has changed"):
            control.reload()
        write("door", "gate")
        program = PROGRAM.replace("tcp://127.0.0.1:5556", bind).replace("rtsp://192.0.2.11/stream2", SCENE)
        shown = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert shown.stdout.splitlines()[0].startswith("[('door', 'running'), ('gate', 'running'), ('yard', '"), shown
        when(lambda: set(states(control)) == {"door", "gate"}, "the end of the program")
        run.process.terminate()
        assert run.finish(30)[0] == 143


def test_only_a_key_that_may_control_does(place: Place) -> None:
    for name in ("publisher", "viewer", "operator"):
        make_key_pair(place.folder / name)
    publish, bind = free_endpoint(), free_endpoint()
    more = settings(
        f"publish.bind={publish}", "publish.curve.secret_key_file=publisher.key", "publish.curve.allow=viewer.pub",
        f"control.bind={bind}", "control.allow=operator.pub",
    )  # fmt: skip

    def control(name: str, timeout: float) -> Control:
        own, theirs = place.folder / f"{name}.key", place.folder / "publisher.pub"
        return Control(bind, timeout=timeout, secret_key_file=own, server_key_file=theirs)

    with place.run("run", "--source", f"door={SCENE}", *MODELS, *more) as run:
        with control("operator", PATIENCE_S) as operator:
            assert list(states(operator)) == ["door"]
            for stranger in (control("viewer", 2), Control(bind, timeout=2)):
                with stranger, pytest.raises(ControlTimeoutError, match=r"does it need a key \(control\.allow\)"):
                    stranger.sources()
            assert operator.snapshot("door").image is not None
        run.process.terminate()
        _, _, errors = run.finish(30)
    assert "is not in control.allow" in errors
