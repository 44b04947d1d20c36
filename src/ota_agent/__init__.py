"""OTA agent: the TLS server that has boards attested and streams firmware to those accepted.

Whether a board is one of ours is decided by the attestation server (`dice_auth`, or the
originals'); what a valid image is, by `esp_image`; the command line is `ota_cli`'s.
"""
