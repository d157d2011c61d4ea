"""`streamseg weights export`, and runs with existing and damaged exports."""

from __future__ import annotations

import importlib.util
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.leftovers import Place
from support.pipeline_runs import Run, read_records, until

WITHIN_S = 180
SMALL = ("--imgsz", "512")


def done(run: Run, status: int = 0) -> tuple[str, str]:
    """Wait for a run's end: standard output and standard error."""
    with run:
        code, output, errors = run.finish(WITHIN_S)
    assert code == status, errors
    return output, errors


@pytest.fixture
def weights(place: Place, mobile_sam: Path) -> Path:
    """A checkpoint under the name that the catalogue gives it, which is no file of the cache."""
    path = place.folder / "mobile_sam.pt"
    path.symlink_to(mobile_sam)
    return path


def test_an_export_is_made_once_listed_and_repaired_by_a_run(place: Place, weights: Path) -> None:
    """In one test, since each export takes ten seconds."""
    place.environment["COLUMNS"] = "400"
    command = ("weights", "export", "mobile_sam.pt", *SMALL)
    output, errors = done(place.run(*command, "--size", "640x360"))
    assert errors == "exporting mobile_sam.pt for 640x360\n"
    (folder,) = (place.folder / "cache" / "exports").iterdir()
    size = sum(file.stat().st_size for file in folder.glob("*.onnx")) / 1e6
    assert output == f"mobile_sam.pt for 640x360: exported to {folder} ({size:.1f} MB)\n"
    output, errors = done(place.run(*command, "--size", "1280x720", "--size", "1920x1080"))
    assert errors == ""
    assert output == "".join(
        f"mobile_sam.pt for {picture}: is in {folder} ({size:.1f} MB)\n" for picture in ("1280x720", "1920x1080")
    )
    assert f"\nexports of mobilesam: {size:.1f} MB\n" in done(place.run("weights", "list"))[0]
    (encoder,) = folder.glob("encoder-*.onnx")
    encoder.write_bytes(encoder.read_bytes()[:100_000])
    source = ("--source", "synthetic:?size=320x240&fps=30&frames=3", "--detector", "motion", "--jsonl", "out.jsonl")
    model = ("--segmenter", "mobilesam", *settings(weights=weights.name, backend="onnxruntime", imgsz=512))
    _, errors = done(place.run("run", *source, *model, "--set", "publish.bind=tcp://127.0.0.1:*"))
    assert any(item.mask is not None for record in read_records(place.folder / "out.jsonl") for item in record.objects)
    assert "models: motion + mobilesam (onnxruntime, fp32, " in errors
    damaged, exporting = [line for line in errors.splitlines() if not line.startswith(("publishing on ", "models: "))]
    assert f"{encoder} is damaged: " in damaged and damaged.endswith("; exporting it again")
    assert exporting == (
        "segment: exporting the networks for pictures of this shape, which takes some seconds and is kept"
    )


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (
            ("sam-vit-b",),
            2,
            "sam-vit-b runs without an export; expected mobilesam, or the path of a checkpoint for it",
        ),
        (("mobilesam", "yolox_nano.onnx"), 2, "yolox-nano runs without an export"),
        (("--imgsz", "640"), 2, "--imgsz 640 is not valid; expected one of 512, 768, 1024"),
        (("--size", "720p"), 2, "--size 720p is not valid; expected WIDTHxHEIGHT in pixels, such as 1280x720"),
        (("--size", "0x720"), 2, "--size 0x720 is not valid"),
        (("gone.pt",), 4, "gone.pt does not exist; expected a file of weights"),
        (("junk.pt",), 4, "junk.pt is not a PyTorch checkpoint"),
    ],
)
def test_an_impossible_export_is_one_line(
    place: Place, arguments: tuple[str, ...], status: int, complaint: str
) -> None:
    (place.folder / "junk.pt").write_bytes(b"junk")
    output, errors = done(place.run("weights", "export", *arguments), status)
    lines = [line for line in errors.splitlines() if not line.startswith("exporting ")]
    assert output == ""
    assert len(lines) == 1 and lines[0].startswith(f"streamseg: {complaint}")


def test_help_names_the_arguments(place: Place) -> None:
    output, _ = done(place.run("weights", "export", "--help"))
    assert "streamseg weights export --size 1280x720 --size 640x480" in output


def settings(**values: str | int) -> Iterator[str]:
    """Options that set keys below `segmenter`."""
    for key, value in values.items():
        yield from ("--set", f"segmenter.{key}={value}")


@pytest.mark.skipif(sys.platform != "linux", reason="which libraries a process has loaded is only known on Linux")
@pytest.mark.parametrize(("backend", "library"), [("onnxruntime", "onnxruntime"), ("openvino", "libopenvino")])
def test_no_stage_loads_torch_with_another_backend(
    place: Place, mobile_sam: Path, export_cache: Path, backend: str, library: str
) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    place.environment["STREAMSEG_CACHE"] = str(export_cache)
    records = place.folder / "out.jsonl"
    arguments = ("--source", "synthetic:?size=640x360&fps=10&frames=0", "--detector", "motion", "--jsonl", "out.jsonl")
    model = (
        "--segmenter",
        "mobilesam",
        *settings(weights=str(mobile_sam), backend=backend),
        "--set",
        "publish.bind=tcp://127.0.0.1:*",
    )
    with place.run("run", *arguments, *model) as run:
        until(lambda: records.exists() and b'"counts"' in records.read_bytes(), WITHIN_S, "a mask of MobileSAM")
        loaded = {name: mapped(stage) for name, stage in run.stages().items()}
        run.process.send_signal(signal.SIGTERM)
        status, output, errors = run.finish(WITHIN_S)
    assert status == 143
    assert set(loaded) == {"capture", "detect", "segment", "publish", "hub", "record"}
    assert any(library in path for path in loaded["segment"])
    assert [path for paths in loaded.values() for path in paths if "libtorch" in path] == []
    assert f"models: motion + mobilesam ({backend}, " in errors
    assert f"models: motion + mobilesam ({backend}, " in output


def mapped(process: psutil.Process) -> set[str]:
    """The files that a process has mapped into its memory."""
    return {line.split(None, 5)[-1] for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines()}
