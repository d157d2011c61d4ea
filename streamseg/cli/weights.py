"""`streamseg weights`: the files that the models need."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from streamseg.errors import UsageError, WeightsError

if TYPE_CHECKING:
    from streamseg.models.catalogue import Weights

weights_app = typer.Typer(
    help=(
        "List, fetch and verify the files that the models need (their weights)."
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
    typer.echo(f"\nkept in {weights_directory()}")


@weights_app.command("fetch")
def weights_fetch(
    names: Annotated[list[str], typer.Argument(help="Such as mobilesam or sam_vit_b_01ec64.pth; see `streamseg weights list`.")],
    sha256: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="What the file must hash to, in place of the hash that is known here.", show_default=False),
    ] = None,
) -> None:
    """Download weights into the cache and check their SHA-256.

    A download that broke off goes on where it stopped. Proxies are taken from HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
    """
    from streamseg.models.weights import find, resolve
    from streamseg.progress import DownloadDisplay

    if sha256 is not None and (len(names) > 1 or not re.fullmatch(r"[0-9a-fA-F]{64}", sha256)):
        raise UsageError("--sha256 expects 64 hexadecimal digits, the hash of one file; name one model")
    entries = [find(name) for name in names]
    with DownloadDisplay() as display:
        for entry in entries:
            typer.echo(f"{entry.name}: {resolve(entry.name, sha256=sha256, progress=display.update)}")


@weights_app.command("verify")
def weights_verify(
    names: Annotated[list[str] | None, typer.Argument(help="Such as mobilesam; all that are here, where none is named.")] = None,
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
