"""A device that updates itself over HTTP with ThingsBoard's own class: `tb_http_firmware.py URL TOKEN CHUNK`.

Writes the image into the working directory under its title, says `updated`, and goes on sending what it has
queued until its standard input ends. Run with the library's directory first on the path.
"""

import sys

from tb_device_http import TBHTTPDevice


def main(url: str, token: str, chunk_size: str) -> None:
    device = TBHTTPDevice(url, token, "tb-http", chunk_size=int(chunk_size))
    assert device.connect()
    device.get_firmware_update()
    sys.stdout.write("updated\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
