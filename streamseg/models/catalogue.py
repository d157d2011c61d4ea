"""The weights that are known by name: where they come from, and how to tell that they are what they claim to be."""

from __future__ import annotations

from dataclasses import dataclass

_MOBILE_SAM = "https://raw.githubusercontent.com/ChaoningZhang/MobileSAM/f706ad9c4eb7f219c00d9050e46328518ffb65d2/weights"
_YOLOX = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One file of the catalogue.

    Attributes:
        name: As in `detector.model` and `segmenter.model`.
        filename: Its name in the cache.
        url: Where it is downloaded from.
        size: In bytes; None where it was never established.
        sha256: In lower-case hexadecimal; None where it was never established, and the user must give it.
    """

    name: str
    filename: str
    url: str
    size: int | None = None
    sha256: str | None = None


CATALOGUE = (
    Weights(
        name="mobilesam",
        filename="mobile_sam.pt",
        url=f"{_MOBILE_SAM}/mobile_sam.pt",
        size=40_728_226,
        sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
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
    Weights(name="yolox-s", filename="yolox_s.onnx", url=f"{_YOLOX}/yolox_s.onnx"),
    Weights(name="yolox-m", filename="yolox_m.onnx", url=f"{_YOLOX}/yolox_m.onnx"),
    Weights(name="yolox-l", filename="yolox_l.onnx", url=f"{_YOLOX}/yolox_l.onnx"),
    Weights(name="yolox-x", filename="yolox_x.onnx", url=f"{_YOLOX}/yolox_x.onnx"),
)
