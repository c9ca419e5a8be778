"""A gateway by paho-mqtt: how its users see that one device's part of a message could not be used."""

from __future__ import annotations

import json
import queue
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTProtocolVersion
from paho.mqtt.enums import CallbackAPIVersion

from tests import gateway as g
from tests.running_server import RunningServer

PATIENCE_S = 10


@pytest.mark.parametrize("version", [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
def test_a_bad_part_beside_a_good_one(plain_server: RunningServer, version: MQTTProtocolVersion) -> None:
    gateway, one, other = g.make_gateway(plain_server), g.new_name(), g.new_name()
    heard: queue.Queue[tuple[str, Any, Any]] = queue.Queue()
    client = Client(CallbackAPIVersion.VERSION2, client_id="gateway", protocol=version)
    client.username_pw_set(gateway.token)
    client.on_connect = lambda *seen: heard.put(("connected", seen[3], None))
    client.on_publish = lambda *seen: heard.put(("acknowledged", seen[3], seen[4]))
    client.on_disconnect = lambda *seen: heard.put(("lost", seen[3], None))
    client.connect("127.0.0.1", plain_server.mqtt_port)
    client.loop_start()
    assert heard.get(timeout=PATIENCE_S)[0] == "connected"
    client.publish(g.TELEMETRY, json.dumps({one: [{"a": 1}], other: [5]}), qos=1)
    what, code, properties = heard.get(timeout=PATIENCE_S)
    client.disconnect()
    client.loop_stop()
    if version == MQTTProtocolVersion.MQTTv5:
        assert (what, code.value) == ("acknowledged", 0x99)
        assert other[:20] in properties.ReasonString
    else:
        assert what == "lost"
    g.wait_for(lambda: g.latest(plain_server, one) == {"a": 1}, "the other device's values")
