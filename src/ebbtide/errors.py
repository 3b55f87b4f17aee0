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


def printable(text: str) -> str:
    r"""The text with everything escaped that no terminal should be sent: bytes that are no UTF-8 (as file names may
    hold them), line ends and other control characters. What is fit to print stays as it is."""
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # how Python keeps the bytes of a file name that are no UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()
