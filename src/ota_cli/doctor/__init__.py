"""`ota-service doctor`: what a person usually has wrong, each in one line with its cure.

Every finding has a code of `catalogue`, which also holds what it means and what cures it. The
modules beside it look at one subject each and change nothing: no update is triggered, and nothing
is used up but one challenge of the attestation server.
"""
