from collections.abc import Generator

from .input_values import InputValues

_Buffer = bytes | bytearray | memoryview

def main_flow(
    cdi_attest: _Buffer, cdi_seal: _Buffer, inputs: InputValues
) -> tuple[bytes, bytes, bytes]: ...
def main_flow_steps(
    cdi_attest: _Buffer, cdi_seal: _Buffer, inputs: InputValues
) -> Generator[None, None, tuple[bytes, bytes, bytes]]: ...
def derive_cdis(
    cdi_attest: _Buffer, cdi_seal: _Buffer, inputs: InputValues
) -> tuple[bytes, bytes]: ...
def certificate_steps(
    authority_cdi: _Buffer, subject_cdi: _Buffer, inputs: InputValues
) -> Generator[None, None, tuple[bytes, bytes]]: ...
def self_signed_steps(cdi: _Buffer, inputs: InputValues) -> Generator[None, None, bytes]: ...
