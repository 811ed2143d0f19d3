"""What cannot be trained."""


class Refused(Exception):
    """One sentence for whoever asked: no traceback would say more."""


class NotComputed(Exception):
    """A field of a config.json has a value that Tunix has no way to compute."""

    def __init__(self, field: str, value: object, computed: str):
        super().__init__(f"{field} {value!r}", computed)
        self.field, self.value, self.computed = field, value, computed
