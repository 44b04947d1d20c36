"""A board's NVS, a dict, for runtime_board.py."""

UDS = bytes(range(32))
NOT_FOUND = -0x1102


class Nvs:
    """One for all namespaces: their keys differ."""

    def __init__(self, is_provisioned):
        self.values = {"uds": UDS} if is_provisioned else {}

    def get_i32(self, key):
        if key not in self.values:
            raise OSError(NOT_FOUND)
        return self.values[key]

    def set_i32(self, key, value):
        self.values[key] = value

    def get_blob(self, key, buffer):
        value = self.get_i32(key)
        buffer[: len(value)] = value
        return len(value)

    set_blob = set_i32

    def erase_key(self, key):
        del self.values[key]

    def commit(self):
        pass
