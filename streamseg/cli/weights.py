"""`streamseg weights`: the files that the models need."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamseg.errors import UsageError, WeightsError
from streamseg.models.options import INPUT_SIDES, MOBILE_SAM

if TYPE_CHECKING:
    from streamseg.models.catalogue import Weights
    from streamseg.models.weights import WeightsProgress

weights_app = typer.Typer(
    help=(
        "List, fetch, verify and export the files that the models need (their weights)."
        "\n\nModels fetch missing weights on first use. For a machine without a network, fetch them beforehand."
        " They are kept in the user's cache folder, or in the folder that STREAMSEG_CACHE names."
    ),
    no_args_is_help=True,
)


@weights_app.command("list")
def weights_list() -> None:
    """List all known weights: file, size, licence, and whether they are on this machine."""
    from streamseg.models.catalogue import CATALOGUE
    from streamseg.models.weights import weights_directory

    typer.echo(f"{'name':<11} {'file':<21} {'size':>9}  {'licence':<11} state")
    for entry in CATALOGUE:
        typer.echo(f"{entry.name:<11} {entry.filename:<21} {_size(entry.size):>9}  {entry.licence:<11} {_state(entry)}")
    exported = _bytes_in(weights_directory() / "exports")
    if exported:
        typer.echo(f"\nexports of mobilesam: {_size(exported)}")
    typer.echo(f"\nkept in {weights_directory()}")


@weights_app.command("fetch")
def weights_fetch(
    names: Annotated[
        list[str], typer.Argument(help="Such as mobilesam or sam_vit_b_01ec64.pth; see `streamseg weights list`.")
    ],
    sha256: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="Expected SHA-256, in place of the published one.", show_default=False),
    ] = None,
) -> None:
    """Download weights into the cache and check their SHA-256.

    A broken download resumes where it stopped. Proxies are taken from HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
    """
    from streamseg.models.catalogue import find
    from streamseg.models.weights import resolve
    from streamseg.monitor.progress import DownloadDisplay

    if sha256 is not None and (len(names) > 1 or not re.fullmatch(r"[0-9a-fA-F]{64}", sha256)):
        raise UsageError("--sha256 expects 64 hexadecimal digits, the hash of one file; name one model")
    entries = [find(name) for name in names]
    with DownloadDisplay() as display:
        for entry in entries:
            typer.echo(f"{entry.name}: {resolve(entry.name, sha256=sha256, progress=display.update)}")


@weights_app.command("verify")
def weights_verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Such as mobilesam.", show_default="all weights on this machine"),
    ] = None,
) -> None:
    """Check the SHA-256 of fetched weights. All are checked; the exit code is 4 if any is missing or damaged."""
    from streamseg.models.catalogue import CATALOGUE, find
    from streamseg.models.weights import verify, weights_directory

    fetched = [entry for entry in CATALOGUE if (weights_directory() / entry.filename).exists()]
    entries = [find(name) for name in names] if names else fetched
    if not entries:
        typer.echo("no weights are fetched yet; fetch some with `streamseg weights fetch mobilesam yolox-nano`")
    failed = []
    for entry in entries:
        try:
            typer.echo(f"{entry.name}: {verify(entry.name)} is intact")
        except WeightsError as error:
            typer.echo(f"{entry.name}: {error}")
            failed.append(entry.name)
    if failed:
        raise WeightsError(f"{len(failed)} of {len(entries)} failed: run `streamseg weights fetch {' '.join(failed)}`")


@weights_app.command("export")
def weights_export(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|FILE]...", help="mobilesam, or checkpoints of your own for it.", show_default="mobilesam"
        ),
    ] = None,
    sizes: Annotated[
        list[str] | None,
        typer.Option(
            "--size", metavar="WIDTHxHEIGHT", help="Size of the pictures; repeatable.", show_default="1280x720"
        ),
    ] = None,
    imgsz: Annotated[
        int, typer.Option(help="Side of the network's input: 512, 768 or 1024, as in segmenter.imgsz.")
    ] = 1024,
) -> None:
    """Export MobileSAM to ONNX files beforehand, for ONNX Runtime and OpenVINO.

    A run exports what is missing, which takes some seconds for each shape of picture. Export here for a machine that
    must start at once. Pictures of one shape, such as 1280x720 and 1920x1080, share an export. Missing weights are
    fetched.

    \b
    Examples:
      streamseg weights export
      streamseg weights export --size 1280x720 --size 640x480
      streamseg weights export my_mobile_sam.pt --imgsz 512
    """
    from streamseg.models.segmenters.mobile_sam.export import Exports, parts
    from streamseg.models.segmenters.mobile_sam.input_grid import CAMERA, InputGrid
    from streamseg.models.weights import locate
    from streamseg.monitor.progress import DownloadDisplay

    if imgsz not in INPUT_SIDES:
        raise UsageError(f"--imgsz {imgsz} is not valid; expected one of {', '.join(map(str, INPUT_SIDES))}")
    pictures = [_picture_size(size) for size in sizes] if sizes else [CAMERA]
    names = models or [MOBILE_SAM]
    for name in names:
        _check_exportable(name)
    with DownloadDisplay() as display:
        for name in names:
            exports = Exports.of(locate(name, progress=display.update))
            for height, width in pictures:
                grid = InputGrid.of_picture((height, width), imgsz)
                made = bool(exports.missing([grid]))
                exports.ensure([grid], _exporting(f"{name} for {width}x{height}", display.update))
                size = _size(sum(exports.path(part).stat().st_size for part in parts(grid)))
                state = "exported to" if made else "is in"
                typer.echo(f"{name} for {width}x{height}: {state} {exports.folder} ({size})")


def _check_exportable(name: str) -> None:
    from streamseg.models.catalogue import look_up

    entry = look_up(name)
    if entry is not None and entry.name != MOBILE_SAM and not Path(name).is_file():
        raise UsageError(
            f"{entry.name} runs without an export; expected {MOBILE_SAM}, or the path of a checkpoint for it"
        )


def _picture_size(text: str) -> tuple[int, int]:
    """Height and width from `WIDTHxHEIGHT`."""
    size = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if size is None:
        raise UsageError(f"--size {text} is not valid; expected WIDTHxHEIGHT in pixels, such as 1280x720")
    return int(size[2]), int(size[1])


def _exporting(name: str, report: Callable[[WeightsProgress], None]) -> Callable[[int, int], None]:
    """A callback that reports the exported networks of `name`."""
    from streamseg.models.weights import WeightsProgress

    return lambda done, total: report(WeightsProgress(name, done, total, activity="exporting"))


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.onnx"))


def _size(size: int | None) -> str:
    from streamseg.monitor.texts import size_text

    return "unknown" if size is None else size_text(size)


def _state(entry: Weights) -> str:
    from streamseg.models.weights import partial_bytes, weights_directory

    path = weights_directory() / entry.filename
    if path.is_file():
        size = path.stat().st_size
        return "fetched" if entry.size in (None, size) else f"damaged ({_size(size)}), fetch it again"
    part = partial_bytes(entry)
    if not part:
        return "not fetched"
    return f"partly fetched ({_size(part) if entry.size is None else f'{part / entry.size:.0%}'})"
