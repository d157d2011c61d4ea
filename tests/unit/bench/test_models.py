from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks import models
from benchmarks.model_figures import (
    COUNTS,
    Agreement,
    Avx2Figures,
    ComparedFigures,
    Coverage,
    DecoderMs,
    DecoderRows,
    EncoderMs,
    FrameMs,
    IoU,
    ModelsFigures,
    OwnThreads,
    ParameterFigures,
    Passes,
    RoundFigures,
    SegmenterFigures,
    Slowdowns,
    speedups,
)
from benchmarks.model_process import AVX2, Measured, Work, run_work
from benchmarks.model_table import BEGIN, END, print_models, update_document
from benchmarks.models import COMPARED, ModelsOptions, bench_models
from benchmarks.rivals import PACKAGES, RivalError, rival_environment, rival_python
from streamseg.bench.machine import Machine
from streamseg.errors import StageError, UsageError, WeightsError
from streamseg.models.segmenters.sam import IMAGE_ENCODERS

_WORK = Work(
    subject="anything", weights="w.pt", picture="p.npy", boxes="b.npy", counts=(1, 5), frame_boxes=5, threads=2,
    rounds=3, budget_s=1.0,
)  # fmt: skip


def sample_figures() -> ModelsFigures:
    """Figures as a run could give them, without the detector's."""
    encoder = EncoderMs(original=1500.0, ours=375.0, ours_rect=300.0)
    decoder = DecoderRows(
        one=DecoderMs(original=80.0, ours=8.0),
        five=DecoderMs(original=400.0, ours=40.0),
        twenty=DecoderMs(original=2700.0, ours=160.0),
    )
    frame = FrameMs(original=2000.0, ultralytics=3600.0, ours=400.0)
    alike = Agreement(mean=0.995, min=0.98, predicted_iou=0.001)
    return ModelsFigures(
        date="2026-01-31",
        machine=Machine(cpu="AMD EPYC (avx512_bf16)", cores=2, memory_gb=25.3, system="Linux 6.1", python="3.11.7"),
        threads=2,
        picture="1280x720",
        weights="seeded",
        versions={"torch": "2.15.0"},
        rounds=RoundFigures(original=5, ultralytics=6, ours=20),
        backend="openvino",
        precision="bf16",
        encoder_ms=encoder,
        decoder_ms=decoder,
        frame_ms=frame,
        speedup=speedups(encoder, decoder, frame),
        ultralytics_own_threads=OwnThreads(threads=1, frame_ms=4000.0, speedup=10.0),
        iou=IoU(original=alike, ultralytics=alike, original_ultralytics=alike, square=alike),
        coverage=Coverage(min=0.09, max=0.23),
        avx2=Avx2Figures(
            backend="openvino",
            precision="fp32",
            note="",
            encoder_ms=encoder,
            decoder_ms=decoder,
            frame_ms=frame,
            iou=alike,
            speedup=speedups(encoder, decoder, frame),
            slowdown=Slowdowns(encoder=1.0, encoder_rect=1.0, decoder_20=1.0, frame=1.0),
        ),
        segmenter=SegmenterFigures(
            load_ms=1500.0, first_result_ms=450.0, rss_mb=600.0, original_rss_mb=1100.0, export_s=20.0
        ),
        detector=None,
        compared=(
            ComparedFigures(model="fastsam-s", frame_ms=900.0, rounds=2),
            ComparedFigures(model="sam-vit-h", skipped="needs 9 GB of memory, and 4.0 GB are free"),
        ),
        parameters=(
            ParameterFigures(
                model="mobilesam", image_encoder=1, prompt_encoder=2, mask_decoder=3, total=6, published=None
            ),
        ),
        missing=(),
    )


def measured(encoder_ms: list[float], decoder_ms: dict[str, list[float]], frame_ms: float = 50.0) -> Measured:
    return Measured(
        encoder_ms=encoder_ms,
        decoder_ms=decoder_ms,
        frame_ms=[frame_ms],
        load_ms=10.0,
        first_ms=60.0,
        rss_mb=500.0,
        threads=1,
        backend="torch",
    )


def test_keys_of_the_json() -> None:
    encoded = msgspec.json.encode(sample_figures())
    keys = json.loads(encoded)
    assert set(keys["encoder_ms"]) == {"original", "ours", "ours_rect"}
    assert {count: set(row) for count, row in keys["decoder_ms"].items()} == {
        str(count): {"original", "ours"} for count in COUNTS
    }
    assert set(keys["frame_ms"]) == {"original", "ultralytics", "ours"}
    assert set(keys["iou"]) == {"original", "ultralytics", "original_ultralytics", "square"}
    assert set(keys["avx2"]) == {
        "backend", "precision", "note", "encoder_ms", "decoder_ms", "frame_ms", "iou", "speedup", "slowdown",
    }  # fmt: skip
    assert set(keys) == {
        "date", "machine", "threads", "picture", "weights", "versions", "rounds", "backend", "precision", "encoder_ms",
        "decoder_ms", "frame_ms", "speedup", "ultralytics_own_threads", "iou", "coverage", "avx2", "segmenter",
        "detector", "compared", "parameters", "missing",
    }  # fmt: skip
    assert msgspec.json.decode(encoded, type=ModelsFigures) == sample_figures()


def test_only_the_text_between_the_markers_changes(tmp_path: Path) -> None:
    figures, document = tmp_path / "figures.json", tmp_path / "performance.md"
    figures.write_bytes(msgspec.json.encode(sample_figures()))
    document.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nThe rest.\n", "utf-8")
    update_document(figures, document)
    text = document.read_text("utf-8")
    assert text.startswith(f"# Title\n\n{BEGIN}\n| milliseconds, 1280") and text.endswith(f"{END}\n\nThe rest.\n")
    assert "old" not in text
    plain = text.replace("\N{MULTIPLICATION SIGN}", "x").replace("\N{EN DASH}", "-")
    assert "| encoder, square input | 1,500 | - | 375 | 4.0x | 375 | 4.0x |" in plain
    assert "| decoder, 20 boxes | 2,700 | - | 160 | 16.9x | 160 | 16.9x |" in plain
    assert "| frame with 5 boxes | 2,000 | 3,600 | 400 | 5.0x, 9.0x | 400 | 5.0x, 9.0x |" in plain
    assert "2026-01-31, AMD EPYC (avx512_bf16), 2 cores, 25 GB" in text and "0.9950 with the original" in text
    assert "fastsam-s 900 ms" in text and "sam-vit-h" not in text
    assert "Ultralytics uses 1 of 2 threads: 4,000 ms a frame, 10.0x." in plain
    update_document(figures, document)
    assert document.read_text("utf-8") == text


def test_the_document_has_the_markers() -> None:
    text = (Path(models.__file__).parents[2] / "docs" / "performance.md").read_text("utf-8")
    assert text.count(BEGIN) == text.count(END) == 1


@pytest.mark.parametrize("text", ["no markers", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}"])
def test_without_markers_the_document_stays(tmp_path: Path, text: str) -> None:
    figures, document = tmp_path / "figures.json", tmp_path / "performance.md"
    figures.write_bytes(msgspec.json.encode(sample_figures()))
    document.write_text(text, "utf-8")
    with pytest.raises(UsageError, match="expected one line"):
        update_document(figures, document)
    assert document.read_text("utf-8") == text


def test_wrong_options_fail_before_anything_is_measured() -> None:
    with pytest.raises(UsageError, match="'sam'; expected some of fastsam-s, fastsam-x, sam-vit-b"):
        ModelsOptions(compared=("sam",))
    with pytest.raises(UsageError, match="must be positive"):
        ModelsOptions(rounds=0)
    with pytest.raises(UsageError, match=r"nothing\.png cannot be read as a picture"):
        bench_models(ModelsOptions(image=Path("nothing.png")), lambda step: None)
    assert {name for name in COMPARED if name.startswith("sam")} == set(IMAGE_ENCODERS) - {"mobilesam"}


def test_without_rivals_everything_else_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs: list[tuple[str, Work, bool]] = []

    def no_rivals(report: object) -> Path:
        raise RivalError("pip could not install them: no network")

    def run(command: list[str], work: Work, environment: dict[str, str], folder: Path) -> Measured:
        runs.append((command[-1], work, set(AVX2) <= set(environment)))
        assert Path(environment["STREAMSEG_CACHE"]) == folder
        if work.masks is not None:
            np.savez(work.masks, masks=np.ones((20, 4, 4), np.bool_), scores=np.full(20, 0.8))
        decoder = {str(count): [float(count)] for count in work.counts}
        return measured([400.0, 200.0] if work.square else [100.0], decoder)

    def no_weights(weights: Path | None) -> None:
        raise WeightsError("yolox-nano is missing")

    monkeypatch.setattr(models, "rival_python", no_rivals)
    monkeypatch.setattr(models, "run_work", run)
    monkeypatch.setattr(models, "bench_detector", no_weights)
    monkeypatch.setattr(models, "write_seeded_checkpoint", lambda path, scene: path.touch())
    figures = bench_models(ModelsOptions(compared=("fastsam-s", "sam-vit-b"), rounds=2, threads=3), lambda step: None)

    assert (figures.encoder_ms.original, figures.frame_ms.ultralytics, figures.iou.original) == (None, None, None)
    assert (figures.encoder_ms.ours, figures.encoder_ms.ours_rect, figures.decoder_ms.twenty.ours) == (
        300.0,
        100.0,
        20.0,
    )
    assert figures.avx2.slowdown.encoder == 1.0 and figures.coverage.min == 1.0
    fastsam, vit_b = figures.compared
    assert fastsam.skipped == "Ultralytics could not be installed" and vit_b.skipped is None and vit_b.frame_ms == 50.0
    assert "no network" in figures.missing[0] and "yolox-nano is missing" in figures.missing[1]
    assert figures.detector is None and figures.threads == 3 and figures.weights == "seeded"
    assert [row.model for row in figures.parameters] == list(IMAGE_ENCODERS)

    assert all(command == "benchmarks.model_process" and work.threads == 3 for command, work, _ in runs)
    # Two that export, then two passes, the second in reverse order, then the other model.
    order = [(work.square, limited) for _, work, limited in runs]
    one_pass = [(False, False), (True, False), (False, True), (True, True)]
    assert order == [(False, False), (True, False), *one_pass, *reversed(one_pass), (False, False)]
    assert all(work.precision == "fp32" for _, work, limited in runs if limited)
    print_models(figures)
    assert "Not measured: the detector" in capsys.readouterr().out


def test_medians_cover_both_passes_and_masks_are_compared(tmp_path: Path) -> None:
    masks = np.zeros((2, 8, 8), np.bool_)
    masks[:, :4] = True
    np.savez(tmp_path / "original.npz", masks=masks, scores=np.array([0.5, 0.9]))
    masks[1, 4] = True
    np.savez(tmp_path / "ours.npz", masks=masks, scores=np.array([0.5, 0.8]))
    decoder = {"1": [1.0], "5": [5.0], "20": [20.0]}
    quick = measured([1.0, 2.0], decoder)
    originals = [measured([9.0], decoder), measured([1.0, 5.0], decoder)]
    passes = Passes({"original": originals, "ours": [quick]}, tmp_path)
    encoder, rows, _ = passes.medians()
    assert (encoder.original, encoder.ours, encoder.ours_rect) == (5.0, None, 1.5)
    assert (rows.five.original, rows.twenty.ours) == (5.0, 20.0)
    agreement = passes.iou().original
    assert agreement is not None and agreement.predicted_iou == pytest.approx(0.1)
    assert (agreement.mean, agreement.min) == pytest.approx((0.9, 0.8))
    assert passes.iou().ultralytics is None and passes.ultralytics_own_threads() is None
    slow = measured([], decoder, frame_ms=400.0)
    own = Passes({"ultralytics-own-threads": [slow], "ours": [quick]}, tmp_path).ultralytics_own_threads()
    assert own == OwnThreads(threads=1, frame_ms=400.0, speedup=8.0)


def test_a_process_receives_its_work_and_returns_its_figures(tmp_path: Path) -> None:
    figures = msgspec.json.encode(measured([1.0], {})).decode()
    script = (
        "import json, os, pathlib, sys; work = json.loads(pathlib.Path(sys.argv[1]).read_text())\n"
        "assert work['subject'] == 'anything' and work['counts'] == [1, 5]\n"
        "assert os.environ['CUDA_VISIBLE_DEVICES'] == ''\n"
        "assert os.environ['A'] == 'b' and os.environ['OMP_NUM_THREADS'] == '2'\n"
        f"pathlib.Path(sys.argv[2]).write_text('''{figures}''')"
    )
    assert run_work([sys.executable, "-c", script], _WORK, {"A": "b"}, tmp_path).encoder_ms == [1.0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("raise SystemExit('first line\\nno such picture')", "measuring anything failed: no such picture$"),
        ("import os; os._exit(3)", "measuring anything failed: exit status 3$"),
        ("pass", "measuring anything gave no figures: .*No such file"),
        ("import sys; open(sys.argv[2], 'w').write('{}')", "gave no figures: .*missing required field"),
    ],
)
def test_a_process_that_fails_gives_one_line(script: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=message):
        run_work([sys.executable, "-c", script], _WORK, {}, tmp_path)


def offer_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pip: str) -> list[Path]:
    """Set the cache, and let new environments have this source code as their pip; lists the environments made."""
    made: list[Path] = []

    def create(folder: Path, *, with_pip: bool) -> None:
        assert with_pip
        made.append(folder)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        package = folder / "lib" / f"python3.{sys.version_info[1]}" / "site-packages" / "pip"
        package.mkdir()
        (package / "__main__.py").write_text(pip)

    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("benchmarks.rivals.venv.create", create)
    return made


def test_a_failing_pip_gives_one_line_and_no_half_made_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = offer_pip(monkeypatch, tmp_path, "import sys; sys.exit('trying\\nERROR: no network')")
    steps: list[str] = []
    for _ in range(2):
        with pytest.raises(RivalError, match=r"^pip could not install mobilesam-mirror==.* and .*: no network$"):
            rival_python(steps.append)
    assert len(made) == len(steps) == 2 and steps[0].startswith("installing mobilesam-mirror==")


def test_the_environment_is_made_once_and_shares_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = offer_pip(monkeypatch, tmp_path, "import sys; assert '--no-deps' in sys.argv")
    python = rival_python(lambda step: None)
    assert rival_python(lambda step: pytest.fail("made again")) == python
    assert len(made) == 1 and python.is_relative_to(tmp_path / "cache")
    where = subprocess.check_output([python, "-c", "import numpy; print(numpy.__file__)"], text=True)
    assert where.strip() == np.__file__


def test_an_unwritable_cache_gives_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STREAMSEG_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(RivalError, match=r"cannot be written: .*; make room, or set STREAMSEG_CACHE"):
        rival_python(lambda step: None)


def test_rivals_neither_use_the_network_nor_write_elsewhere(tmp_path: Path) -> None:
    settings = rival_environment(tmp_path)
    assert settings["YOLO_OFFLINE"] == "1" and settings["YOLO_AUTOINSTALL"] == "false"
    assert settings["YOLO_CONFIG_DIR"] == settings["MPLCONFIGDIR"] == str(tmp_path)
    assert all(version[0].isdigit() for version in PACKAGES.values())


def test_the_rivals_process_does_not_import_streamseg() -> None:
    assert "streamseg" not in [
        line.split()[1].split(".")[0]
        for line in models._RIVAL_PROCESS.read_text().splitlines()
        if "import " in line[:12]
    ]
