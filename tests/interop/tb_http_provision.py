"""An identity by ThingsBoard's own HTTP class, as a program: `tb_http_provision.py URL NAME KEY SECRET`.

Prints whether the device that it gave can send. Run with the library's directory first on the path.
"""

import json
import sys

from tb_device_http import TBHTTPDevice


def main(url: str, name: str, key: str, secret: str) -> bool:
    device = TBHTTPDevice.provision(url, name, key, secret)
    return device.name == name and device.test_connection()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])) + "\n")
