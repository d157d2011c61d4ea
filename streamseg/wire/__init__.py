"""The wire format, version 1: bytes in, messages out; no sockets."""
