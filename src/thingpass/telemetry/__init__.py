"""Telemetry: takes samples in (durable before anybody is told so), gives latest values, ranges, attributes.

It never sees JSON or sockets: `servers/device_payloads.py` turns payloads into samples before.
"""
