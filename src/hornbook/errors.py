"""What a person is told in place of a traceback."""


class UserError(Exception):
    """Something the user can mend.

    The message is one line that names the place (file, field, row) and the mend. The command line prints it without a
    traceback and exits with code 1; every other exception is a defect of ours and keeps its traceback.
    """


class Paused(Exception):  # noqa: N818 - it is none
    """The work stands still as it was asked to: a message for the user, and no error."""
