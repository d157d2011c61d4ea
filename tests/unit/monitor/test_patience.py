from __future__ import annotations

import sys

import pytest
from support.pipeline_runs import until

from streamseg.monitor.patience import Announced


def test_work_that_takes_longer_than_a_moment_is_named_once(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Announced("loading it", after_s=0.0) as announced:
        until(lambda: not announced.waiting, 10, "the line")
    assert capfd.readouterr().err == "loading it ...\n"


def test_a_log_has_no_line_that_depends_on_the_time(capfd: pytest.CaptureFixture[str]) -> None:
    with Announced("loading it", after_s=0.0) as announced:
        assert not announced._timer.is_alive()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("early", [False, True])
def test_work_that_is_done_before_is_not(
    early: bool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Announced("loading it", after_s=3600) as announced:
        if early:
            announced.done()
    assert not announced.waiting
    assert capfd.readouterr() == ("", "")
