"""Of MicroPython's esp32 module what main.py takes; the partitions are a virtual board's."""

board = None


class Partition:
    TYPE_DATA = 1

    @staticmethod
    def find(kind, subtype):
        return board.find_partitions(kind, subtype)
