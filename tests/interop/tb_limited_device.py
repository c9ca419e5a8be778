"""ThingsBoard's own library and rate limits, as a program: `tb_limited_device.py PORT CA_FILE CERT_FILE`.

Sends more messages at once than a second allows; prints what the library knew of the limits.
"""

import json
import sys
import time
from typing import Any

from tb_device_mqtt import TBDeviceMqttClient

MESSAGES = 60
PATIENCE_S = 20.0


def main(port: str, ca_file: str, cert_file: str) -> dict[str, Any]:
    client = TBDeviceMqttClient("127.0.0.1", port=int(port))
    client.connect(tls=True, ca_certs=ca_file, cert_file=cert_file)
    deadline = time.monotonic() + PATIENCE_S
    while not client.rate_limits_received and time.monotonic() < deadline:
        time.sleep(0.05)
    for number in range(MESSAGES):
        client.send_telemetry([{"ts": 1000 + number, "values": {"n": number}}])
    limit = client._messages_rate_limit, client._telemetry_rate_limit
    known = {"connected": client.is_connected(), "limits": [each.has_limit() for each in limit]}
    sys.stdin.read()  # until everything is stored
    client.disconnect()
    client.stop()
    return known


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])) + "\n")
