"""Between processes on this machine: frames in shared memory, descriptors over links, control over pipes."""
