"""Exceptions."""


class Error(Exception):
    """An error of reading a cache. The message says what was expected, what was found and what to do.

    ``kind`` is what a program decides by: ``"not_found"`` (no such cache), ``"damaged"`` (a file is not what was
    written), ``"unsupported"`` (another version of the format), ``"conflict"`` (settings or contents that do not
    match), ``"invalid"`` (an argument), ``"io"`` (the operating system), ``"remote"`` (a bucket or web server),
    ``"closed"`` (the cache was closed), ``"forked"`` (another process opened it), ``"missing_package"``,
    ``"program"`` (a program failed), ``"memory"`` or ``"internal"``.
    """

    kind: str

    def __init__(self, message: str, kind: str = "invalid") -> None:
        super().__init__(message)
        self.kind = kind

    def __reduce__(self):
        return type(self), (str(self), self.kind)

    def __str__(self) -> str:
        # KeyError would show the quoted text.
        return str(self.args[0])


class UnknownName(Error, KeyError):
    """A cache has no such site, or a table no such column. The message names those that there are."""


class OutOfRange(Error, IndexError):
    """A row or a sequence is out of range."""


class OutOfMemory(Error, MemoryError):
    """There is not as much memory as the rows need."""


def of_kind(kind: str, message: str) -> Error:
    """The exception of an error of the extension module."""
    if kind in ("unknown_site", "unknown_column"):
        return UnknownName(message, "not_found")
    return (OutOfMemory if kind == "memory" else Error)(message, kind)
