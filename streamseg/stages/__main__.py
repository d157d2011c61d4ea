"""Runs one stage: `python -m streamseg.stages MODULE`. The module is imported only once the supervisor is listened to."""

from __future__ import annotations

import sys

from streamseg.stages.base import run_stage

run_stage(sys.argv[1])
