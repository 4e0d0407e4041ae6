"""The one exception that stands for a mistake of the user, not of the program."""


class UserError(Exception):
    """Something the user can put right.

    The message is one clear line that names the file, field or row and says what to do. The
    commands print it as `glore: error: MESSAGE` on stderr and exit with code 2; a traceback would
    only hide it.
    """
