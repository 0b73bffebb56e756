"""Asks the sentinels which server is the master."""

import hiredis

from doorstep.actors.store.redis.address import Target
from doorstep.actors.store.redis.errors import StoreUnavailable
from doorstep.actors.store.redis.link import Address, Link
from doorstep.actors.store.redis.race import first_answer


async def find_master(target: Target) -> Address:
    """The master's address, from the sentinel that answers first. Raises `StoreUnavailable`.

    Whether it still is the master shows at the login.
    """
    questions = [_ask(sentinel, target) for sentinel in target.addresses]
    return await first_answer(questions, f"no sentinel knows the master of {target.service!r}")


async def _ask(sentinel: Address, target: Target) -> Address:
    link = await Link.open(sentinel, target.sentinel_login)
    try:
        said = await link.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", target.service or "")
    except hiredis.ReplyError as error:
        raise StoreUnavailable(f"the sentinel at {sentinel} refused to answer: {error}") from error
    finally:
        link.close()
    if said is None:
        raise StoreUnavailable(f"the sentinel at {sentinel} does not know it")
    host, port = said
    return Address(host.decode(), int(port))
