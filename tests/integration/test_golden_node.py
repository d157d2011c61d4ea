from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zmq
from golden.make import VECTORS
from support.results import EMPTY_RESULT

from streamseg.messages import End
from streamseg.wire.protocol import encode_event, encode_result

DECODER = VECTORS.parent / "decode.mjs"


@pytest.fixture(scope="module")
def node(continuous_integration: bool) -> str:
    path = shutil.which("node")
    if path is None:
        if continuous_integration:
            pytest.fail("Node is not installed (Debian: nodejs)")
        pytest.skip("needs Node (Debian: nodejs)")
    return path


def run(node: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([node, str(DECODER), str(directory)], capture_output=True, text=True, timeout=60, check=False)


def test_node_reads_every_vector_as_it_is_meant(node: str) -> None:
    done = run(node, VECTORS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(list(VECTORS.glob("*.json")))
    assert all(line.startswith("ok ") for line in done.stdout.splitlines())


def test_node_notices_a_pixel_that_is_wrong(node: str, tmp_path: Path) -> None:
    vector = json.loads((VECTORS / "result-masks.json").read_text(encoding="utf-8"))
    vector["expected"]["objects"][1]["mask"]["rows"][0] = "#" * 39
    (tmp_path / "result-masks.json").write_text(json.dumps(vector), encoding="utf-8")
    done = run(node, tmp_path)
    assert done.returncode == 1
    assert "WRONG result-masks.json" in done.stdout


def stream(count: int) -> Iterator[list[bytes]]:
    """A live source of 30 frames a second, and its end."""
    for seq in range(count):
        result = replace(EMPTY_RESULT, run_id="a", seq=seq, mode="live", t_capture_unix_ns=10**18 + seq * 33_333_333)
        yield encode_result(result, "masks").parts
    yield encode_event(End(run_id="a", source="cam", seq=count - 1, reason="done"))


def test_a_slow_node_reader_stays_fresh(node: str) -> None:
    with zmq.Context() as context, context.socket(zmq.XPUB) as publisher:
        publisher.sndhwm = publisher.linger = 0
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        command = [node, str(DECODER.with_name("subscribe.mjs")), "127.0.0.1", str(port), "cam", "masks", "10"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
            try:
                for _ in range(2):
                    assert publisher.poll(60_000), "its two subscriptions"
                    publisher.recv()
                for parts in stream(600):
                    publisher.send_multipart(parts)
                output, _ = reader.communicate(timeout=60)
            finally:
                reader.kill()
    results = [json.loads(line) for line in output.splitlines()]
    assert reader.returncode == 0
    assert results[-1]["seq"] == "599"
    assert len(results) < 300
    assert all(result["lag_ms"] <= 1000 for result in results)
