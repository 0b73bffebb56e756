"""What may go wrong between us and Kafka."""


class KafkaUnavailableError(Exception):
    """Kafka did not answer, or refused: the infrastructure's fault. Try the same again."""
