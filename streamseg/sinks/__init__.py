"""Where results go: subscribers, the record process, the loop over a `Pipeline`, the supervisor, files.

May import `ipc`, `wire`, `config` and what lies below; drawing is passed in. See `sink.py` for the protocol.
"""
