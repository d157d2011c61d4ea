"""Makes key pairs: for a user, and for the window beside a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import zmq

from streamseg.config import Config
from streamseg.ipc.instance import Instance
from streamseg.wire.curve import read_server_keys, write_key, write_key_pair


def make_key_pair(stem: Path) -> tuple[Path, Path]:
    """Make a pair and write it as `stem.key` (the secret key) and `stem.pub`; return their paths.

    Raises:
        OutputExistsError: One of them is there; a key is never overwritten.
        UsageError: They cannot be written there.
    """
    public, secret = zmq.curve_keypair()
    return write_key_pair(stem, public, secret)


@contextmanager
def admit_window(config: Config) -> Iterator[tuple[Config, tuple[str, ...]]]:
    """Where subscribers need keys, give the window beside a run a pair that exists as long as the run.

    Yields:
        The settings with that pair allowed, and the options of `streamseg show` that name its files.

    Raises:
        SettingsError: A key file of the settings cannot be used.
    """
    curve = config.publish.curve
    if curve is None:
        yield config, ()
        return
    server = read_server_keys(curve.secret_key_file, curve.allow_files)
    with Instance() as instance:
        own, public = make_key_pair(instance.directory / "window")
        theirs = instance.directory / "publisher.pub"
        write_key(theirs, zmq.curve_public(server.secret), "public")
        curve = msgspec.structs.replace(curve, allow=(*curve.allow_files, str(public)))
        publish = msgspec.structs.replace(config.publish, curve=curve)
        yield (
            msgspec.structs.replace(config, publish=publish),
            ("--secret-key-file", str(own), "--server-key-file", str(theirs)),
        )
