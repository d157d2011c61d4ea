"""Communication between the processes of one machine: frames in shared memory, links, control pipes.

May use messages, config and errors; imports no model, no wire format and no picture library.
"""
