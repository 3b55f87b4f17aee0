"""The one kind of error that is the user's to mend: what came, what was expected, what to do."""


class EbbtideError(ValueError):
    """Wrong input. The command line prints its message as one line and leaves with exit code 2.

    The message says what came, what was expected and what to do, in one line.
    """


class TrainingStopped(EbbtideError):
    """Training cannot go on (losses or gradients that are not finite, again and again)."""


def require(condition: bool, message: str) -> None:
    """Raise EbbtideError(message) unless the condition holds."""
    if not condition:
        raise EbbtideError(message)


def near_misses(word: str, choices: list[str] | tuple[str, ...]) -> str:
    """' Did you mean A or B?' where a choice resembles the word, else ''."""
    from difflib import get_close_matches

    close = get_close_matches(word, choices, n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(close)}?" if close else ""
