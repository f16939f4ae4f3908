"""What is in the files that a run writes for TensorBoard."""

import struct


def events(folder):
    """Read event files: TFRecords (length, its checksum, bytes, their checksum) of protobufs."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            found.append(Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return found
