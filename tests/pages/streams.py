"""An engine's event stream that is a list."""

from __future__ import annotations


class Stream(list):
    def __next__(self):
        if not self:
            raise StopIteration
        return self.pop(0)

    def close(self):
        self.clear()
