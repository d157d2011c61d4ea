"""Segmenters: a frame and boxes in, masks out. `mobile_sam` may use `sam`; `nano` uses neither, nor PyTorch."""
