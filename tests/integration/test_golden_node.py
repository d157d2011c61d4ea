from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    """A live source of 30 frames a second after a message that is none, and its end."""
    yield [b"streamseg/1/cam/masks", b"{", b""]
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


FOLLOW = """
import { readFileSync } from "node:fs";
import { Backlog } from "BACKLOG";
const backlog = new Backlog();
for (const [now, ...results] of JSON.parse(readFileSync(0, "utf8"))) {
  for (const result of results) backlog.add(result, now);
  const wait = backlog.wait(now);
  const used = [];
  for (let next; wait === 0 && (next = backlog.take(now)) !== undefined; ) used.push(`${next.run_id} ${next.seq}`);
  console.log(JSON.stringify([wait, used]));
}
"""


def follow(node: str, *steps: tuple[int, list[tuple[str, int, int]]]) -> list[list[Any]]:
    """What a reader in Node does with results that arrive at some milliseconds: how long it waits, what it uses.

    A result is its run, the millisecond in which it was sent, and its number.
    """
    rows: list[list[Any]] = [
        [now]
        + [
            {
                "source": "cam", "run_id": run, "seq": str(seq), "mode": "every-frame" if run == "file" else "live",
                "t_capture_unix_ns": str(sent_ms * 10**6), "timings": {},
            }
            for run, sent_ms, seq in results
        ]
        for now, results in steps
    ]  # fmt: skip
    script = FOLLOW.replace("BACKLOG", (DECODER.parent / "backlog.mjs").as_uri())
    command = [node, "--input-type=module", "--eval", script]
    done = subprocess.run(command, input=json.dumps(rows), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_node_reader_that_was_away_waits_for_newer_results_as_long_as_their_delay_falls(node: str) -> None:
    first, old, less_old, new = ("a", 0, 0), ("a", 100, 1), ("a", 6000, 2), ("a", 20_000, 3)
    assert follow(
        node, (0, [first]), (20_000, [old]), (20_400, [less_old]), (20_800, []), (20_850, [new]), (21_000, [])
    ) == [[0, ["a 0"]], [500, []], [500, []], [100, []], [0, ["a 3"]], [0, []]]


def test_a_node_reader_does_not_wait_for_ever_where_the_clock_of_the_publisher_is_set_back(node: str) -> None:
    steps = [(0, [("a", 5000, 0)]), (100, [("a", 100, 1)]), (600, []), (700, [("a", 700, 2)]), (800, [("a", 5800, 3)])]
    assert follow(node, *steps, (900, [("a", 900, 4)])) == [
        [0, ["a 0"]], [500, []], [0, ["a 1"]], [0, ["a 2"]], [0, ["a 3"]], [500, []],
    ]  # fmt: skip


def test_a_node_reader_waits_for_nothing_of_a_file_and_learns_the_delay_of_each_run(node: str) -> None:
    steps = [(0, [("a", 5000, 0)]), (100, [("file", 0, 0), ("file", 3000, 1)]), (200, [("b", 0, 0), ("b", 1200, 1)])]
    assert follow(node, *steps) == [[0, ["a 0"]], [0, ["file 0", "file 1"]], [0, ["b 1"]]]
