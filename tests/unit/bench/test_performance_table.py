from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from support.bench_samples import sample_figures

_SCRIPT = Path(__file__).parents[3] / "scripts" / "benchmarks" / "performance_table.py"
_BEGIN, _END = "<!-- performance: written by scripts/performance_table.py -->", "<!-- end of performance -->"


@pytest.fixture
def rewrite(tmp_path: Path) -> Callable[[Path], None]:
    """The script, with figures."""
    path = tmp_path / "figures.json"
    path.write_bytes(msgspec.json.encode(sample_figures()))
    spec = importlib.util.spec_from_file_location("performance_table", _SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return lambda readme: script.main(path, readme)


def test_only_what_is_between_the_markers_changes_and_only_once(
    rewrite: Callable[[Path], None], tmp_path: Path
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n\n{_BEGIN}\nold\n{_END}\n\nThe rest.\n", "utf-8")
    rewrite(readme)
    text = readme.read_text("utf-8")
    assert text.startswith(f"# Title\n\n{_BEGIN}\n| milliseconds, 1280") and text.endswith(f"{_END}\n\nThe rest.\n")
    assert "old" not in text
    plain = text.replace("\N{MULTIPLICATION SIGN}", "x").replace("\N{EN DASH}", "-")
    assert "| encoder, square input | 1,500 | - | 375 | 4.0x | 375 | 4.0x |" in plain
    assert "| frame with 5 boxes | 2,000 | 3,600 | 400 | 5.0x, 9.0x | 400 | 5.0x, 9.0x |" in plain
    assert (
        "2026-01-31, AMD EPYC (avx512_bf16), 2 cores, 25 GB" in text
        and "fastsam-s 900 ms" in text
        and "sam-vit-h" not in text
    )
    assert "Left to itself, Ultralytics uses 1 of 2 threads: 4,000 ms a frame, 10.0x." in plain
    rewrite(readme)
    assert readme.read_text("utf-8") == text


@pytest.mark.parametrize("text", ["no markers", _BEGIN, f"{_END}\n{_BEGIN}", f"{_BEGIN}\n{_BEGIN}\n{_END}"])
def test_without_markers_nothing_is_written(rewrite: Callable[[Path], None], tmp_path: Path, text: str) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text, "utf-8")
    with pytest.raises(ValueError, match="expected one line"):
        rewrite(readme)
    assert readme.read_text("utf-8") == text
