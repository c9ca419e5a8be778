"""Who is connected where, and what is sent to them. Knows devices, but no sockets and no topics."""
