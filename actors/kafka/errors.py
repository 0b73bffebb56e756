"""What may go wrong between us and Kafka."""


class KafkaUnavailableError(Exception):
    """Kafka did not answer, or refused: the infrastructure's fault. Try the same again."""


ABSENT = "it does not exist"
"""Said of a topic. It may come into being with its first record: nothing is wrong yet."""
