"""Fake of MicroPython's `network`: a Wi-Fi station that connects when it is told to.

Source: ports/esp32/network_wlan.c. The board's plug (VirtualBoard.network_up) cuts it off.
"""

import fake_chip

STA_IF = 0
AP_IF = 1
# modnetwork.h; the others are ESP-IDF's wifi_err_reason_t, esp_wifi_types.h
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202
_stations = []


class WLAN:
    IF_STA = STA_IF
    IF_AP = AP_IF

    def __new__(cls, interface_id=STA_IF):
        if interface_id != STA_IF:
            raise NotImplementedError("WLAN(%r)" % interface_id)
        if not _stations:
            _stations.append(object.__new__(cls))
            _stations[0]._is_active = _stations[0]._is_connected = False
        return _stations[0]

    def active(self, *is_active):
        if is_active:
            self._is_active = bool(is_active[0])
            self._is_connected = self._is_connected and self._is_active
        return self._is_active

    def connect(self, ssid=None, key=None, *, bssid=None):
        if not self._is_active:
            raise OSError("Wifi Not Started")
        self._is_connected = True

    def disconnect(self):
        self._is_connected = False

    def isconnected(self):
        return self._is_connected and fake_chip.chip().board.network_up

    def status(self):
        if self.isconnected():
            return STAT_GOT_IP
        return STAT_CONNECTING if self._is_connected else STAT_IDLE

    def ifconfig(self):
        return ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1")

    def config(self, *names, **values):
        if names == ("mac",):
            return fake_chip.chip().board.mac()
        return None


def hostname(*name):
    return "fake-esp32"


def country(*code):
    return "XX"
