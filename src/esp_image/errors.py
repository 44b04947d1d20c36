"""What is wrong with an image, under codes that stay."""


class ImageError(Exception):
    """An image that must not be used. Root of this package's errors.

    code: stable, as `chip-mismatch`. message: one line, with expected and found.
    offset: the first byte of the image that could not be right, None where no byte is to blame.
    """

    def __init__(self, code, message, offset=None):
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.offset = offset

    def __str__(self):
        return self.message


class Refused(ImageError):
    """A whole image that may not be installed here.

    failures: every check that failed, as (code, message); `code` is the first one's.
    """

    def __init__(self, failures):
        super().__init__(failures[0][0], "; ".join([message for _, message in failures]))
        self.failures = failures
