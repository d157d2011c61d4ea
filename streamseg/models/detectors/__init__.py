"""Detectors: a frame in, boxes out. None of them needs PyTorch, and only YOLOX needs ONNX Runtime."""
