"""Market data lines: who holds how many. Pure.

Shared by the whole login; the same instrument in several places counts once (rule book 3.1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable


class Lines:
    """Lines taken by owner; an owner is a subscription."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._owners: dict[Hashable, int] = {}
        self._uses: Counter[int] = Counter()
        self.reserved = 0
        """Lines held by somebody else on the same login (fault lines_full)."""

    @property
    def used(self) -> int:
        return len(self._uses) + self.reserved

    def take(self, owner: Hashable, con_id: int) -> bool:
        """Give the owner a line for the instrument; False if none is left."""
        if con_id not in self._uses and self.used >= self.limit:
            return False
        self._owners[owner] = con_id
        self._uses[con_id] += 1
        return True

    def give_back(self, owner: Hashable) -> None:
        con_id = self._owners.pop(owner, None)
        if con_id is None:
            return
        self._uses[con_id] -= 1
        if self._uses[con_id] == 0:
            del self._uses[con_id]
