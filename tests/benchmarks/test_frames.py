import pytest
from websockets.frames import Frame
from websockets.frames import Opcode as PeerOpcode
from websockets.protocol import OPEN, SERVER
from websockets.server import ServerProtocol

from doorstep.benchmarks.frames import Opcode, client_frame, split_frames

SIZES = (0, 1, 125, 126, 127, 65_535, 65_536, 200_000)


def _served(opcode: PeerOpcode, payload: bytes) -> bytes:
    return Frame(opcode, payload).serialize(mask=False)


@pytest.mark.parametrize("size", SIZES)
def test_a_server_understands_our_frames(size: int) -> None:
    server = ServerProtocol(state=OPEN, max_size=None)
    assert server.side is SERVER

    server.receive_data(client_frame(Opcode.TEXT, b"x" * size))

    (frame,) = server.events_received()
    assert isinstance(frame, Frame)
    assert frame.opcode == PeerOpcode.TEXT
    assert frame.data == b"x" * size


@pytest.mark.parametrize("size", SIZES)
def test_frames_of_a_server_are_taken_apart(size: int) -> None:
    first, second = b"a" * size, b"b" * 3
    data = _served(PeerOpcode.TEXT, first) + _served(PeerOpcode.PING, second)

    frames, rest = split_frames(data)

    assert list(frames) == [(Opcode.TEXT, first), (Opcode.PING, second)]
    assert rest == b""


@pytest.mark.parametrize("size", [0, 130, 65_536])
def test_wherever_the_bytes_are_cut_the_frames_are_the_same(size: int) -> None:
    data = _served(PeerOpcode.TEXT, b"a" * size) + _served(PeerOpcode.TEXT, b"end")
    for cut in {*range(20), len(data) // 2, *range(len(data) - 8, len(data))} & set(range(len(data))):
        early, rest = split_frames(data[:cut])
        late, left = split_frames(rest + data[cut:])

        assert [payload for _, payload in (*early, *late)] == [b"a" * size, b"end"]
        assert left == b""
