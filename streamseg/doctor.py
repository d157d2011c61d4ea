"""Checks what works on this machine, with a remedy for what does not. Downloads nothing and starts no pipeline.

A check imports what may be broken, so that the others run without it.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import msgspec

from streamseg.errors import StreamsegError
from streamseg.extras import is_installed, require
from streamseg.models.missing import MissingWeightsError
from streamseg.models.runtime.telemetry import turn_telemetry_off

_PACKAGES: Final = (
    ("numpy", ("numpy",)),
    ("av", ("av",)),
    ("cv2", ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")),
    ("zmq", ("pyzmq",)),
    ("onnxruntime", ("onnxruntime", "onnxruntime-gpu")),
)
"""Modules that every pipeline imports, and the names of their distributions."""
_OF_THE_PIPELINE: Final = ("av", "cv2", "onnxruntime")
_LIGHT: Final = (
    "the light client: `streamseg subscribe`, `keys` and `init` work, and `Subscriber` in Python; no pipeline runs"
)
_FRAME: Final = (720, 1280)


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one check.

    Attributes:
        name: What it checks.
        ok: Whether that works.
        needed: Whether every pipeline needs it.
        detail: The finding.
        remedy: What to do if it does not work.
    """

    name: str
    ok: bool
    needed: bool
    detail: str
    remedy: str | None = None


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """All checks, and whether a pipeline can run on this machine."""

    can_run: bool
    checks: tuple[Check, ...]


def examine(bind: str) -> Diagnosis:
    """Run all checks; `bind` is the endpoint that must be free."""
    turn_telemetry_off()
    checks = tuple(_all_checks(bind))
    return Diagnosis(can_run=suffices(checks), checks=checks)


def suffices(checks: Sequence[Check]) -> bool:
    """Whether a pipeline can run with these results."""
    return all(check.ok or not check.needed for check in checks)


def _all_checks(bind: str) -> Iterator[Check]:
    if not any(is_installed(module) for module in _OF_THE_PIPELINE):
        yield _missing("installation", _LIGHT, "pip install 'streamseg[run]' adds the pipeline", needed=True)
        return
    yield Check(name="Python", ok=True, needed=True, detail=platform.python_version())
    for module, names in _PACKAGES:
        yield check_package(module, names)
    yield check_installed("torch", "for MobileSAM and SAM; without it `run` takes nano", "pip install 'streamseg[run]'")
    yield check_installed(
        "openvino", "for the fastest masks on processors of Intel and AMD", "pip install 'streamseg[openvino]'"
    )
    yield run_check("threads", check_threads, needed=True)
    yield run_check("shared memory", check_shared_memory, needed=True)
    yield run_check("endpoint", lambda: check_endpoint(bind), needed=True)
    yield run_check("weights of mobilesam", check_weights)
    yield run_check("backends", check_backends)
    yield run_check("cameras", check_cameras)
    yield run_check("display", check_display)


def check_package(module: str, names: tuple[str, ...]) -> Check:
    """Check that a module can be imported: OpenCV is often installed without the system libraries that it needs."""
    name = names[0]
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - a broken installation raises anything
        if isinstance(error, ModuleNotFoundError) and error.name == module:
            return _missing(name, "not installed", "pip install 'streamseg[run]'", needed=True)
        return _missing(
            name, f"cannot be imported ({_line(error)})", f"pip install --force-reinstall {name}", needed=True
        )
    installed = next(
        (f"{known} ({other})" for other in names[1:] if (known := _version(other)) is not None),
        "a version that does not say",
    )
    return Check(name=name, ok=True, needed=True, detail=_version(name) or installed)


def check_installed(name: str, purpose: str, remedy: str) -> Check:
    """Check that an optional package is installed, without importing it, which takes seconds."""
    found = _version(name)
    if found is None:
        return _missing(name, f"not installed; it is {purpose}", remedy)
    return Check(name=name, ok=True, needed=False, detail=found)


def check_threads() -> Check:
    """Report the threads that each stage gets with a live source."""
    from streamseg.pipeline import STAGES
    from streamseg.topology import describe_budget

    return Check(
        name="threads", ok=True, needed=True, detail=describe_budget(STAGES, None, live=True).removeprefix("threads: ")
    )


def check_shared_memory(folder: Path | None = None) -> Check:
    """Check that a folder, shared memory by default, has room for the frames of a 720p source."""
    from streamseg.ipc.ring import block_folder, ring_bytes

    folder = folder or block_folder()
    free, wanted = shutil.disk_usage(folder).free, ring_bytes(*_FRAME)
    found = f"{folder} has {free >> 20} MiB free, frames of 1280x720 take {wanted >> 20}"
    if free < wanted:
        return _missing("shared memory", found, "free some, or give a container more with --shm-size", needed=True)
    if not os.access(folder, os.W_OK):
        return _missing("shared memory", f"{folder} cannot be written", "let this user write there", needed=True)
    return Check(name="shared memory", ok=True, needed=True, detail=found)


def check_endpoint(bind: str) -> Check:
    """Check that a pipeline can publish at an endpoint."""
    from streamseg.ipc.instance import Endpoint

    with Endpoint(bind) as endpoint:
        return Check(name="endpoint", ok=True, needed=True, detail=f"{endpoint.address} is free")


def check_weights() -> Check:
    """Check that MobileSAM's weights are in the cache, undamaged; without them `auto` takes nano."""
    from streamseg.models.options import MOBILE_SAM
    from streamseg.models.weights import resolve

    name = f"weights of {MOBILE_SAM}"
    try:
        return Check(name=name, ok=True, needed=False, detail=str(resolve(MOBILE_SAM, offline=True)))
    except MissingWeightsError as error:
        remedy = f"streamseg weights fetch {MOBILE_SAM}; `run` tries that too, and takes nano if it cannot"
        return _missing(name, ", ".join(file.cause for file in error.files), remedy)


def check_backends() -> Check:
    """List the runtimes for MobileSAM, the fastest first, without running any."""
    from streamseg.models.options import PYTORCH, Compute, SegmenterSettings
    from streamseg.models.runtime.selection import candidates

    require(PYTORCH, "MobileSAM")

    found = ", ".join(
        f"{runtime.backend} in {runtime.precision}" for runtime in candidates(SegmenterSettings(), Compute())
    )
    return Check(name="backends", ok=True, needed=False, detail=f"MobileSAM in {found}")


def check_cameras() -> Check:
    """List the cameras, and check that this user may open them."""
    from streamseg.sources.devices import list_devices

    cameras = list_devices()
    if not cameras:
        return _missing("cameras", "none found", "plug one in, or use a file, rtsp://... or synthetic: as --source")
    closed = [
        camera.device
        for camera in cameras
        if camera.device.startswith("/") and not os.access(camera.device, os.R_OK | os.W_OK)
    ]
    if closed:
        return _missing(
            "cameras",
            f"this user may not open {', '.join(closed)}",
            "add the user to the group that owns it, mostly `video`",
        )
    return Check(
        name="cameras", ok=True, needed=False, detail=", ".join(f"{camera.index} ({camera.name})" for camera in cameras)
    )


def check_display() -> Check:
    """Check that `--show` can open a window."""
    from streamseg.show import require_display

    require_display()
    return Check(name="display", ok=True, needed=False, detail="a window can be opened")


def run_check(name: str, check: Callable[[], Check], *, needed: bool = False) -> Check:
    """Run a check; an error becomes its result."""
    try:
        return check()
    except StreamsegError as error:
        detail, semicolon, remedy = str(error).rpartition("; ")  # our errors end with the remedy
        return Check(name=name, ok=False, needed=needed, detail=detail or remedy, remedy=remedy if semicolon else None)
    except ImportError as error:
        return _missing(name, f"cannot be checked ({_line(error)})", "install what is missing above", needed=needed)


def _missing(name: str, detail: str, remedy: str, *, needed: bool = False) -> Check:
    return Check(name=name, ok=False, needed=needed, detail=detail, remedy=remedy)


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
