"""The wheel: what it holds, and what it does outside the checkout, in environments with only what it requires."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.pipeline_runs import Run, free_endpoint
from support.wheel import ROOT, Installation

EXAMPLES = tuple(sorted(path.stem for path in (ROOT / "configs").glob("*.yaml")))
LIGHT_BYTES = 110_000_000
READER = """
import sys
from streamseg import Subscriber
from streamseg.errors import MissingPackageError
with Subscriber(sys.argv[1], view="clean", timeout=100) as subscriber:
    result = next(result for result in subscriber if any(item.mask for item in result.objects))
assert [120, 160] in [found["segmentation"]["size"] for found in result.to_coco() if "segmentation" in found]
assert any(result.to_polygons())
for convert in (result.to_detections, result.plot):
    try:
        convert()
    except MissingPackageError as error:
        print(error)
"""


def files_in(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_it_holds_the_package_and_the_examples_and_nothing_else(wheel: Path) -> None:
    package = {f"streamseg/{name}" for name in files_in(ROOT / "streamseg")}
    examples = {f"streamseg/configs/{name}" for name in files_in(ROOT / "configs")}
    assert {"streamseg/py.typed", "streamseg/wire/SPEC.md"} <= package
    assert EXAMPLES == ("cameras", "demo", "file", "rtsp", "webcam")
    assert {name for name in files_in(wheel) if ".dist-info/" not in name} == package | examples


def test_its_description_is_the_readme_and_the_licence_travels(wheel: Path) -> None:
    (information,) = wheel.glob("*.dist-info")
    assert (
        (information / "METADATA")
        .read_text(encoding="utf-8")
        .endswith((ROOT / "README.md").read_text(encoding="utf-8"))
    )
    assert (information / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_it_is_the_installed_package_that_runs(whole: Installation, wheel: Path, tmp_path: Path) -> None:
    found = whole.run("-c", "import streamseg; print(streamseg.__file__)", folder=tmp_path)
    assert Path(found.stdout.strip()).resolve() == wheel / "streamseg" / "__init__.py"


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_written_and_valid(whole: Installation, tmp_path: Path, name: str) -> None:
    written = whole.run("-m", "streamseg.cli", "init", name, folder=tmp_path)
    assert (written.returncode, written.stderr) == (0, "")
    assert (tmp_path / f"{name}.yaml").read_bytes() == (ROOT / "configs" / f"{name}.yaml").read_bytes()
    (tmp_path / "clip.mp4").touch()  # the source of one of them, which must be there
    checked = whole.run("-m", "streamseg.cli", "check", f"{name}.yaml", folder=tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.startswith(f"{name}.yaml: valid")


def test_an_unknown_example_names_the_known_ones(light: Installation, tmp_path: Path) -> None:
    refused = light.run("-m", "streamseg.cli", "init", "printer", folder=tmp_path)
    assert refused.returncode == 2
    assert (
        refused.stderr == "streamseg: 'printer' is not an example; expected one of cameras, demo, file, rtsp, webcam\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_light_installation_subscribes_to_a_run(whole: Installation, light: Installation, tmp_path: Path) -> None:
    endpoint = free_endpoint()
    scene = ("--source", "synthetic:?size=160x120&fps=30&frames=0", "--detector", "motion", "--segmenter", "nano")
    no_path = {"PYTHONPATH": ""}
    with (
        Run(
            "run", *scene, "--set", f"publish.bind={endpoint}", cwd=tmp_path, environment=no_path, python=whole.python
        ) as run,
        Run("subscribe", endpoint, cwd=tmp_path, environment=no_path, python=light.python) as printed,
    ):
        read = light.run("-c", READER, endpoint, folder=tmp_path)
        loaded = {Path(mapped.path).name for stage in run.stages().values() for mapped in stage.memory_maps()}
        assert printed.process.stdout is not None
        assert printed.process.stdout.readline().startswith("main ")
    assert not any("torch" in name for name in loaded)
    assert (read.returncode, read.stderr) == (0, "")
    assert read.stdout.splitlines() == [
        "supervision.Detections needs the package supervision, which is not installed; pip install 'streamseg[run]'",
        "decoding a picture needs the package cv2, which is not installed; pip install 'streamseg[run]'",
    ]


def test_without_pytorch_a_run_takes_nano_and_says_so(small: Installation, tmp_path: Path) -> None:
    run = ("-m", "streamseg.cli", "run", "--source", "synthetic:?size=160x120&frames=3", "--detector", "motion")
    bind = ("--set", "publish.bind=tcp://127.0.0.1:*")
    done = small.run(*run, *bind, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    missing = "mobilesam needs the package torch, which is not installed; pip install 'streamseg[run]'"
    assert f"using nano: {missing}" in done.stderr.splitlines()
    refused = small.run(*run, *bind, "--segmenter", "mobilesam", folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.splitlines()[-1] == f"streamseg: {missing}"


def test_doctor_of_a_light_installation_says_what_it_is(light: Installation, tmp_path: Path) -> None:
    diagnosed = light.run("-m", "streamseg.cli", "doctor", folder=tmp_path)
    assert (diagnosed.returncode, diagnosed.stderr) == (2, "")
    (line,) = diagnosed.stdout.splitlines()
    assert line.startswith("needed   installation: the light client: ")
    assert line.endswith("; pip install 'streamseg[run]' adds the pipeline")


def test_doctor_without_pytorch_names_no_backend_of_mobilesam(small: Installation, tmp_path: Path) -> None:
    diagnosed = small.run("-m", "streamseg.cli", "doctor", "tcp://127.0.0.1:*", folder=tmp_path)
    assert (diagnosed.returncode, diagnosed.stderr) == (0, "")
    (line,) = [line for line in diagnosed.stdout.splitlines() if " backends: " in line]
    assert line.startswith("missing  backends: MobileSAM needs the package torch, ")


def test_a_light_installation_is_small(light: Installation) -> None:
    assert light.size() < LIGHT_BYTES


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("-m", "streamseg.cli", "run", "--source", "synthetic:"), "run"),
        (("-m", "streamseg.cli", "demo"), "demo"),
        (("-m", "streamseg.cli", "train", "nano", "--data", "x", "--images", "y", "--output", "z"), "train"),
        (("-c", "from streamseg import Pipeline"), "run"),
    ],
)
def test_a_light_installation_says_which_extra_is_missing(
    light: Installation, tmp_path: Path, command: tuple[str, ...], extra: str
) -> None:
    refused = light.run(*command, folder=tmp_path)
    last = refused.stderr.splitlines()[-1]
    assert last.startswith(("streamseg: ", "streamseg.errors.MissingPackageError: "))
    assert last.endswith(f", which is not installed; pip install 'streamseg[{extra}]'")
    if command[0] == "-m":
        assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)


def test_version(light: Installation, wheel: Path, tmp_path: Path) -> None:
    (information,) = wheel.glob("*.dist-info")
    version = information.name.removesuffix(".dist-info").removeprefix("streamseg-")
    printed = light.run("-m", "streamseg.cli", "--version", folder=tmp_path)
    assert (printed.returncode, printed.stdout, printed.stderr) == (0, f"streamseg {version}\n", "")
