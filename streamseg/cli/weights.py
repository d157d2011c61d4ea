"""`streamseg weights`: the files that the models need."""

from __future__ import annotations

from typing import Annotated

import typer

weights_app = typer.Typer(help="List, fetch and verify the files that the models need (their weights).", no_args_is_help=True)


@weights_app.command("list")
def weights_list() -> None:
    """List the weights that streamseg knows by name, and where those that are here lie."""
    from streamseg.models.weights import catalogue, weights_directory

    for entry in catalogue():
        path = weights_directory() / entry.filename
        size = "size unknown" if entry.size is None else f"{entry.size / 1e6:.1f} MB"
        typer.echo(f"{entry.name:12} {size:>12}  {path if path.exists() else 'not fetched'}")


@weights_app.command("fetch")
def weights_fetch(
    names: Annotated[list[str], typer.Argument(help="Such as mobilesam or yolox-nano; see `streamseg weights list`.")],
    sha256: Annotated[str | None, typer.Option(help="What the file must hash to; needed for models whose hash is not known here.")] = None,
) -> None:
    """Download weights into the cache (the folder in STREAMSEG_CACHE, where that is set) and check their SHA-256."""
    from streamseg.models.weights import resolve
    from streamseg.progress import DownloadDisplay

    with DownloadDisplay() as display:
        for name in names:
            typer.echo(f"{name}: {resolve(name, sha256=sha256, progress=display.update)}")


@weights_app.command("verify")
def weights_verify(
    names: Annotated[list[str] | None, typer.Argument(help="Such as mobilesam; all that are here, where none is named.")] = None,
) -> None:
    """Check the SHA-256 of weights that were fetched."""
    from streamseg.models.weights import catalogue, verify, weights_directory

    fetched = [entry.name for entry in catalogue() if (weights_directory() / entry.filename).exists()]
    for name in names or fetched:
        typer.echo(f"{name}: {verify(name)} is what it should be")
    if not names and not fetched:
        typer.echo("no weights here yet; fetch some with `streamseg weights fetch mobilesam yolox-nano`")
