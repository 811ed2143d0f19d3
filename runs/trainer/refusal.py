"""What cannot be trained."""


class Refused(Exception):
    """One sentence for whoever asked: no traceback would say more."""
