"""Reads a program's arguments, which are passed on unchanged."""

from collections.abc import Sequence


class ArgumentError(Exception):
    """Arguments that make no run: what, expected, got, what to do."""


def values(arguments: Sequence[str], name: str) -> list[str]:
    """All values of an option, in order: `--name value` or `--name=value`."""
    found = []
    for place, argument in enumerate(arguments):
        if argument == name and place + 1 < len(arguments):
            found.append(arguments[place + 1])
        elif argument.startswith(f"{name}="):
            found.append(argument.partition("=")[2])
    return found


def value(arguments: Sequence[str], name: str, program: str) -> str:
    """The value of an option that must be given once."""
    found = values(arguments, name)
    if len(found) != 1:
        raise ArgumentError(f"{program}: expected {name} once after --, got it {len(found)} times")
    return found[0]


def has(arguments: Sequence[str], name: str) -> bool:
    """Whether an option is given, with or without a value."""
    return any(argument == name or argument.startswith(f"{name}=") for argument in arguments)


def without(arguments: Sequence[str], *names: str) -> list[str]:
    """The arguments without some options and their values."""
    kept, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in names:
            skip = True
        elif argument.partition("=")[0] not in names:
            kept.append(argument)
    return kept


def refuse(arguments: Sequence[str], program: str, *names: str) -> None:
    """Refuses options that only this program may set."""
    for name in names:
        if has(arguments, name):
            raise ArgumentError(f"{program}: expected no {name} after --, which is set for each task, got it. Leave it out")
