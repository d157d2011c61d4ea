from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamseg import Pipeline
from streamseg.errors import SettingsError


def test_settings_may_be_a_dictionary_or_the_path_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = {"sources": [{"url": "synthetic:?frames=${FRAMES}"}], "detector": {"model": "motion"}}
    tree |= {"segmenter": {"model": "nano"}, "publish": {"bind": "tcp://127.0.0.1:*"}}
    with pytest.raises(SettingsError, match=r"detector\.modle: unknown key"):
        Pipeline(tree | {"detector": {"modle": "motion"}})
    file = tmp_path / "settings.yaml"
    file.write_text(json.dumps(tree))
    monkeypatch.setenv("FRAMES", "3")
    for settings in (file, str(file), json.loads(file.read_text().replace("${FRAMES}", "3"))):
        assert Pipeline(settings).plan.config.source.url == "synthetic:?frames=3"
