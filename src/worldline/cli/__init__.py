"""The command line: parses, calls the API, prints; nothing else.

Exit codes: 0 done, 1 internal failure, 2 usage, 3 input rejected, 4 finished but not trustworthy
(``--strict``), 130 interrupted. Torch is imported by the command that needs it, so that ``--help``
answers at once.
"""

from worldline.cli.group import commands, main

__all__ = ["commands", "main"]
