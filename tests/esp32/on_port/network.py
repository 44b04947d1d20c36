"""A little of MicroPython's network module; what is in the air stands in air.json."""

import json

STA_IF = 0
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010


class WLAN:
    asked = None

    def __init__(self, interface):
        self._active = False

    def active(self, on):
        self._active = on

    def connect(self, ssid, password):
        if not self._active:
            raise OSError("Wifi Not Started")
        WLAN.asked = ssid, password

    def isconnected(self):
        return self.status() == STAT_GOT_IP

    def status(self):
        """As the driver has it: a reason stays until it has connected."""
        if WLAN.asked is None:
            return STAT_IDLE
        with open("air.json") as file:
            air = json.load(file)
        ssid, password = WLAN.asked
        if ssid not in air:
            return STAT_NO_AP_FOUND
        if air[ssid] is None:
            return STAT_CONNECTING
        return STAT_GOT_IP if air[ssid] == password else STAT_WRONG_PASSWORD

    def ifconfig(self):
        return ("192.0.2.17", "255.255.255.0", "192.0.2.1", "192.0.2.1")
