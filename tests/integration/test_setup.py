"""`scripts/setup`, with a Python whose `venv` and `pip` only note what they would do."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from support.wheel import ROOT

PYTHON = f"""#!/usr/bin/env bash
case "$*" in
    "-c "*) exec {sys.executable} "$@" ;;
    -V*) echo "Python 3.11.7" ;;
    "-m venv --clear .venv")
        mkdir -p .venv/bin
        cp "$0" .venv/bin/python
        echo "#!$PWD/.venv/bin/python" >.venv/bin/pip
        ;;
    *--index-url*)
        echo "$*" >>calls
        echo "Collecting torch"
        [ "$INDEX" = 0 ] && echo "Downloading torch-2.whl (190.4 MB)"
        exit "$INDEX"
        ;;
    *)
        echo "$*" >>calls
        mkdir -p ".venv/lib/python3.11/site-packages/torch-$(sed -n 's/^torch==//p' constraints.txt)+cpu.dist-info"
        printf '  Downloading numpy-2.whl (16.5 MB)\\nhalf a line'
        sleep "$SLOW"
        exit "$PIP"
        ;;
esac
"""
CPU_PAIR = "-m pip install --disable-pip-version-check --retries 1 --timeout 15 --no-deps --index-url http://mirror/cpu"
REST = "-m pip install --disable-pip-version-check -c constraints.txt -e"


class Checkout:
    """A folder with what the script reads, and a machine with a GPU or without."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scripts").mkdir()
        for name in ("scripts/setup", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, folder / name)
        (folder / "bin").mkdir()
        self.program("python3", PYTHON)
        self.program("nvidia-smi", "#!/bin/sh\nexit 9\n")
        self.environment = {
            **os.environ,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "CI": "",
            "STREAMSEG_TORCH_INDEX": "http://mirror/cpu",
            "INDEX": "0",
            "PIP": "0",
            "SLOW": "0",
        }

    def program(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def setup(self, *arguments: str) -> tuple[int, list[str]]:
        """The exit code and the lines of standard error."""
        done = subprocess.run(
            [self.folder / "scripts" / "setup", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout == ""
        return done.returncode, done.stderr.splitlines()

    def calls(self) -> list[str]:
        """What pip was called with since the last time."""
        path = self.folder / "calls"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_without_a_gpu_it_takes_the_cpu_build_and_developer_tools_only_on_request(checkout: Checkout) -> None:
    status, lines = checkout.setup()
    assert status == 0
    assert lines[0].startswith("setup: installing [demo,run] into .venv for Python 3.11.7; Ctrl-C stops, ")
    assert lines[1] == "setup: no NVIDIA GPU: looking for PyTorch's CPU build at http://mirror/cpu"
    assert lines[2].startswith("setup: found it: about 1.7 GB on disk, ")
    assert len(lines) == 4
    pair, rest = checkout.calls()
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert pair == f"{CPU_PAIR} torch=={pins['torch']}+cpu torchvision=={pins['torchvision']}+cpu"
    assert rest == f"{REST} .[demo,run]"
    assert (checkout.setup(), checkout.calls()) == ((0, []), [])

    status, lines = checkout.setup("--dev")
    assert (status, lines[1]) == (0, "setup: PyTorch is there already; the rest takes a few minutes at most")
    assert checkout.calls() == [f"{REST} .[demo,run,dev]"]
    assert (checkout.setup(), checkout.setup("--dev"), checkout.calls()) == ((0, []), (0, []), [])


def test_where_the_index_is_out_of_reach_it_takes_the_ordinary_build_and_says_so(checkout: Checkout) -> None:
    checkout.environment["INDEX"] = "1"
    status, lines = checkout.setup()
    assert (status, len(lines)) == (0, 5)
    assert not [line for line in lines if "1.7 GB" in line]
    assert lines[3].endswith(f"press Ctrl-C and run STREAMSEG_TORCH_INDEX=URL {checkout.folder}/scripts/setup")
    assert lines[2] == (
        "setup: the index http://mirror/cpu does not give that build, so this takes the ordinary one:"
        " 6.5 GB on disk, 4.8 of them for CUDA, 3.3 GB of downloads; 5 to 15 minutes"
    )
    assert len(checkout.calls()) == 2


def test_with_a_gpu_it_takes_the_build_with_cuda(checkout: Checkout) -> None:
    checkout.program("nvidia-smi", "#!/bin/sh\necho GPU 0\n")
    status, lines = checkout.setup()
    assert (status, len(lines)) == (0, 3)
    assert lines[1].startswith("setup: for this machine's NVIDIA GPU: 6.5 GB on disk, ")
    assert checkout.calls() == [f"{REST} .[demo,run]"]


def test_a_failure_shows_the_log_and_the_next_run_tries_again(checkout: Checkout) -> None:
    checkout.environment["PIP"] = "1"
    status, lines = checkout.setup()
    assert status == 1
    assert lines[-5:] == [
        "Collecting torch",
        "Downloading torch-2.whl (190.4 MB)",
        "  Downloading numpy-2.whl (16.5 MB)",
        "half a line",
        "setup: pip failed, see above; .venv/setup.log has all of its output",
    ]
    checkout.calls()
    checkout.environment["PIP"] = "0"
    assert checkout.setup()[0] == 0
    assert checkout.calls() == [f"{REST} .[demo,run]"]


def test_an_unknown_option_is_refused(checkout: Checkout) -> None:
    assert checkout.setup("--dve") == (2, ["setup: unknown option --dve; expected --demo, --dev or nothing"])


def test_a_terminal_shows_one_line_of_progress(checkout: Checkout) -> None:
    master, slave = pty.openpty()
    subprocess.run([checkout.folder / "scripts" / "setup"], env=checkout.environment, stderr=slave, check=True)
    os.close(slave)
    shown = ""
    with suppress(OSError):  # Linux: the other end is closed, and all is read
        while piece := os.read(master, 65536):
            shown += piece.decode()
    os.close(master)
    assert re.search(r"\r\x1b\[Ksetup: \d+ s  Downloading numpy-2.whl \(16.5 MB\)\r\x1b\[K", shown)
    assert shown.endswith("s\r\n") and shown.count("\r\n") == 4


def test_the_demo_needs_no_pytorch(checkout: Checkout) -> None:
    status, lines = checkout.setup("--demo")
    assert (status, len(lines)) == (0, 3)
    assert lines[1].startswith("setup: without PyTorch: about 0.8 GB on disk, ")
    assert checkout.calls() == [f"{REST} .[demo]"]
    assert checkout.setup()[0] == 0
    assert checkout.calls()[-1] == f"{REST} .[demo,run]"
    assert (checkout.setup("--demo"), checkout.calls()) == ((0, []), [])


def test_without_a_terminal_a_line_now_and_then_says_how_far_it_is(checkout: Checkout) -> None:
    script = checkout.folder / "scripts" / "setup"
    script.write_text(script.read_text(encoding="utf-8").replace("patience_s=30", "patience_s=1"), encoding="utf-8")
    checkout.environment["SLOW"] = "4"
    status, lines = checkout.setup("--demo")
    assert status == 0
    assert re.fullmatch(
        r"setup: 0 min, 16 MB downloaded or on their way, \d+ MB in \.venv: Downloading numpy-2\.whl \(16\.5 MB\)",
        lines[2],
    )
