from __future__ import annotations

import json
import socket

from support.leftovers import Place
from support.rtsp_fixture import StartRtspServer


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


def test_it_measures_the_sources_of_a_settings_file(place: Place, rtsp_server: StartRtspServer) -> None:
    # A camera each: GStreamer's server may abort when two begin to watch one at the same moment.
    door, yard = (rtsp_server(width=320, height=240, fps="15") for _ in range(2))
    (place.folder / "cameras.yaml").write_text(
        f"sources: [{{url: {door.url}, name: door}}, {{url: {yard.url}, name: yard, transport: udp}},"
        " {url: 'rtsp://user:s3cret@127.0.0.1:9/x', name: gone}]\n"
        "detector: {model: motion}\nsegmenter: {model: nano}\npublish: {bind: 'tcp://127.0.0.1:*'}\n"
    )
    with place.run("doctor", "cameras.yaml", "--seconds", "3") as run:
        status, output, errors = run.finish(90)
    assert (status, errors) == (0, "")
    rows = {line.split(": ")[0].split(maxsplit=1)[1]: line for line in output.splitlines()}
    assert rows["source door"].startswith("ok       source door: 320x240 h264, 1")
    assert "lost packets -" in rows["source door"]
    assert "lost packets 0" in rows["source yard"]
    assert rows["source gone"].startswith("missing  source gone: rtsp://")
    assert "refused the connection" in rows["source gone"]
    assert "s3cret" not in output
    assert "frames need" in rows["load"]
    assert "all 2 sources together get up to" in rows["keyframes"]


def test_settings_that_are_wrong_are_refused(place: Place) -> None:
    with place.run("doctor", "gone.yaml") as run:
        status, output, errors = run.finish(60)
    assert (status, output) == (2, "")
    assert errors.startswith("streamseg: gone.yaml: cannot be read")
