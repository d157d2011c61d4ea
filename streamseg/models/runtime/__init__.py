"""Runs networks: ONNX Runtime, OpenVINO or PyTorch behind one call. Imports none of the three before it is used."""
