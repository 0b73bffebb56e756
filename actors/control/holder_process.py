"""The process of a holder."""

from functools import partial

from doorstep.actors.control.actor_process import ActorProcess
from doorstep.actors.control.homes import Homes
from doorstep.actors.control.nodes import public_name_here
from doorstep.actors.control.spec_watch import SpecWatch
from doorstep.actors.holding.holder import Holder
from doorstep.actors.placement.cell import Cell, node_of
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.actors.placement.spec import Spec
from doorstep.actors.runtime.main_task import MainTask
from doorstep.config.settings import Settings
from doorstep.gateway.succession import PUBLIC_PORT, Heir


class HolderProcess(ActorProcess):
    """Runs a holder."""

    def make(self, name: str, settings: Settings, run: RunDirectory) -> Holder:
        """The holder; it follows the spec: how many holders its cell has, and whether its node is drained."""
        node = node_of(name)

        def follow(spec: Spec) -> None:
            holder.belong_to(Cell.of(node, spec.holders, spec.edition))
            holder.drain(spec.draining.get(node))

        watch = SpecWatch(settings, run, follow)
        holder = Holder(name, settings, Cell.of(node, watch.spec.holders, watch.spec.edition), run)
        holder.drain(watch.spec.draining.get(node))
        self._watching = MainTask(watch.run())
        if settings.gateway.has_homes:
            self._homing = MainTask(
                Homes(settings, partial(public_name_here, settings), holder.be_home_of).run()
            )
        if name == Cell.of(node, 1, watch.spec.edition).holders[0]:
            self._inheriting = MainTask(Heir(run.ports_socket, run.edition, PUBLIC_PORT).run())
        return holder
