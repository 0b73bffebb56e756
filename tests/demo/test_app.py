"""What the demo decides of the settings."""

import socket
from pathlib import Path

from doorstep.config.settings import AdminSettings, GatewaySettings, Settings
from doorstep.demo.app import _with_demo_values
from doorstep.development.ports import free_port


def _ports(port: int) -> tuple[int, int]:
    settings = Settings(gateway=GatewaySettings(port=port), admin=AdminSettings(port=port))
    decided = _with_demo_values(settings, "127.0.0.1", 8000)
    return decided.gateway.port, decided.admin.port


def test_a_port_that_is_free_is_kept() -> None:
    port = free_port()
    assert _ports(port) == (port, port)


def test_one_that_is_taken_is_replaced_by_one_that_no_outgoing_connection_gets() -> None:
    """Between the choice and the gateway that listens there are seconds."""
    first, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        replaced = {*_ports(taken.getsockname()[1]), *_ports(0)}
    assert len(replaced) == 4
    assert max(replaced) < first
