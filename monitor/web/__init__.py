"""The dashboard: one page, drawn in the browser from a stream of views. Read-only, offline, on loopback by default."""
