"""The one exception that a person causes and a person can mend."""


class UserError(ValueError):
    """Bad input. Its message is one line: the file or key, what was found, what is wanted.

    The command line prints the message alone and exits with status 2.
    """
