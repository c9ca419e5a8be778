"""The embedded store: two SQLite files in the data directory, driven through apsw.

`thingpass.db` (registry, credentials, attributes, journal) is written by the server's one writer thread.
`series.db` (series and latest values) is written by the folding process and only read by the server.
The entrance is `thingpass.store.sqlite.store.SqliteStore`. No other process opens these files.
"""
