from __future__ import annotations

import json
import sys
from io import StringIO
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console
from support.bench_samples import sample_figures

from benchmarks import models
from benchmarks.medians import COUNTS, Measurements
from benchmarks.model_figures import ModelsFigures
from benchmarks.model_rows import print_tables
from benchmarks.models import COMPARED, ModelsOptions, bench_models
from benchmarks.process import AVX2, Measured, Work, measure
from benchmarks.rivals import RivalError
from benchmarks.schedule import Schedule
from streamseg.errors import StageError, UsageError, WeightsError
from streamseg.models.segmenters.sam import IMAGE_ENCODERS

_WORK = Work(
    subject="anyone",
    weights="w.pt",
    picture="p.npy",
    boxes="b.npy",
    counts=(1, 5),
    frame_boxes=5,
    threads=2,
    rounds=3,
    budget_s=1.0,
)


def test_the_keys_of_the_json() -> None:
    keys = json.loads(msgspec.json.encode(sample_figures()))
    assert set(keys["encoder_ms"]) == {"original", "ours", "ours_rect"}
    assert {count: set(row) for count, row in keys["decoder_ms"].items()} == {
        str(count): {"original", "ours"} for count in COUNTS
    }
    assert set(keys["frame_ms"]) == {"original", "ultralytics", "ours"}
    assert {"original", "ultralytics"} <= set(keys["iou"])
    assert {"encoder_ms", "decoder_ms", "frame_ms", "speedup", "slowdown", "backend", "precision"} <= set(keys["avx2"])
    assert {
        "backend",
        "precision",
        "threads",
        "machine",
        "date",
        "detector",
        "compared",
        "parameters",
        "versions",
    } <= set(keys)
    assert msgspec.json.decode(msgspec.json.encode(sample_figures()), type=ModelsFigures) == sample_figures()


def test_the_tables_show_the_figures() -> None:
    shown = StringIO()
    print_tables(sample_figures(), Console(file=shown, width=200))
    for text in (
        "1,500",
        "Ultralytics",
        "9.0\N{MULTIPLICATION SIGN}",
        "seeded weights",
        "0.9950",
        "AMD EPYC",
        "sam-vit-h was left out: needs 9 GB",
    ):
        assert text in shown.getvalue()


def test_a_model_or_a_number_that_cannot_be_is_said_before_anything_is_measured() -> None:
    with pytest.raises(UsageError, match="'sam'; expected some of fastsam-s, fastsam-x, sam-vit-b"):
        ModelsOptions(compared=("sam",))
    with pytest.raises(UsageError, match="must be positive"):
        ModelsOptions(rounds=0)
    with pytest.raises(UsageError, match=r"nothing\.png cannot be read as a picture"):
        bench_models(ModelsOptions(image=Path("nothing.png")))


def test_without_rivals_all_else_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Work, bool]] = []

    def no_rivals(tell: object) -> Path:
        raise RivalError("pip could not install them: no network")

    def answer(command: list[str], work: Work, environment: dict[str, str], folder: Path) -> Measured:
        asked.append((command[-1], work, set(AVX2) <= set(environment)))
        assert not Path(environment["STREAMSEG_CACHE"]).samefile(Path.home())
        if work.masks is not None:
            np.savez(work.masks, masks=np.ones((20, 4, 4), np.bool_), scores=np.full(20, 0.8))
        decoder = {str(count): [float(count)] for count in work.counts}
        return _measured(encoder_ms=[400.0, 200.0] if work.square else [100.0], decoder_ms=decoder)

    def no_weights(weights: Path | None) -> None:
        raise WeightsError("yolox-nano is not here")

    monkeypatch.setattr(models, "have_rivals", no_rivals)
    monkeypatch.setattr(models, "measure", answer)
    monkeypatch.setattr(models, "bench_detector", no_weights)
    monkeypatch.setattr("benchmarks.seeded_weights.write_seeded_checkpoint", lambda path, scene: path.touch())
    steps: list[str] = []
    figures = bench_models(ModelsOptions(compared=("fastsam-s", "sam-vit-b"), rounds=2, threads=3), steps.append)

    assert (figures.encoder_ms.original, figures.frame_ms.ultralytics, figures.speedup.frame, figures.iou.original) == (
        None,
    ) * 4
    assert (figures.encoder_ms.ours, figures.encoder_ms.ours_rect, figures.decoder_ms.twenty.ours) == (
        300.0,
        100.0,
        20.0,
    )
    assert figures.avx2.slowdown.encoder == 1.0 and figures.coverage.min == 1.0
    fastsam, vit_b = figures.compared
    assert fastsam.skipped == "Ultralytics could not be installed" and vit_b.skipped is None and vit_b.frame_ms == 50.0
    assert "no network" in figures.missing[0] and "yolox-nano is not here" in figures.missing[1]
    assert figures.detector is None and figures.threads == 3 and figures.weights == "seeded"
    assert [row.model for row in figures.parameters] == list(IMAGE_ENCODERS)

    assert all(command == "benchmarks.own_process" and work.threads == 3 for command, work, _ in asked)
    # Two that export, then two passes, the second in the other order, then the other model.
    order = [(work.square, held) for _, work, held in asked]
    one_pass = [(False, False), (True, False), (False, True), (True, True)]
    assert order == [(False, False), (True, False), *one_pass, *reversed(one_pass), (False, False)]
    assert all(work.precision == "fp32" for _, work, held in asked if held)
    assert steps[-2].startswith("measuring sam-vit-b (10 of 10")
    print_tables(figures, Console(file=StringIO()))


def test_medians_go_over_both_passes_and_masks_are_compared(tmp_path: Path) -> None:
    masks = np.zeros((2, 8, 8), np.bool_)
    masks[:, :4] = True
    np.savez(tmp_path / "original.npz", masks=masks, scores=np.array([0.5, 0.9]))
    masks[1, 4] = True
    np.savez(tmp_path / "ours.npz", masks=masks, scores=np.array([0.5, 0.8]))
    quick = _measured(encoder_ms=[1.0, 2.0], decoder_ms={"1": [1.0], "5": [5.0], "20": [20.0]})
    measured = Measurements(
        {"original": [_with_encoder(quick, [9.0]), _with_encoder(quick, [1.0, 5.0])], "ours": [quick]}, tmp_path
    )
    encoder, decoder, _ = measured.rows()
    assert (encoder.original, encoder.ours, encoder.ours_rect) == (5.0, None, 1.5)
    assert (decoder.five.original, decoder.twenty.ours) == (5.0, 20.0)
    agreement = measured.iou().original
    assert agreement is not None
    assert (agreement.mean, agreement.min) == pytest.approx((0.9, 0.8)) and agreement.predicted_iou == pytest.approx(
        0.1
    )
    assert measured.iou().ultralytics is None
    assert measured.ultralytics_own_threads() is None
    slow = msgspec.structs.replace(quick, frame_ms=[400.0])
    own = Measurements({"ultralytics-own-threads": [slow], "ours": [quick]}, tmp_path).ultralytics_own_threads()
    assert own is not None and (own.threads, own.frame_ms, own.speedup) == (1, 400.0, 8.0)


def test_a_process_gets_its_work_and_gives_back_its_figures(tmp_path: Path) -> None:
    figures = msgspec.json.encode(_measured(encoder_ms=[1.0], decoder_ms={})).decode()
    script = (
        "import json, os, pathlib, sys; work = json.loads(pathlib.Path(sys.argv[1]).read_text())\n"
        "assert work['subject'] == 'anyone' and work['counts'] == [1, 5] and os.environ['CUDA_VISIBLE_DEVICES'] == ''\n"
        f"assert os.environ['A'] == 'b' and os.environ['OMP_NUM_THREADS'] == '2'; pathlib.Path(sys.argv[2]).write_text('''{figures}''')"
    )
    assert measure([sys.executable, "-c", script], _WORK, {"A": "b"}, tmp_path).encoder_ms == [1.0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("raise SystemExit('first line\\nno such picture')", "measuring anyone failed: no such picture$"),
        ("import os; os._exit(3)", "measuring anyone failed: exit status 3$"),
        ("pass", "measuring anyone gave no figures: .*No such file"),
        (
            "import sys; open(sys.argv[2], 'w').write('{}')",
            "measuring anyone gave no figures: .*missing required field",
        ),
    ],
)
def test_a_process_that_fails_is_one_line(script: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=message):
        measure([sys.executable, "-c", script], _WORK, {}, tmp_path)


def test_the_schedule_learns_how_fast_this_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("benchmarks.schedule.time.monotonic", lambda: now)
    said: list[str] = []
    schedule = Schedule([60, 120], said.append)
    with schedule.step("one", 60):
        now += 180
    with schedule.step("two", 120):
        pass
    assert said == ["measuring one (1 of 2, about 3 min left)", "measuring two (2 of 2, about 6 min left)"]


def test_all_compared_models_are_ours_or_a_rivals() -> None:
    assert {name for name, model in COMPARED.items() if not model.rival} == set(IMAGE_ENCODERS) - {"mobilesam"}


def _measured(encoder_ms: list[float], decoder_ms: dict[str, list[float]]) -> Measured:
    return Measured(
        encoder_ms=encoder_ms,
        decoder_ms=decoder_ms,
        frame_ms=[50.0],
        load_ms=10.0,
        first_ms=60.0,
        rss_mb=500.0,
        threads=1,
        backend="torch",
    )


def _with_encoder(measured: Measured, encoder_ms: list[float]) -> Measured:
    return msgspec.structs.replace(measured, encoder_ms=encoder_ms)
