"""The other implementations, in a virtual environment of their own in the cache.

Ultralytics is licensed under the AGPL: it runs as another program, and nothing imports it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from types import MappingProxyType
from typing import Final

from filelock import FileLock

from benchmarks.measure import Report
from streamseg.errors import StreamsegError
from streamseg.models.weights import weights_directory

PACKAGES: Final = MappingProxyType({"mobilesam-mirror": "1.0.0", "ultralytics": "8.4.190"})
"""The first is the original code of MobileSAM, packaged by others without a change."""
_PINNED = [f"{name}=={version}" for name, version in PACKAGES.items()]
_SHARED = ("torch", "torchvision", "timm", "numpy", "cv2", "PIL", "yaml", "requests", "matplotlib")
"""Modules used from this environment: no second PyTorch is installed, and all programs compute with the same one."""
_STAMP = "complete"


class RivalError(StreamsegError):
    """The other implementations could not be installed."""


def rival_python(report: Report, index: str | None = None) -> Path:
    """Return the Python of the environment; install it on first use. Safe in several processes at once.

    Args:
        report: Receives a line before the installation.
        index: Address of the package index; None for pip's own.

    Raises:
        RivalError: The environment cannot be made, for example without a network.
    """
    shared = _shared_folders()
    key = hashlib.sha256("\n".join((sys.version, *_PINNED, *shared)).encode()).hexdigest()[:12]
    folder = weights_directory() / f"rivals-{key}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not (folder / _STAMP).is_file():
                report(f"installing {' and '.join(_PINNED)} into {folder}")
                shutil.rmtree(folder, ignore_errors=True)
                _install(folder, shared, index)
                (folder / _STAMP).touch()
    except OSError as error:
        place, reason = error.filename or folder, error.strerror or error
        raise RivalError(f"{place} cannot be written: {reason}; make room, or set STREAMSEG_CACHE") from error
    return folder / "bin" / "python"


def rival_environment(folder: Path) -> dict[str, str]:
    """Return variables that keep the programs off the network, and their files in a folder."""
    return {
        "YOLO_OFFLINE": "1",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_CONFIG_DIR": str(folder),
        "MPLCONFIGDIR": str(folder),
    }


def _shared_folders() -> list[str]:
    """List the folders that hold the shared modules."""
    specs = (importlib.util.find_spec(module) for module in _SHARED)
    origins = [spec.origin for spec in specs if spec is not None and spec.origin is not None]
    return list(dict.fromkeys(str(Path(origin).parents[1]) for origin in origins))


def _install(folder: Path, shared: list[str], index: str | None) -> None:
    try:
        venv.create(folder, with_pip=True)
    except subprocess.CalledProcessError as error:
        raise RivalError(f"no virtual environment can be made in {folder}; install Python's venv") from error
    # Without dependencies: the rest is shared, or not needed to predict.
    options = ("--quiet", "--no-input", "--disable-pip-version-check", "--no-deps", "--retries=1", "--timeout=15")
    from_index = () if index is None else ("--index-url", index)
    command = [folder / "bin" / "python", "-m", "pip", "install", *options, *from_index, *_PINNED]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = errors[-1] if errors else f"exit status {done.returncode}"
        raise RivalError(f"pip could not install {' and '.join(_PINNED)}: {reason}")
    base = dict.fromkeys(("base", "platbase", "installed_base", "installed_platbase"), str(folder))
    site_packages = Path(sysconfig.get_path("purelib", "venv", base))
    (site_packages / "shared.pth").write_text("\n".join(shared) + "\n", encoding="utf-8")
