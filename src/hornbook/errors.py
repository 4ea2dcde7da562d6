"""The one exception that is shown to a person as a single line."""


class UserError(Exception):
    """Something the user can mend.

    The message is one line that names the place (file, field, row) and the mend. The command line prints it without a
    traceback and exits with code 1; every other exception is a defect of ours and keeps its traceback.
    """
