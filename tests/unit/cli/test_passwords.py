"""A command prints no password that was in its arguments or its settings file."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.failing_command import fail

PASSWORD = "s3cret-w0rd"
LOGIN = f"user:{PASSWORD}@127.0.0.1:1/x"
SMALL = ("--detector", "motion", "--segmenter", "nano", "--set", "publish.bind=tcp://127.0.0.1:*")


@pytest.mark.parametrize("source", ["rtmp://", "udp://", "srt://", " rtsp://", "rtsp//", ""])
def test_a_source_that_cannot_be_read(
    source: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fail(monkeypatch, "run", "--source", f"{source}{LOGIN}", *SMALL) in (2, 3)
    printed = capfd.readouterr()
    assert "***@127.0.0.1" in printed.err and PASSWORD not in printed.err + printed.out


@pytest.mark.parametrize("source", ["http://", "https://", "rtsp://"])
def test_a_source_that_is_not_there(
    source: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fail(monkeypatch, "run", "--source", f"{source}{LOGIN}", *SMALL) == 3
    printed = capfd.readouterr()
    assert printed.err.startswith(f"streamseg: {source}127.0.0.1:1/x refused the connection")
    assert PASSWORD not in printed.err + printed.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", f"rtsp://{LOGIN}", "x.yaml"),
        (f"rtsp://{LOGIN}",),
        ("run", f"--rtsp://{LOGIN}"),
        ("run", "--max-frames", f"rtsp://{LOGIN}"),
        ("run", "--set", f"rtsp://{LOGIN}"),
        ("run", "--set", f"sources.0.url: rtsp://{LOGIN}"),
        ("run", "--set", f"sources.0.url=[rtsp://{LOGIN}"),
        ("run", "--set", f"sources.0.url=rtsp:{LOGIN}", *SMALL),
        ("run", "--set", f"sources.0.password=[{PASSWORD}"),
        ("run", "--source", "x.mp4", "--set", f"publish.connect=tcp://{LOGIN}"),
        ("run", "--source", "x.mp4", "--set", f"publish.bind=tcp://{LOGIN}"),
        ("run", "--source", "x.mp4", "--record", f"rtsp://{LOGIN}"),
        ("subscribe", f"tcp://{LOGIN}"),
        ("subscribe", f"rtsp://{LOGIN}", "--json"),
        ("annotate", f"http://{LOGIN}", "--output", "out"),
        ("check", f"rtsp://{LOGIN}"),
    ],
)
def test_other_arguments(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fail(monkeypatch, *arguments) in (2, 3)
    printed = capfd.readouterr()
    assert printed.err.startswith("streamseg: ") and PASSWORD not in printed.err + printed.out


@pytest.mark.parametrize(
    "text",
    [
        f"sources: [{{url: rtsp://{LOGIN}, password: {PASSWORD}}}\n",
        f"sources:\n  - url: 'rtsp://{LOGIN}\n",
        f"sources:\n  - url: rtsp://{LOGIN}\n   name: door\n",
        f"password: {PASSWORD}: {PASSWORD}\n",
        f"sources: *{PASSWORD}\n",
        f"sources: !{PASSWORD} x\n",
        f"sources: &{PASSWORD} x\n",
        f'sources: "\\x{PASSWORD}"\n',
        f"%{PASSWORD} x\n---\n",
        f"rtsp://{LOGIN}\n",
        f"rtsp://{LOGIN}: x\n",
        f"sources: [{{url: 'rtsp//{LOGIN}'}}]\n",
    ],
)
def test_a_settings_file_that_is_wrong(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    assert fail(monkeypatch, "run", str(path), *SMALL) in (2, 3)
    printed = capfd.readouterr()
    assert printed.err.startswith("streamseg: ") and PASSWORD not in printed.err + printed.out
    assert len(printed.err.splitlines()) == 1
