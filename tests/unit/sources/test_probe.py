from __future__ import annotations

from pathlib import Path

import pytest
from support.clips import write_clip

from streamseg.errors import SourceError
from streamseg.sources import SourceSettings
from streamseg.sources.probe import lost_packets, probe_source


def test_a_live_source_is_read_for_so_many_seconds() -> None:
    found = probe_source(SourceSettings(url="synthetic:?size=64x64&fps=20"), 1.5)
    assert (found.figures.size, found.image.shape) == ((64, 64), (64, 64, 3))
    assert found.figures.fps == pytest.approx(20, rel=0.25)
    assert found.figures.jitter_ms is not None
    assert found.figures.read_share is not None and found.figures.read_share > 0
    assert (found.figures.codec, found.figures.lost_packets) == (None, None), "a scene has neither"


def test_a_file_has_a_codec_and_a_rate_and_no_jitter(tmp_path: Path) -> None:
    figures = probe_source(SourceSettings(url=str(write_clip(tmp_path / "a.mp4", frames=20, fps=25))), 5).figures
    assert (figures.size, figures.codec, figures.jitter_ms) == ((64, 48), "h264", None)
    assert figures.fps == pytest.approx(25)
    single = probe_source(SourceSettings(url=str(write_clip(tmp_path / "b.mp4", frames=1))), 5).figures
    assert (single.fps, single.read_share) == (None, None)


def test_a_source_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        probe_source(SourceSettings(url=str(tmp_path / "gone.mp4")), 1)


def test_lost_packets_are_those_in_the_log_of_ffmpeg() -> None:
    lines = ["RTP: missed 3 packets\n", "max delay reached. need to consume packet\n", "RTP: missed 12 packets"]
    assert (lost_packets(lines), lost_packets([])) == (15, 0)
