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
    from streamseg.models.weights import Progress

weights_app = typer.Typer(
    help=(
        "List, fetch, verify and export the files that the models need (their weights)."
        "\n\nModels fetch their weights themselves when they are first used; fetch them here beforehand for a machine that will be offline."
        " They are kept in the user's cache folder, or in the one that STREAMSEG_CACHE names."
    ),
    no_args_is_help=True,
)


@weights_app.command("list")
def weights_list() -> None:
    """List the weights that streamseg knows by name: file, size, licence, and what is here of each."""
    from streamseg.models.weights import catalogue, weights_directory

    typer.echo(f"{'name':<11} {'file':<21} {'size':>9}  {'licence':<11} state")
    for entry in catalogue():
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
        typer.Option(
            metavar="HEX",
            help="What the file must hash to, in place of the hash that is known here.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Download weights into the cache and check their SHA-256.

    A download that broke off goes on where it stopped. Proxies are taken from HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
    """
    from streamseg.models.weights import find, resolve
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
        list[str] | None, typer.Argument(help="Such as mobilesam; all that are here, where none is named.")
    ] = None,
) -> None:
    """Check the SHA-256 of weights that were fetched. All are checked; the exit code is 4 where one is missing or damaged."""
    from streamseg.models.weights import catalogue, find, verify, weights_directory

    fetched = [entry for entry in catalogue() if (weights_directory() / entry.filename).exists()]
    entries = [find(name) for name in names] if names else fetched
    if not entries:
        typer.echo("no weights here yet; fetch some with `streamseg weights fetch mobilesam yolox-nano`")
    failed = []
    for entry in entries:
        try:
            typer.echo(f"{entry.name}: {verify(entry.name)} is what it should be")
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
            "--size", metavar="WIDTHxHEIGHT", help="Of the pictures; may be given again.", show_default="1280x720"
        ),
    ] = None,
    imgsz: Annotated[
        int, typer.Option(help="Side of the network's input: 512, 768 or 1024, as in segmenter.imgsz.")
    ] = 1024,
) -> None:
    """Export MobileSAM beforehand: write it as ONNX files, which ONNX Runtime and OpenVINO run.

    A run exports by itself what is missing, which takes some seconds for each shape of picture; here it is done for a machine that shall
    start at once. Pictures of the same shape, such as 1280x720 and 1920x1080, share their export. Weights that are missing are fetched.

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
        raise UsageError(f"--imgsz {imgsz} is not a choice; expected one of {', '.join(map(str, INPUT_SIDES))}")
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
                exports.have([grid], _reported(f"{name} for {width}x{height}", display.update))
                size = sum(exports.path(part).stat().st_size for part in parts(grid))
                typer.echo(
                    f"{name} for {width}x{height}: {'exported to' if made else 'is in'} {exports.folder} ({_size(size)})"
                )


def _check_exportable(name: str) -> None:
    from streamseg.models.weights import catalogue

    known = next((entry.name for entry in catalogue() if name in (entry.name, entry.filename, entry.alias)), MOBILE_SAM)
    if known != MOBILE_SAM and not Path(name).is_file():
        raise UsageError(
            f"{known} is not exported: it runs as it is; expected {MOBILE_SAM}, or the path of a checkpoint for it"
        )


def _picture_size(text: str) -> tuple[int, int]:
    """Height and width of `WIDTHxHEIGHT`."""
    size = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if size is None:
        raise UsageError(f"--size {text} is not a size; expected WIDTHxHEIGHT in pixels, such as 1280x720")
    return int(size[2]), int(size[1])


def _reported(name: str, report: Callable[[Progress], None]) -> Callable[[int, int], None]:
    """Tells `report` how far the exporting of `name` is."""
    from streamseg.models.weights import Progress

    return lambda done, total: report(Progress(name, done, total, work="exporting"))


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.onnx"))


def _size(size: int | None) -> str:
    if size is None:
        return "unknown"
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _state(entry: Weights) -> str:
    from streamseg.models.weights import fetched_bytes, weights_directory

    path = weights_directory() / entry.filename
    if path.is_file():
        size = path.stat().st_size
        return "fetched" if entry.size in (None, size) else f"damaged ({_size(size)}), fetch it again"
    part = fetched_bytes(entry)
    if not part:
        return "not fetched"
    return f"partly fetched ({_size(part) if entry.size is None else f'{part / entry.size:.0%}'})"
