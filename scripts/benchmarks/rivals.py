"""The other implementations, in a virtual environment of their own in the cache, which only the benchmark uses.

Ultralytics is licensed under the AGPL: it is run there as another program, and nothing here imports it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from filelock import FileLock

from streamseg.errors import StreamsegError
from streamseg.models.weights import weights_directory

PACKAGES: Final = MappingProxyType({"mobilesam-mirror": "1.0.0", "ultralytics": "8.4.190"})
"""What is installed. The first is the original code of MobileSAM, packaged by others without a change."""
SCRIPT: Final = Path(__file__).with_name("rival_process.py")

_SHARED = ("torch", "torchvision", "timm", "numpy", "cv2", "PIL", "yaml", "requests", "matplotlib")
"""What they use of the environment that this runs in: nobody waits for a second PyTorch, and all compute with the same one."""
_STAMP = "complete"


class RivalError(StreamsegError):
    """An implementation to compare with could not be installed."""


def have_rivals(progress: Callable[[str], None], index: str | None = None) -> Path:
    """Make the environment, or find the one that was made before. Safe in several processes at once.

    Args:
        progress: Is told what takes time.
        index: Address of the package index; None takes pip's own.

    Returns:
        The environment's Python.

    Raises:
        RivalError: It cannot be made, for example without a network.
    """
    shared = _shared_folders()
    key = hashlib.sha256("\n".join((sys.version, *_pinned(), *shared)).encode()).hexdigest()[:12]
    folder = weights_directory() / f"rivals-{key}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not (folder / _STAMP).is_file():
                progress(f"installing {' and '.join(_pinned())} into {folder}")
                shutil.rmtree(folder, ignore_errors=True)
                _install(folder, shared, index)
                (folder / _STAMP).touch()
    except OSError as error:
        reason = error.strerror or error
        raise RivalError(
            f"{error.filename or folder} cannot be written: {reason}; make room, or set STREAMSEG_CACHE"
        ) from error
    return _python(folder)


def environment(folder: Path) -> Mapping[str, str]:
    """What keeps them off the network and out of the user's folders.

    Args:
        folder: Where they may write.
    """
    return {
        "YOLO_OFFLINE": "1",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_CONFIG_DIR": str(folder),
        "MPLCONFIGDIR": str(folder),
    }


def _pinned() -> list[str]:
    return [f"{name}=={version}" for name, version in PACKAGES.items()]


def _shared_folders() -> list[str]:
    """The folders that hold the shared packages."""
    specs = (importlib.util.find_spec(module) for module in _SHARED)
    return list(
        dict.fromkeys(
            str(Path(spec.origin).parents[1]) for spec in specs if spec is not None and spec.origin is not None
        )
    )


def _install(folder: Path, shared: list[str], index: str | None) -> None:
    try:
        venv.create(folder, with_pip=True)
    except subprocess.CalledProcessError as error:
        raise RivalError(
            f"a virtual environment cannot be made in {folder}; install Python's venv and ensurepip"
        ) from error
    from_index = [] if index is None else ["--index-url", index]
    # Without what they ask for: the rest is shared, or not needed to predict.
    command = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--no-deps",
        "--retries",
        "1",
        "--timeout",
        "15",
    ]
    done = subprocess.run(
        [_python(folder), *command, *from_index, *_pinned()],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        raise RivalError(
            f"pip could not install {' and '.join(_pinned())}: {errors[-1] if errors else f'exit status {done.returncode}'}"
        )
    base = str(folder)
    site_packages = sysconfig.get_path(
        "purelib", "venv", {"base": base, "platbase": base, "installed_base": base, "installed_platbase": base}
    )
    Path(site_packages, "shared.pth").write_text("\n".join(shared) + "\n", encoding="utf-8")


def _python(folder: Path) -> Path:
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"
