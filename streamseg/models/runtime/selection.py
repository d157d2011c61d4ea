"""Which runtimes can run MobileSAM on this machine, the fastest first. Imports none of them."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from streamseg.errors import SettingsError, UsageError
from streamseg.extras import is_installed
from streamseg.models.options import DEFAULT_PROVIDERS, Compute, Precision, SegmenterSettings
from streamseg.models.runtime.base import Runtime


def candidates(settings: SegmenterSettings, compute: Compute) -> list[Runtime]:
    """List the runtimes that meet the settings, the fastest first; the others are fallbacks in case it fails.

    Raises:
        SettingsError: The backend is not installed, or lacks that precision or execution provider on this machine.
        UsageError: There is no such GPU.
    """
    _check_providers(settings.providers)
    available = _available(settings, compute)
    wanted = [
        one
        for one in available
        if settings.backend in ("auto", one.backend) and settings.precision in ("auto", one.precision)
    ]
    if not wanted:
        raise SettingsError(_not_available(settings, available))
    # If a library failed, another precision of it is not tried.
    fastest: dict[str, Runtime] = {}
    for one in available:
        fastest.setdefault(one.backend, one)
    return [wanted[0], *(one for one in fastest.values() if one.backend != wanted[0].backend)]


def _available(settings: SegmenterSettings, compute: Compute) -> list[Runtime]:
    threads, gpu = compute.threads, _gpu(compute.device)
    onnx = Runtime("onnxruntime", "fp32", threads, providers=settings.providers)
    gpu_precisions: tuple[Precision, ...] = () if gpu is None else ("fp16", "fp32")
    on_gpu = [Runtime("torch", precision, threads, gpu or "cpu") for precision in gpu_precisions]
    if compute.device.startswith("cuda"):
        # ONNX Runtime's providers decide where it computes.
        return [*on_gpu, onnx]
    precisions: tuple[Precision, ...] = ("bf16", "fp32") if has_fast_bf16() else ("fp32",)
    openvino = [Runtime("openvino", precision, threads) for precision in precisions if is_installed("openvino")]
    torch = [Runtime("torch", precision, threads) for precision in precisions]
    if is_x86() and settings.providers == DEFAULT_PROVIDERS:
        return [*on_gpu, *openvino, onnx, *torch]
    return [*on_gpu, onnx, *openvino, *torch]


def _check_providers(providers: Sequence[str]) -> None:
    if tuple(providers) == DEFAULT_PROVIDERS:
        return
    from streamseg.models.runtime.onnx import available_providers

    available = available_providers()
    unknown = [provider for provider in providers if provider not in available]
    if unknown:
        raise SettingsError(
            f"segmenter.providers: this ONNX Runtime has no {unknown[0]}; expected some of {', '.join(available)}"
        )


def _not_available(settings: SegmenterSettings, available: Sequence[Runtime]) -> str:
    if settings.backend == "openvino" and not is_installed("openvino"):
        return "segmenter.backend: OpenVINO is not installed; pip install 'streamseg[openvino]', or choose auto"
    key = "precision" if any(settings.backend in ("auto", one.backend) for one in available) else "backend"
    choices = ", ".join(f"{one.backend} in {one.precision}" for one in available)
    return (
        f"segmenter.{key}: {settings.backend} in {settings.precision} is not available on this machine; "
        f"expected auto, or one of {choices}"
    )


def check_device(device: str) -> None:
    """Check that a device exists on this machine; `auto` always does.

    Raises:
        UsageError: CUDA's driver has no such GPU.
    """
    _gpu(device)


def _gpu(device: str) -> str | None:
    """PyTorch's name of the GPU to use; None for none."""
    count = 0 if device == "cpu" else cuda_devices()
    if device == "auto":
        return "cuda" if count else None
    if not device.startswith("cuda"):
        return None
    index = device.removeprefix("cuda").removeprefix(":") or "0"
    if not index.isdecimal() or int(index) >= count:
        raise UsageError(
            f"PyTorch cannot use the device {device!r}: CUDA's driver has {count or 'no'} GPUs here; "
            "choose one that this machine has, such as 'cpu', or 'auto'"
        )
    return device


def cuda_devices() -> int:
    """Count the GPUs that CUDA's driver sees, without loading PyTorch, which takes seconds."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    succeeded = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if succeeded else 0


def is_x86() -> bool:
    """Whether the processor is of the kind on which OpenVINO was measured to be faster than ONNX Runtime."""
    return platform.machine().lower() in ("x86_64", "amd64")


def has_fast_bf16() -> bool:
    """Whether the processor multiplies bfloat16 faster than float32, by Linux's flags; False on other systems."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
