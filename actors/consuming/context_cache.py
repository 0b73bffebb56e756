"""The users of batches that were looked up lately."""


class ContextCache:
    """Batch -> user, for batches without parked events. Contexts never change, so neither does an entry."""

    def __init__(self, limit: int = 50_000) -> None:
        """Keeps the `limit` batches that were learnt last."""
        self._limit = limit
        self._users: dict[str, str] = {}

    def get(self, batch_id: str) -> str | None:
        """The user of a batch; None if it is not kept here."""
        return self._users.get(batch_id)

    def learn(self, batch_id: str, user_id: str) -> None:
        """Keep the user of a batch of which no event is parked any more."""
        if len(self._users) >= self._limit and batch_id not in self._users:
            del self._users[next(iter(self._users))]
        self._users[batch_id] = user_id

    def forget_all(self) -> None:
        """Redis has lost its contexts: what follows must be parked there until they are back."""
        self._users.clear()
