"""Texts of a given number of terminal cells, in the characters that the terminal has."""

from rich.cells import cell_len, set_cell_size


class Cells:
    """is_ascii: the terminal shows nothing else."""

    def __init__(self, is_ascii: bool) -> None:
        self.is_ascii = is_ascii
        self._dots = ".." if is_ascii else "…"
        self._full, self._half, self._rest = ("#", "", ".") if is_ascii else ("━", "╸", "─")

    def plain(self, text: str) -> str:
        return text.encode("ascii", "backslashreplace").decode() if self.is_ascii else text

    def end_cut(self, text: str, width: int) -> str:
        """At most so wide; what is cut off is at the end."""
        text = self.plain(text)
        if cell_len(text) <= width:
            return text
        room = width - len(self._dots)
        return set_cell_size(text, room) + self._dots if room > 0 else set_cell_size(text, width)

    def middle_cut(self, text: str, width: int) -> str:
        """At most so wide; names of boards differ at either end."""
        text = self.plain(text)
        room = width - len(self._dots)
        if cell_len(text) <= width or room < 2:
            return self.end_cut(text, width)
        tail = text[-(room // 2) :]
        while cell_len(tail) > room // 2:
            tail = tail[1:]
        return set_cell_size(text, room - cell_len(tail)) + self._dots + tail

    def bar(self, share: float, width: int) -> tuple[str, str]:
        """What of a bar is done, and the rest; together so wide. share: 0 to 1."""
        halves = int(share * width * 2)
        done = self._full * (halves // 2) + self._half * (halves % 2)
        return done, self._rest * (width - len(done))
