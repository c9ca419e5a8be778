"""The numbered migrations of each database, as SQL files: `NNNN_what_it_does.sql`."""
