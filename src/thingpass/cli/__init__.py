"""The command line: one module per command (group), thin, over the REST API or the server itself."""
