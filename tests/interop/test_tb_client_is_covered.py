"""Every public method of tb-mqtt-client is used by a device of these tests, or concerns no server."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools import TB_CLIENT

CLASSES = {
    "tb_device_mqtt": ("TBDeviceMqttClient", "ProvisionClient"),
    "tb_device_http": ("TBHTTPDevice",),
}
LOCAL = {
    "TBDeviceMqttClient.on_service_configuration": "called by the library with the session's limits",
    "TBDeviceMqttClient.max_inflight_messages_set": "sets a bound of its own sending",
    "TBDeviceMqttClient.max_queued_messages_set": "sets a bound of its own queue",
    "TBDeviceMqttClient.reconnect_delay_set": "sets how long it waits between attempts",
    "TBDeviceMqttClient.clean_device_sub_dict": "forgets callbacks",
    "TBDeviceMqttClient.add_attrs_request_timeout": "notes how long it waits for an answer",
    "TBHTTPDevice.start_publish_worker": "starts a thread; connect calls it",
    "TBHTTPDevice.stop_publish_worker": "tells a thread to end",
}
"""Methods that send nothing, and why nothing needs to be shown of them."""


def public_methods(module: str, name: str) -> Iterator[str]:
    """Read, not imported: its paho has the import name of another one."""
    tree = ast.parse((TB_CLIENT / f"{module}.py").read_text())
    [found] = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    for node in found.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and not is_property(node):
            yield f"{name}.{node.name}"


def is_property(node: ast.FunctionDef) -> bool:
    return any("property" in mark or ".setter" in mark for mark in map(ast.unparse, node.decorator_list))


def used_methods(name: str) -> set[str]:
    """What is asked of anything in the programs that import the class."""
    used = set()
    for program in Path(__file__).parent.glob("tb_*.py"):
        nodes = list(ast.walk(ast.parse(program.read_text())))
        imported = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
        if name in imported:
            used |= {f"{name}.{node.attr}" for node in nodes if isinstance(node, ast.Attribute)}
    return used


@pytest.mark.needs(str(TB_CLIENT))
def test_every_method_is_used_or_local() -> None:
    public = {
        method for module in CLASSES for name in CLASSES[module] for method in public_methods(module, name)
    }
    used = {method for names in CLASSES.values() for name in names for method in used_methods(name)}
    assert len(public) > 30
    assert public - used - LOCAL.keys() == set(), "use it in a program of tests/interop, or say why not"
    assert LOCAL.keys() - public == set(), "the library does not have it any more"
    assert LOCAL.keys() & used == set(), "it is used: it need not be excused"
