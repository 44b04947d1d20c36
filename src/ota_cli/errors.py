"""How a command says no: one line, and an exit code a script can rely on."""

EXIT_REFUSED = 1
EXIT_USAGE = 2


class CommandError(Exception):
    """A command failed or was refused; the text is the one line the user sees."""

    def __init__(self, message: str, exit_code: int = EXIT_REFUSED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
