"""Frames of other programs: `FrameSender`, which such a program uses, and the source that takes them.

The sender uses the wire alone; the source also uses settings and sources.
"""
