from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from golden.make import VECTORS

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
