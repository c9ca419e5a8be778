"""`thingpass` and `python -m thingpass`."""

from __future__ import annotations

from thingpass.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
