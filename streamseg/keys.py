"""Admits the window beside a run that requires keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import zmq

from streamseg.config import Config
from streamseg.ipc.instance import Instance
from streamseg.wire.curve import make_key_pair, read_server_keys, write_public_key


@contextmanager
def admit_window(config: Config) -> Iterator[tuple[Config, tuple[str, ...]]]:
    """Give the window a key pair that exists as long as the run, if subscribers need keys.

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
        secret_file, public_file = make_key_pair(instance.directory / "window")
        server_file = instance.directory / "publisher.pub"
        write_public_key(server_file, zmq.curve_public(server.secret))
        curve = msgspec.structs.replace(curve, allow=(*curve.allow_files, str(public_file)))
        publish = msgspec.structs.replace(config.publish, curve=curve)
        yield (
            msgspec.structs.replace(config, publish=publish),
            ("--secret-key-file", str(secret_file), "--server-key-file", str(server_file)),
        )
