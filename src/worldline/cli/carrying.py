"""A command from its options to its last line: configure, run, write the report, print."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worldline.cli.printing import only_plain, plain, print_table, progress_bars, say
from worldline.commands import config_of, load
from worldline.errors import InputError, UsageError, WorldlineError
from worldline.files import shorten

__all__ = ["carry_out", "exit_codes"]

LONGEST_MESSAGE = 2000


def carry_out(
    name: str,
    /,  # encode has an option of this name
    *,
    file: str | None,
    out: str | None,
    resume: bool,
    as_json: bool,
    quiet: bool,
    debug: bool,
    strict: bool = False,
    named: str | None = None,
    **given: Any,
) -> None:
    """Run a command and tell what it found.

    Args:
        name: of the command.
        file: a TOML configuration, over which what is given wins.
        out, resume, as_json, quiet, debug, strict: as the command line's options.
        named: the model, where it came as ``--model``.
        given: the options of the configuration, as they were written; None and () are not given.
    """
    with exit_codes(debug):
        options = {key: it for key, it in given.items() if it is not None and it != ()}
        if named is not None:
            if "model" in options:
                raise UsageError("Name the model once: as MODEL or as --model.")
            options["model"] = named
        config = config_of(name).from_text(options, file)
        if resume and out is None:
            raise UsageError("--resume continues the run in --out; name that folder with --out.")
        if out is not None and (not out or "\0" in out):
            raise UsageError(f"--out must be the name of a folder; got {out!r}.")
        from worldline.commands.rendering import write_report
        from worldline.runs.codec import to_json

        command = load(name)
        with progress_bars(hidden=quiet or as_json) as progress, only_plain():
            result = command(config, Path(out) if out else None, resume=resume, progress=progress)
            progress("Writing the report", 0, 1)
            page = write_report(result.folder)
            progress("Writing the report", 1, 1)
        if as_json:
            record = json.loads(to_json(result.record, indent=None))
            say(json.dumps({**record, "report": str(page)}, ensure_ascii=False))
        elif not quiet:
            _tell(command.words(result.record), command.tables(result.record))
            say(f"Report: {page}")
        if strict and not result.record.trustworthy:
            raise _Untrustworthy


def _tell(words: Any, tables: Any) -> None:
    for table in tables:
        print_table(table)
    say("")
    for sentence in words.findings:
        say(sentence)
    for kind, sentences in (("Warning", words.warnings), ("Note", words.notes)):
        for sentence in sentences:
            say(f"{kind}: {sentence}", error=True)


class _Untrustworthy(Exception):  # noqa: N818  # an outcome, not a failure
    """Finished, but a check warns."""


@contextmanager
def exit_codes(debug: bool) -> Iterator[None]:
    """Turn exceptions into one sentence and an exit code; with ``debug`` into their traceback."""
    try:
        yield
    except _Untrustworthy:
        raise SystemExit(4) from None
    except KeyboardInterrupt:
        say(
            "Interrupted. What was finished is kept; the same command with --out FOLDER --resume "
            "goes on.",
            error=True,
        )
        raise SystemExit(130) from None
    except BrokenPipeError:
        raise SystemExit(0) from None
    except BaseException as error:
        code, sentence = _ending(error)
        say(traceback.format_exc() if debug else f"worldline: {sentence}", error=True)
        raise SystemExit(code) from None


def _ending(error: BaseException) -> tuple[int, str]:
    """The exit code of an error, and what is said of it."""
    kind, told = type(error).__name__, _one_line(str(error))
    match error:
        case WorldlineError():
            return 3 if isinstance(error, InputError) else 2, told
        case MemoryError():
            few = "Use fewer --samples or a smaller --batch-size."
            return 3, f"there is too little memory for this. {few}"
        case ImportError():
            why = "there is too little memory, or its installation is broken"
            return 3, f"a library cannot be loaded ({told}): {why}."
        case OSError():
            return 3, f"the system refused: {told}."
        case Exception():
            advice = "--debug shows the traceback; please report it"
            return 1, f"internal failure, {kind}: {told} ({advice})."
        case _:
            advice = "Keep sys.exit and the like out of what is imported and called."
            return 3, f"code that was loaded ended the program ({kind}: {told}). {advice}"


def _one_line(text: str) -> str:
    """In one line of bearable length, whatever was repeated in it."""
    return plain(shorten(" ".join(text.split()), LONGEST_MESSAGE))
