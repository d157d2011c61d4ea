"""The processes of the pipeline. Start with `base`: what every stage gets and does.

A stage may use models, propagate, sinks and ipc, and imports no other stage.
"""
