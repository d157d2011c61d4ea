"""Figures as a run of `streamseg bench models` could give them."""

from __future__ import annotations

from benchmarks.model_figures import (
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
    RoundFigures,
    SegmenterFigures,
    Slowdowns,
    speedups,
)
from streamseg.bench.machine import Machine


def sample_figures() -> ModelsFigures:
    """All of them, but for the detector's."""
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
