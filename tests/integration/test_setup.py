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
        exit "$INDEX"
        ;;
    *)
        echo "$*" >>calls
        mkdir -p ".venv/lib/python3.11/site-packages/torch-$(sed -n 's/^torch==//p' constraints.txt)+cpu.dist-info"
        printf '  Downloading numpy\\nhalf a line'
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
    assert lines[0] == "setup: installing [run,demo] into .venv for Python 3.11.7"
    assert lines[1].startswith("setup: no NVIDIA GPU: PyTorch's CPU build. About 1.7 GB on disk, ")
    assert len(lines) == 3
    pair, rest = checkout.calls()
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert pair == f"{CPU_PAIR} torch=={pins['torch']}+cpu torchvision=={pins['torchvision']}+cpu"
    assert rest == f"{REST} .[run,demo]"
    assert (checkout.setup(), checkout.calls()) == ((0, []), [])

    status, lines = checkout.setup("--dev")
    assert (status, lines[1]) == (0, "setup: PyTorch is there already; the rest takes a few minutes at most")
    assert checkout.calls() == [f"{REST} .[run,demo,dev]"]
    assert (checkout.setup(), checkout.setup("--dev"), checkout.calls()) == ((0, []), (0, []), [])


def test_where_the_index_is_out_of_reach_it_takes_the_ordinary_build_and_says_so(checkout: Checkout) -> None:
    checkout.environment["INDEX"] = "1"
    status, lines = checkout.setup()
    assert (status, len(lines)) == (0, 4)
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
    assert checkout.calls() == [f"{REST} .[run,demo]"]


def test_a_failure_shows_the_log_and_the_next_run_tries_again(checkout: Checkout) -> None:
    checkout.environment["PIP"] = "1"
    status, lines = checkout.setup()
    assert status == 1
    assert lines[-4:] == [
        "Collecting torch",
        "  Downloading numpy",
        "half a line",
        "setup: pip failed, see above; .venv/setup.log has all of its output",
    ]
    checkout.calls()
    checkout.environment["PIP"] = "0"
    assert checkout.setup()[0] == 0
    assert checkout.calls() == [f"{REST} .[run,demo]"]


def test_an_unknown_option_is_refused(checkout: Checkout) -> None:
    assert checkout.setup("--dve") == (2, ["setup: unknown option --dve; expected --dev or nothing"])


def test_a_terminal_shows_one_line_of_progress(checkout: Checkout) -> None:
    master, slave = pty.openpty()
    subprocess.run([checkout.folder / "scripts" / "setup"], env=checkout.environment, stderr=slave, check=True)
    os.close(slave)
    shown = ""
    with suppress(OSError):  # Linux: the other end is closed, and all is read
        while piece := os.read(master, 65536):
            shown += piece.decode()
    os.close(master)
    assert re.search(r"\r\x1b\[Ksetup: \d+ s  Downloading numpy\r\x1b\[K", shown)
    assert shown.endswith("s\r\n") and shown.count("\r\n") == 3
