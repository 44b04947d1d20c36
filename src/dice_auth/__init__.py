"""Attestation server: which boards are ours, and is this certificate one of theirs?

The registry of boards (SQLite or Redis), enrolment, verification, and the HTTP server that
speaks the originals' protocol. Certificates themselves are `dice`'s subject, the command line
is `ota_cli`'s.
"""
