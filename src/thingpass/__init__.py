"""Thingpass: passports for things. Devices prove who they are with X.509 and send their data over MQTT."""

__version__ = "0.1.0"
