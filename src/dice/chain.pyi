from .certificate import Certificate

def verify_chain(
    certificate: Certificate, root: Certificate, now: tuple[int, ...]
) -> list[str]: ...
