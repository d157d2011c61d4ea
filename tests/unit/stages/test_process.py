from __future__ import annotations

import os
import threading

import pytest
import zmq
from support.stage_context import stage_spec

from streamseg.ipc.reports import ReportWriter
from streamseg.stages.process import ProcessContext


@pytest.mark.filterwarnings("ignore:Destroying context with unclosed socket:ResourceWarning")
def test_a_socket_that_a_failed_stage_left_open_does_not_block_the_end_of_its_process() -> None:
    reading, writing = os.pipe()
    context = ProcessContext(stage_spec("publish"), ReportWriter(writing))
    left_open = context.sockets.socket(zmq.XPUB)
    ending = threading.Thread(target=context.close, daemon=True)
    ending.start()
    ending.join(10)
    assert not ending.is_alive()
    assert left_open.closed
    for end in (context._wake_in, context._wake_out):  # open until the process ends, as threads may still use them
        end.close()
    for pipe in (reading, writing):
        os.close(pipe)
