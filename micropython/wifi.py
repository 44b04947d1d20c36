"""Wi-Fi from a JSON file: {"ssid": "...", "password": "..."}.

MicroPython's driver connects again by itself, for ever. This starts it, and says in one line how
things are whenever that changes. The password is never shown.
"""

import asyncio
import json

import network

LOOK_S = 2
PATIENCE_S = 20


def read(path):
    """(ssid, password). Raises ValueError, which has nothing of the file's content in it."""
    try:
        with open(path) as file:
            found = json.load(file)
    except OSError:
        raise ValueError("is not there")
    except ValueError:
        raise ValueError("is not JSON")
    if not isinstance(found, dict):
        raise ValueError('expected {"ssid": "...", "password": "..."}')
    ssid, password = found.get("ssid"), found.get("password", "")
    if not isinstance(ssid, str) or not 1 <= len(ssid.encode()) <= 32:
        raise ValueError("ssid: expected a text of 1 to 32 bytes")
    if not isinstance(password, str) or not (password == "" or 8 <= len(password.encode()) <= 64):
        raise ValueError("password: expected a text of 8 to 64 bytes, or none")
    return ssid, password


async def keep_up(path="wifi.json", show=print):
    """Connect and stay so; ends only where the file says nothing to connect to."""
    try:
        ssid, password = read(path)
    except ValueError as error:
        show("Wi-Fi: %s: %s; no network until it is mended" % (path, error))
        return
    station = network.WLAN(network.STA_IF)
    started = False
    said = ""
    waited = 0
    while True:
        try:
            if not started:
                station.active(False)  # a soft reset leaves it as it was
                station.active(True)
                station.connect(ssid, password)
                started = True
            text = _state(station, ssid, waited)
        except OSError as error:
            started = False
            text = "did not start, tried again: %s" % error
        if text and text != said:
            show("Wi-Fi: " + text)
            said = text
        await asyncio.sleep(LOOK_S)
        waited += LOOK_S


def _state(station, ssid, waited):
    if station.isconnected():
        return "%s, address %s" % (ssid, station.ifconfig()[0])
    status = station.status()
    if status == network.STAT_NO_AP_FOUND:
        return "no network %s here" % ssid
    if status == network.STAT_WRONG_PASSWORD:
        return "%s does not take the password" % ssid
    if waited >= PATIENCE_S:
        return "no connection to %s; a wrong password can look like this" % ssid
    return ""
