"""The fork server of the stages: `python -m streamseg.stages MODULE… SOCKET`.

It imports the modules of a run's stages once. Each stage then is a fork of it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
from importlib import import_module

from setproctitle import setproctitle

from streamseg.streams import open_closed_streams


def _main() -> None:
    *modules, connection = sys.argv[1:]
    setproctitle("streamseg fork server")
    open_closed_streams()
    os.dup2(2, 1)  # results may be on standard output: what a library prints must not come between
    try:
        from streamseg.ipc.fork_server import serve
        from streamseg.stages.process import run_stage
    except (ImportError, OSError, MemoryError) as error:  # what a machine without memory raises
        sys.exit(f"streamseg: {type(error).__name__}: {error}")
    for module in modules:
        with contextlib.suppress(Exception):  # the stage itself imports it once more, and reports the error
            import_module(module)
    gc.collect()
    gc.freeze()
    serve(socket.socket(fileno=int(connection)), run_stage)


_main()
