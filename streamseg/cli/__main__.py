"""The command line as `python -m streamseg.cli`."""

from __future__ import annotations

from streamseg.cli import main

main()
