"""Certificates, keys and key stores as values: read, described, made and written.

This room knows no socket, no clock, no database and nothing else of Thingpass; it could be a library of its
own. It never decides who somebody is, and no private key or password ever stands in one of its errors or
reprs.
"""

__all__: list[str] = []
