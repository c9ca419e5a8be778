#!/usr/bin/env python3
"""A device that proves itself with its access token; TLS proves only the server. With paho-mqtt 2.

Needs `pip install paho-mqtt`; `python one-way-ssl-mqtt-client.py --help` lists the options. The token is read
from the environment variable DEVICE_TOKEN, so that it does not stand in the list of processes.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode


def main() -> None:
    parser = argparse.ArgumentParser(description="A device that proves itself with its access token.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", default=8883, type=int)
    parser.add_argument("--ca-certs", default="mqttserver.pub.pem")
    options = parser.parse_args()
    token = os.environ.get("DEVICE_TOKEN")
    if not token:
        raise SystemExit("Set DEVICE_TOKEN to the device's access token first.")

    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(token)
    client.tls_set(ca_certs=options.ca_certs, cert_reqs=ssl.CERT_REQUIRED)
    refused = []

    def on_connect(
        client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        print(f"Connected with result code {reason.value}", flush=True)
        if reason.is_failure:
            refused.append(str(reason))
            client.disconnect()
        else:
            client.publish("v1/devices/me/telemetry", json.dumps({"temperature": 21.5}), qos=1)

    client.on_connect = on_connect
    client.on_publish = lambda client, *_: client.disconnect()  # acknowledged, so it is stored
    try:
        client.connect(options.host, options.port)
    except OSError as error:
        raise SystemExit(f"Cannot reach {options.host}:{options.port}: {error}.") from None
    client.loop_forever(retry_first_connection=False)
    if refused:
        raise SystemExit(f"Refused: {refused[0]}. On the server, `thingpass connections --refused` says why.")


if __name__ == "__main__":
    main()
