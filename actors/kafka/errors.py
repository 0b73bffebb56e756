"""What may go wrong between us and Kafka."""


class KafkaUnavailableError(Exception):
    """Kafka did not answer, or refused: the infrastructure's fault. Try the same again."""


class StandInError(Exception):
    """A broker lacks what every Kafka has: it only stands for one, as the demo's does."""


class FencedError(Exception):
    """The group has a later member of our instance id: another process of the same actor, or we ourselves,
    and a commit of before came after."""


ABSENT = "it does not exist"
"""Said of a topic. It may come into being with its first record: nothing is wrong yet."""
