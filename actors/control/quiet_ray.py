"""How a Ray of our own is kept from doing what nobody on one node needs."""

import os
from collections.abc import Mapping

# A Ray of our own has one node and a handful of actors, and moves no objects; by default it looks ten times a
# second after what it does not have (docs/decisions/0007). None of this is how it learns of an actor's death.
_QUIET_CONFIG: Mapping[str, bool | int] = {
    # For Ray's dashboard, its Prometheus port and `ray list tasks`; Doorstep has metrics of its own.
    "enable_metrics_collection": False,
    "event_stats": False,
    "task_events_report_interval_ms": 0,
    "debug_dump_period_milliseconds": 0,
    # The raylet: once a second is often enough for its resources, disk, memory and objects.
    "raylet_report_resources_period_milliseconds": 1000,
    "raylet_check_gc_period_milliseconds": 1000,
    "object_manager_timer_freq_ms": 1000,
    "local_fs_monitor_interval_ms": 1000,
    "memory_monitor_refresh_ms": 1000,
    "kill_idle_workers_interval_ms": 1000,
    # Three threads, not six to 24, wait for objects of other nodes; and no autoscaler wants to know the load.
    "object_manager_rpc_threads_num": 1,
    "gcs_pull_resource_loads_period_milliseconds": 60_000,
}


def quiet_config() -> dict[str, bool | int]:
    """What `ray.init` is to set, except what a `RAY_…` environment variable says: somebody wants it so."""
    return {name: value for name, value in _QUIET_CONFIG.items() if f"RAY_{name}" not in os.environ}
