"""The bus contract and both of its ends. The authority is PROTOCOL.md; nothing here knows ib_async or numba."""
