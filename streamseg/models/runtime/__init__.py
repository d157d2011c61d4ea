"""Runs a network in ONNX Runtime, OpenVINO or PyTorch behind one call. None of the three is imported before its use.

`selection` picks a runtime, `loading` makes a network ready in it.
"""
