"""The process of a consumer."""

from doorstep.actors.consuming.consumer import Consumer
from doorstep.actors.control.actor_process import ActorProcess
from doorstep.actors.control.nodes import this_actor
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.config.settings import Settings


class ConsumerProcess(ActorProcess):
    """Runs a consumer."""

    def make(self, name: str, settings: Settings, run: RunDirectory) -> Consumer:
        """The consumer."""
        return Consumer(name, settings, f"{name}.{this_actor()}")
