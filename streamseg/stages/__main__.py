"""Runs one stage: `python -m streamseg.stages MODULE`. It imports the module when the control pipe is open."""

from __future__ import annotations

import sys

from streamseg.stages.process import run_stage

run_stage(sys.argv[1])
