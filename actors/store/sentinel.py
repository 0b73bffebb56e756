"""Asks sentinels which server is the master."""

import hiredis

from doorstep.actors.store.address import Target
from doorstep.actors.store.errors import StoreUnavailable
from doorstep.actors.store.link import Address, Link


async def find_master(target: Target) -> Address:
    """The master's address, from the first sentinel that knows it. Raises `StoreUnavailable`."""
    reasons = []
    for sentinel in target.addresses:
        try:
            return await _ask(sentinel, target)
        except StoreUnavailable as error:
            reasons.append(str(error))
    raise StoreUnavailable(f"no sentinel knows the master of {target.service!r}: {'; '.join(reasons)}")


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
