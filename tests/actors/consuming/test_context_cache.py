"""The cache of contexts is bounded, and can be emptied."""

from doorstep.actors.consuming.context_cache import ContextCache


def test_it_keeps_what_was_learnt_last() -> None:
    cache = ContextCache(limit=2)
    for batch, user in (("a", "1"), ("b", "2"), ("b", "2"), ("c", "3")):
        cache.learn(batch, user)
    assert [cache.get(batch) for batch in "abc"] == [None, "2", "3"]


def test_it_can_be_emptied() -> None:
    cache = ContextCache()
    cache.learn("a", "1")
    cache.forget_all()
    assert cache.get("a") is None
