"""The weights known by name: their source and their SHA-256."""

from __future__ import annotations

from dataclasses import dataclass

from streamseg.errors import WeightsError
from streamseg.spelling import suggestion

_MOBILE_SAM = (
    "https://raw.githubusercontent.com/ChaoningZhang/MobileSAM/f706ad9c4eb7f219c00d9050e46328518ffb65d2/weights"
)
_SAM = "https://dl.fbaipublicfiles.com/segment_anything"
_YOLOX = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One file of the catalogue.

    Attributes:
        name: As in `detector.model` and `segmenter.model`.
        filename: Name in the cache.
        url: Source of the download.
        sha256: In lower-case hexadecimal.
        size: In bytes; None if it is unknown.
        licence: SPDX name of the publishing repository's licence.
        alias: File name of the same model in other projects; None if there is none.
    """

    name: str
    filename: str
    url: str
    sha256: str
    size: int | None = None
    licence: str = "Apache-2.0"
    alias: str | None = None


CATALOGUE = (
    Weights(
        name="mobilesam",
        filename="mobile_sam.pt",
        url=f"{_MOBILE_SAM}/mobile_sam.pt",
        size=40_728_226,
        sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
    ),
    Weights(
        name="sam-vit-b",
        filename="sam_vit_b_01ec64.pth",
        url=f"{_SAM}/sam_vit_b_01ec64.pth",
        size=375_042_383,
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        alias="sam_b.pt",
    ),
    Weights(
        name="sam-vit-l",
        filename="sam_vit_l_0b3195.pth",
        url=f"{_SAM}/sam_vit_l_0b3195.pth",
        size=1_249_524_607,
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        alias="sam_l.pt",
    ),
    Weights(
        name="sam-vit-h",
        filename="sam_vit_h_4b8939.pth",
        url=f"{_SAM}/sam_vit_h_4b8939.pth",
        size=2_564_550_879,
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        alias="sam_h.pt",
    ),
    Weights(
        name="yolox-nano",
        filename="yolox_nano.onnx",
        url=f"{_YOLOX}/yolox_nano.onnx",
        size=3_659_407,
        sha256="c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d",
    ),
    Weights(
        name="yolox-tiny",
        filename="yolox_tiny.onnx",
        url=f"{_YOLOX}/yolox_tiny.onnx",
        size=20_219_662,
        sha256="427cc366d34e27ff7a03e2899b5e3671425c262ea2291f88bb942bc1cc70b0f7",
    ),
    Weights(
        name="yolox-s",
        filename="yolox_s.onnx",
        url=f"{_YOLOX}/yolox_s.onnx",
        size=35_858_002,
        sha256="c5c2d13e59ae883e6af3b45daea64af4833a4951c92d116ec270d9ddbe998063",
    ),
    Weights(
        name="yolox-m",
        filename="yolox_m.onnx",
        url=f"{_YOLOX}/yolox_m.onnx",
        size=101_259_744,
        sha256="21ff6cfdeb53b013bac2249599e55f00bff3cfdfdab37ed7a4620818c1d15b3f",
    ),
    Weights(
        name="yolox-l",
        filename="yolox_l.onnx",
        url=f"{_YOLOX}/yolox_l.onnx",
        size=216_746_733,
        sha256="7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411",
    ),
    Weights(
        name="yolox-x",
        filename="yolox_x.onnx",
        url=f"{_YOLOX}/yolox_x.onnx",
        sha256="c892d7aaf1c4746d8a4d675bec669a4db4f434b4ee1efb654bc9b353379c7c55",
    ),
)


def look_up(name: str) -> Weights | None:
    """The entry with this name, file name or alias; None if there is none."""
    return next((weights for weights in CATALOGUE if name in (weights.name, weights.filename, weights.alias)), None)


def find(name: str) -> Weights:
    """The entry with this name, file name or alias.

    Raises:
        WeightsError: There is none.
    """
    entry = look_up(name)
    if entry is None:
        raise WeightsError(f"no weights are known as {name!r}; expected one of {known_names(name)}")
    return entry


def known_names(word: str) -> str:
    """Names and file names of all entries, and the one most like a word, for the end of an error."""
    names = ", ".join(f"{weights.name} ({weights.filename})" for weights in CATALOGUE)
    return names + suggestion(word, [known for weights in CATALOGUE for known in (weights.name, weights.filename)])
