"""TLS: one endpoint per connection on its own socket, handshakes in threads, what the peer proved as a value.

This room proves that a peer holds the key of the certificate that it shows. It never decides who that is.
"""
