"""Identities by ThingsBoard's own library, as a program: `tb_provision.py HOST PORT REQUESTS_AS_JSON`.

Prints what `TBDeviceMqttClient.provision` gave for each, as a JSON array. Run with the library's directory
first on the path.
"""

import json
import sys
from typing import Any

from tb_device_mqtt import TBDeviceMqttClient


def main(host: str, port: str, requests: str) -> list[Any]:
    return [TBDeviceMqttClient.provision(host, port=int(port), **request) for request in json.loads(requests)]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])) + "\n")
