from __future__ import annotations

import json
import socket

from support.leftovers import Place


def test_it_ends_with_0_where_a_pipeline_can_run(place: Place) -> None:
    with place.run("doctor", "tcp://127.0.0.1:*") as run:
        status, output, errors = run.finish(60)
    assert (status, errors) == (0, "")
    lines = output.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "missing"}
    assert any(line.startswith("missing  display: there is no display") for line in lines)


def test_it_ends_with_2_where_none_can(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        endpoint = f"tcp://127.0.0.1:{foreign.getsockname()[1]}"
        with place.run("doctor", endpoint) as run:
            status, output, errors = run.finish(60)
        assert (status, errors) == (2, "")
        assert f"needed   endpoint: {endpoint} is in use; end the program" in output
        with place.run("doctor", endpoint, "--json") as run:
            status, output, errors = run.finish(60)
    assert (status, errors) == (2, "")
    diagnosis = json.loads(output)
    assert not diagnosis["can_run"]
    assert [check["name"] for check in diagnosis["checks"] if check["needed"] and not check["ok"]] == ["endpoint"]
