"""Sockets: listeners, the connections they accept, the device API's topics. Decides nobody's identity."""
