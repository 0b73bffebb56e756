from websockets.frames import Frame
from websockets.frames import Opcode as PeerOpcode

from doorstep.benchmarks.client import Client, Samples, State
from doorstep.benchmarks.dialect import Identity
from doorstep.benchmarks.frames import Opcode, client_frame
from doorstep.benchmarks.ledger import Exactness
from doorstep.benchmarks.ours import DoorstepDialect

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
WELCOME = b'{"event":"doorstep.welcome","data":{"cursor":"3-aa"},"cursor":"3-aa"}'
NOW = 1_000_000


def _frame(payload: bytes, opcode: PeerOpcode = PeerOpcode.TEXT) -> bytes:
    return Frame(opcode, payload).serialize(mask=False)


def _notification(number: int, user: int = 5) -> bytes:
    padding = b"x" * 300
    return b'{"seq":%d,"cursor":"%d-bb","data":{"mark":"%d-%d-%d","pad":"%b"}}' % (
        number,
        number,
        user,
        number,
        NOW - number,
        padding,
    )


def _client(samples: Samples | None = None) -> Client:
    return Client(DoorstepDialect(8000), Identity("u-5", "token"), 5, samples or Samples())


def _live(samples: Samples | None = None) -> Client:
    client = _client(samples)
    client.open()
    client.received(HEAD + _frame(WELCOME), NOW)
    return client


def test_it_is_live_once_it_was_welcomed() -> None:
    client = _client()
    request = client.open()
    assert request.startswith(b"GET /v1/ws HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer token\r\n" in request

    states = [client.state]
    for data in (HEAD, _frame(WELCOME)):
        client.received(data, NOW)
        states.append(client.state)

    assert states == [State.OPENING, State.OPENING, State.LIVE]


def test_a_refusal_is_kept() -> None:
    client = _client()
    client.open()

    client.received(b"HTTP/1.1 429 Too Many Requests\r\n\r\n{}", NOW)

    assert client.state is State.REFUSED
    assert client.verdict == "HTTP/1.1 429 Too Many Requests"


def test_events_are_counted_with_the_time_since_they_were_due() -> None:
    samples = Samples()
    client = _live(samples)

    for number in (1, 2, 3):
        assert client.received(_frame(_notification(number)), NOW + number) == b""

    assert client.ledger.settle(3) == Exactness(3, 3)
    assert list(samples.dues) == [NOW - 1, NOW - 2, NOW - 3]
    assert list(samples.latencies) == [2, 4, 6]


def test_however_the_bytes_are_cut_the_same_events_are_counted() -> None:
    data = HEAD + _frame(WELCOME) + b"".join(_frame(_notification(number)) for number in range(1, 6))
    for size in (1, 2, 3, 7, 100, 349, 350, 351, 1000, len(data)):
        client = _client()
        client.open()
        for start in range(0, len(data), size):
            client.received(data[start : start + size], NOW)

        assert client.state is State.LIVE
        assert client.ledger.settle(5) == Exactness(5, 5), size


def test_repeats_and_strangers_are_no_samples() -> None:
    samples = Samples()
    client = _live(samples)

    for payload in (_notification(1), _notification(1), _notification(2, user=6)):
        client.received(_frame(payload), NOW)

    assert len(samples.dues) == 1
    assert client.ledger.settle(1) == Exactness(1, 1, duplicates=1, foreign=1)


def test_pings_are_answered() -> None:
    client = _live()

    answer = client.received(_frame(_notification(1)) + _frame(b"now", PeerOpcode.PING), NOW)

    assert answer == client_frame(Opcode.PONG, b"now")


def test_it_comes_back_from_where_it_was() -> None:
    client = _live()
    client.closed()
    assert b"GET /v1/ws?cursor=3-aa HTTP/1.1" in client.open()

    client.received(HEAD + _frame(WELCOME) + _frame(_notification(4)), NOW)
    client.closed()

    assert client.state is State.OFFLINE
    assert b"GET /v1/ws?cursor=4-bb HTTP/1.1" in client.open()


def test_a_reset_is_counted_and_its_cursor_is_the_new_place() -> None:
    client = _live()

    client.received(_frame(b'{"event":"doorstep.reset","data":{"reason":"gone"},"cursor":"9-cc"}'), NOW)

    assert client.resets == 1
    assert b"cursor=9-cc" in client.open()


def test_it_remembers_why_it_was_closed() -> None:
    client = _live()

    client.received(_frame((1013).to_bytes(2, "big") + b"slow", PeerOpcode.CLOSE), NOW)

    assert client.verdict == "closed with 1013"
