"""README and docs match the package: their programs run, their tables list what the code has, their links resolve."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import yaml
from support.clips import write_clip
from support.pipeline_runs import Run, free_endpoint
from support.pushed import ReadSource

from streamseg import errors
from streamseg.cli import app
from streamseg.client import Subscriber
from streamseg.config import Config, CurveSettings, RunSource
from streamseg.config_file import load_config, parse_override
from streamseg.images import read_image
from streamseg.models.catalogue import CATALOGUE
from streamseg.models.options import FixedBox
from streamseg.sam.info import parameter_table

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
}
README, MODELS = PAGES["README.md"], PAGES["docs/models.md"]
PLUGINS = "docs/plugins.md"
DEADLINE_S = 60.0


def blocks(language: str, page: str = README) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def shell() -> str:
    """The commands of every page but the guide to plug-ins, which has a test of its own."""
    return "\n".join(block for name, page in PAGES.items() if name != PLUGINS for block in blocks("sh", page))


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its first two rows."""
    section = PAGES[page].split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[2:]]


def settings(struct: type[msgspec.Struct], prefix: str) -> Iterator[tuple[str, str]]:
    """Every key below a struct with its default, as the table writes them."""
    for field in msgspec.structs.fields(struct):
        if field.name == "sources":
            yield from settings(RunSource, "sources.0.")
        elif isinstance(field.default, msgspec.Struct):
            yield from settings(type(field.default), f"{prefix}{field.name}.")
        else:
            yield f"`{prefix}{field.name}`", written(field.default)


def written(default: object) -> str:
    if default is msgspec.NODEFAULT:
        return "required"
    if default is None:
        return "–"  # noqa: RUF001 - the dash of the table
    if isinstance(default, str):
        return f"`{default}`"
    return f"`{msgspec.json.encode(default).decode().removesuffix('.0')}`"


def test_settings_match_the_code() -> None:
    assert [(row[0], row[1]) for row in table("docs/settings.md", "Keys")] == list(settings(Config, ""))


@pytest.mark.parametrize(("key", "struct"), [("detector.boxes", FixedBox), ("publish.curve", CurveSettings)])
def test_nested_keys_are_listed(key: str, struct: type[msgspec.Struct]) -> None:
    (row,) = (row for row in table("docs/settings.md", "Keys") if row[0] == f"`{key}`")
    within = row[2].partition("{")[2].partition("}")[0]
    assert re.findall(r"(\w+):", within) == [field.name for field in msgspec.structs.fields(struct)]


def test_exit_codes_match_the_errors() -> None:
    known = {0, 128 + signal.SIGINT, 128 + signal.SIGTERM}
    branches: list[type[errors.StreamsegError]] = [errors.StreamsegError]
    while branches:
        branch = branches.pop()
        known.add(branch.exit_code)
        branches.extend(branch.__subclasses__())
    assert {int(code) for row in table("docs/commands.md", "Exit codes") for code in row[0].split(",")} == known


def test_the_pages_name_every_command_and_no_other() -> None:
    commands = {command.callback.__name__ for command in app.registered_commands if command.callback is not None}
    groups = {str(group.name) for group in app.registered_groups}
    prose = re.sub(r"```.*?```", "", "\n".join(PAGES.values()), flags=re.DOTALL)
    named = {*re.findall(r"^streamseg ([a-z]+)", shell(), re.MULTILINE), *re.findall(r"`streamseg\s([a-z]+)", prose)}
    assert named == commands | groups
    (rows,) = [" ".join(row[0] for row in table("docs/commands.md", "Commands"))]
    assert set(re.findall(r"`streamseg ([a-z]+)`", rows)) == commands | groups


def test_settings_in_commands_are_valid() -> None:
    assignments = re.findall(r"--set (\S+\.\S+=\S+)", shell())
    assert len(assignments) > 2
    assert (
        load_config(None, [("sources.0.url", "push:"), *map(parse_override, assignments)], {}).sources[0].password_file
        == "camera.password"
    )


def test_weights_are_listed_with_their_sizes() -> None:
    rows = "\n".join(" ".join(row) for row in table("docs/models.md", "Weights"))
    for entry in CATALOGUE:
        assert f"`{entry.name}`" in rows
        if entry.size is not None:
            assert f"`{entry.filename}`, {entry.size / 1e6:.1f} MB" in rows
        else:
            assert f"`{entry.filename}`" in rows
    assert "0.1.1rc0" in rows
    assert all("/0.1.1rc0/" in entry.url for entry in CATALOGUE if entry.name.startswith("yolox"))


def anchors(page: str) -> set[str]:
    return {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^##+ (.+)$", page, re.MULTILINE)
    }


@pytest.mark.parametrize("name", PAGES)
def test_every_link_into_the_project_resolves(name: str) -> None:
    prose = re.sub(r"```.*?```", "", PAGES[name], flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)]+)\)", prose):
        if not link.startswith("http"):
            path, _, anchor = link.partition("#")
            target = (ROOT / name).parent / path if path else ROOT / name
            assert target.is_file(), link
            assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_every_script_in_the_commands_exists() -> None:
    scripts = set(re.findall(r"^\./(scripts/\w+)", shell(), re.MULTILINE))
    assert {"scripts/demo", "scripts/test"} <= scripts
    assert all((ROOT / script).stat().st_mode & 0o111 for script in scripts)


def test_the_readme_is_a_landing_page() -> None:
    assert len(README.splitlines()) <= 150
    assert (ROOT / "docs" / "masks.webp").stat().st_size <= 1_000_000


def test_subscriber_program_receives_a_running_pipeline(tmp_path: Path) -> None:
    program = blocks("python")[0]
    assert len(program.splitlines()) <= 10
    endpoint = free_endpoint()
    assert program.count("tcp://127.0.0.1:5555") == 1
    script = tmp_path / "subscriber.py"
    script.write_text(program.replace("tcp://127.0.0.1:5555", endpoint), encoding="utf-8")
    source = ("--source", "synthetic:?size=320x240", "--detector", "motion", "--segmenter", "nano")
    with Run("run", *source, "--set", f"publish.bind={endpoint}") as pipeline:
        with Subscriber(endpoint, timeout=DEADLINE_S) as started:
            assert next(iter(started)).source == "main"
        with subprocess.Popen(
            [sys.executable, "-u", str(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as subscriber:
            killer = threading.Timer(DEADLINE_S, subscriber.kill)
            killer.start()
            lines = []
            assert subscriber.stdout is not None
            for line in subscriber.stdout:
                lines.append(line.rstrip())
                if len(lines) == 100:
                    pipeline.process.send_signal(signal.SIGINT)
            killer.cancel()
        assert subscriber.returncode == 0, lines
        assert pipeline.finish(DEADLINE_S)[0] == 130
    frames = [
        re.fullmatch(r"frame (\d+): \d+ objects, \d+ frames missed", line) for line in lines if line.startswith("frame")
    ]
    numbers = [int(match[1]) for match in frames if match]
    assert len(numbers) == len(frames) > 10
    assert numbers == sorted(set(numbers))
    masks = [line for line in lines if not line.startswith("frame")]
    assert masks
    assert all(re.fullmatch(r"  moving #(\d+|None): \d+ pixels from \(\d+, \d+\), \d+ ms old", line) for line in masks)


def test_pipeline_program_yields_every_frame(tmp_path: Path) -> None:
    program = blocks("python")[1]
    write_clip(tmp_path / "clip.mp4", frames=30, width=160, height=120)
    script = tmp_path / "script.py"
    script.write_text(
        program.replace('"sources"', f'"publish": {{"bind": "{free_endpoint()}"}}, "sources"'), encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert [int(number) for number, _ in lines] == list(range(30))
    assert all(set(yaml.safe_load(names)) <= {"moving"} for _, names in lines)
    assert read_image(tmp_path / "newest.jpg").shape == (120, 160, 3)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, seeded_weights: Path) -> Path:
    """A folder with the files that the programs open: a checkpoint, a picture, and a folder of pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "mobile_sam.pt").symlink_to(seeded_weights)
    (folder / "photos").mkdir()
    for name in ("dog.jpg", "photos/one.jpg", "photos/two.jpg"):
        assert cv2.imwrite(
            str(folder / name), np.random.default_rng(len(name)).integers(0, 255, (576, 768, 3), np.uint8)
        )
    return folder


def run_program(program: str, folder: Path) -> list[str]:
    """Run a program in this process, which has loaded PyTorch already; return the lines that it prints."""
    (folder / "program.py").write_text(program, encoding="utf-8")
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as output:
        runpy.run_path("program.py", run_name="__main__")
    return output.getvalue().splitlines()


def test_sam_program(pictures: Path) -> None:
    (line,) = run_program(blocks("python")[2], pictures)
    assert re.fullmatch(r"\(2, 576, 768\) \[.+ .+\]", line)
    assert read_image(pictures / "masks.jpg").shape == (576, 768, 3)


def test_sam_predictor_program(pictures: Path) -> None:
    (line,) = run_program(blocks("python", PAGES["docs/pictures.md"])[0], pictures)
    assert re.fullmatch(r"\(3, 576, 768\) \[.+ .+ .+\]", line)


def test_auto_annotate_program(pictures: Path) -> None:
    assert run_program(blocks("python", PAGES["docs/datasets.md"])[0], pictures) == []
    assert sorted(path.name for path in (pictures / "labels").iterdir()) == ["one.txt", "two.txt"]


def test_program_that_sends_frames(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as private:  # the folder of sockets; short, as it is part of their paths
        monkeypatch.setattr(tempfile, "tempdir", private)
        with ReadSource(RunSource(url="push:", name="robot")) as source:
            (line,) = run_program(blocks("python", PAGES["docs/sources.md"])[0], tmp_path)
            frames = source.frames
    assert line == f"{len(frames)} frames taken, {90 - len(frames)} dropped"
    assert len(frames) > 10
    assert (frames[-1].image.shape, frames[-1].image.max()) == ((480, 640, 3), 89)


def test_parameter_counts_match_the_code() -> None:
    rows = re.findall(r"^\| `(\S+)` \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|(.*)\|$", MODELS, re.MULTILINE)
    listed = [
        (name, *(int(count.replace(",", "")) for count in counts), published.strip())
        for name, *counts, published in rows
    ]
    assert listed == [
        (
            info.architecture,
            info.encoder,
            info.prompt_encoder + info.decoder,
            info.total,
            "" if (of := info.published) is None else f"{of.encoder}, {of.decoder}, {of.total}",
        )
        for info in parameter_table()
    ]


def test_every_python_block_has_a_test() -> None:
    pages = {name: len(blocks("python", page)) for name, page in PAGES.items() if name != PLUGINS}
    assert {name: count for name, count in pages.items() if count} == {
        "README.md": 3,
        "docs/datasets.md": 1,
        "docs/pictures.md": 1,
        "docs/subscribe.md": 1,  # in test_control.py
        "docs/sources.md": 1,
    }
