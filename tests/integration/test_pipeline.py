from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from oracle import OraclePrompt, oracle_predict, seeded_checkpoint
from pipeline_runs import STAGES, Record, Run, read_records, until

FRAMES = 287


def arguments(shared_data: Path, output: Path, *more: str) -> list[str]:
    return [
        "run", "--source", str(shared_data / "clips" / "coffee.mp4"),
        "--detector", "yolox-nano", "--set", f"detector.weights={shared_data / 'yolox_nano.onnx'}",
        "--set", "mode=every-frame", "--set", "publish.bind=tcp://127.0.0.1:*",
        "--record", str(output / "out.mp4"), "--jsonl", str(output / "out.jsonl"), *more,
    ]  # fmt: skip


def video_times(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [frame.pts for frame in container.decode(video=0) if frame.pts is not None]


@pytest.fixture(scope="module")
def undisturbed(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to which nothing happens."""
    output = tmp_path_factory.mktemp("undisturbed")
    with Run(*arguments(shared_data, output, "--segmenter", "grabcut")) as run:
        status, _, errors = run.finish(240)
    assert status == 0, errors
    return output


def check_complete(output: Path) -> list[Record]:
    records = read_records(output / "out.jsonl")
    assert [int(record.seq) for record in records] == list(range(FRAMES))
    times = video_times(output / "out.mp4")
    assert len(times) == FRAMES
    assert times == sorted(set(times))
    return records


def test_every_frame_of_a_file_is_published_with_masks(undisturbed: Path) -> None:
    records = check_complete(undisturbed)
    assert {"person", "cup"} <= {item.class_name for record in records for item in record.objects}
    for record in records:
        for item in record.objects:
            assert item.origin_seq == record.seq or item.mask is None
            assert item.mask is None or item.mask.size == (record.height, record.width)
            x1, y1, x2, y2 = item.xyxy
            assert 0 <= x1 < x2 <= record.width
            assert 0 <= y1 < y2 <= record.height
    with_mask = sum(any(item.mask is not None for item in record.objects) for record in records)
    assert with_mask > 0.95 * FRAMES


def test_killed_stages_come_back_and_change_nothing(shared_data: Path, undisturbed: Path, tmp_path: Path) -> None:
    records_file = tmp_path / "out.jsonl"

    def written() -> int:
        return records_file.read_bytes().count(b"\n") if records_file.exists() else 0

    with Run(*arguments(shared_data, tmp_path, "--segmenter", "grabcut")) as run:
        for place, name in enumerate(STAGES):
            wanted = 20 + place * 60
            until(lambda wanted=wanted: written() >= wanted, 120, f"{wanted} records")  # type: ignore[misc]
            victim = run.stages()[name]
            victim.kill()
            until(lambda name=name, pid=victim.pid: (new := run.stages().get(name)) and new.pid != pid, 30, f"a new {name}")  # type: ignore[misc]
        status, _, errors = run.finish(240)
    assert status == 0, errors
    disturbed = check_complete(tmp_path)
    for before, after in zip(read_records(undisturbed / "out.jsonl"), disturbed, strict=True):
        assert before == after


def test_masks_of_mobilesam_are_those_of_the_original(shared_data: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "seeded.pt"
    seeded_checkpoint(checkpoint, 2)
    extra = ("--segmenter", "mobilesam", "--set", f"segmenter.weights={checkpoint}", "--max-frames", "3")
    with Run(*arguments(shared_data, tmp_path, *extra)) as run:
        status, _, errors = run.finish(240)
    assert status == 0, errors
    records = read_records(tmp_path / "out.jsonl")
    assert [record.seq for record in records] == ["0", "1", "2"]
    with av.open(str(shared_data / "clips" / "coffee.mp4")) as container:
        frames = [
            np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame, _ in zip(container.decode(video=0), range(3), strict=False)
        ]
    cases = [(frame, [OraclePrompt(box=item.xyxy) for item in record.objects]) for frame, record in zip(frames, records, strict=True)]
    compared = 0
    for record, answer in zip(records, oracle_predict(checkpoint, cases), strict=True):
        assert len(record.objects) >= 2
        for item, prediction in zip(record.objects, answer.predictions, strict=True):
            logits = prediction.logits[0]
            near_threshold = np.abs(logits) <= 1e-3 * np.abs(prediction.low_res).max()
            ours = np.zeros(logits.shape, np.bool_) if item.mask is None else item.mask.bits()
            assert not ((ours != (logits > 0)) & ~near_threshold).any()
            assert near_threshold.mean() < 0.02
            compared += 1
    assert compared >= 6
