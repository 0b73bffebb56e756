import orjson

from doorstep.benchmarks.centrifugo import CentrifugoDialect
from doorstep.benchmarks.client import Client, Samples, State
from doorstep.benchmarks.dialect import Identity
from doorstep.benchmarks.frames import Opcode, client_frame
from doorstep.benchmarks.ledger import Exactness

HEAD = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
NOW = 1_000_000


def _frame(payload: bytes) -> bytes:
    assert len(payload) < 1 << 16
    return bytes((0x81, 126)) + len(payload).to_bytes(2, "big") + payload


def _push(number: int) -> bytes:
    return b'{"push":{"channel":"usr:#u-5","pub":{"data":{"data":{"mark":"5-%d-%d"}},"offset":%d}}}' % (
        number,
        NOW,
        number,
    )


def _reply(**state: object) -> bytes:
    subs = {"usr:#u-5": {"recoverable": True, "epoch": "ep", "positioned": True, **state}}
    return orjson.dumps({"id": 1, "connect": {"client": "c", "subs": subs}})


def _opened() -> Client:
    client = Client(CentrifugoDialect(8100), Identity("u-5", "token"), 5, Samples())
    client.open()
    return client


def test_it_asks_with_its_token_and_is_live_with_the_reply() -> None:
    client = _opened()

    assert client.received(HEAD, NOW) == client_frame(Opcode.TEXT, b'{"id":1,"connect":{"token":"token"}}')
    client.received(_frame(_reply()), NOW)

    assert client.state is State.LIVE


def test_messages_that_share_a_frame_all_count_and_a_ping_among_them_is_answered() -> None:
    client = _opened()
    client.received(HEAD + _frame(_reply()), NOW)

    answer = client.received(_frame(_push(1) + b"\n{}\n" + _push(2)), NOW)

    assert answer == client_frame(Opcode.TEXT, b"{}")
    assert client.ledger.settle(2) == Exactness(2, 2)


def test_it_recovers_from_its_offset_and_counts_what_the_reply_brings() -> None:
    client = _opened()
    client.received(HEAD + _frame(_reply()) + _frame(_push(1)), NOW)
    client.closed()
    client.open()

    greeting = client.received(HEAD, NOW)
    missed = [orjson.loads(_push(number))["push"]["pub"] for number in (2, 3)]
    client.received(_frame(_reply(publications=missed, recovered=True, was_recovering=True, offset=3)), NOW)

    assert b'"subs": {"usr:#u-5": {"recover": true, "offset": 1, "epoch": "ep"}}' in greeting
    assert client.state is State.LIVE
    assert client.ledger.settle(3) == Exactness(3, 3)


def test_a_recovery_that_failed_is_a_reset() -> None:
    client = _opened()
    client.received(HEAD + _frame(_reply(was_recovering=True)), NOW)

    assert client.resets == 1
