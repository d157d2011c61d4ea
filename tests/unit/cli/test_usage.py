"""Wrong arguments: one line that says where the right ones are listed."""

from __future__ import annotations

import pytest
from support.failing_command import fail


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("segment", "dog.jpg"), "Missing option '--output'; see streamseg segment --help"),
        (("run", "--zz"), "No such option: --zz; see streamseg run --help"),
        (("weights", "fetch"), "Missing argument 'names'; see streamseg weights fetch --help"),
        (("weights", "bogus"), "No such command 'bogus'; see streamseg weights --help"),
        (("bogus",), "No such command 'bogus'; see streamseg --help"),
        (("--zz",), "No such option: --zz; see streamseg --help"),
        (("init",), "no example is named; expected one of cameras, demo, file, rtsp, webcam"),
        (("init", "bogus"), "'bogus' is not an example; expected one of cameras, demo, file, rtsp, webcam"),
    ],
)
def test_the_line_names_the_help_of_the_command(
    arguments: tuple[str, ...], line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fail(monkeypatch, *arguments) == 2
    assert capfd.readouterr().err == f"streamseg: {line}\n"
