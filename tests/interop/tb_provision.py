"""Identities by ThingsBoard's own library, as a program: `tb_provision.py HOST PORT REQUESTS_AS_JSON`.

Prints what `TBDeviceMqttClient.provision` gave for each, as a JSON array; and for one that is in the form
that is sent, what the helper under it gave. Run with the library's directory first on the path.
"""

import json
import sys
from typing import Any

from tb_device_mqtt import ProvisionClient, TBDeviceMqttClient


def main(host: str, port: str, requests: str) -> list[Any]:
    return [provision(host, int(port), request) for request in json.loads(requests)]


def provision(host: str, port: int, request: dict[str, Any]) -> Any:
    if "provisionDeviceKey" not in request:
        return TBDeviceMqttClient.provision(host, port=port, **request)
    client = ProvisionClient(host, port, request)
    client.provision(timeout=20)
    return client.get_credentials()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])) + "\n")
