"""What TensorBoard reads in its files."""

import struct

from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event


def read_events(folder) -> list[Event]:
    """The events of the only file in `folder`."""
    (file,) = folder.iterdir()
    return read_file(file)


def read_file(file) -> list[Event]:
    """The events of `file`: records of length, checksum, data, checksum."""

    def checked(data: bytes, mask: bytes) -> bytes:
        crc = crc32c(data)
        assert ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32 == struct.unpack("<I", mask)[0]
        return data

    data = file.read_bytes()
    events = []
    while data:
        (length,) = struct.unpack("<Q", checked(data[:8], data[8:12]))
        end = 12 + length
        events.append(Event.FromString(checked(data[12:end], data[end : end + 4])))
        data = data[end + 4 :]
    return events
