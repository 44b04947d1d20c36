from .certificate import Certificate

CHECKS: tuple[str, ...]

def verify_chain(
    certificate: Certificate, root: Certificate, now: tuple[int, ...]
) -> list[str]: ...
