"""`minirag doctor`: what a bug report should say."""

import argparse

from minirag.cli.common import Commands, command, json_option, show

EXAMPLES = """
minirag doctor
minirag doctor --json
"""


def declare(commands: Commands) -> None:
    json_option(command(commands, "doctor", "print versions, machine and known clashes, for bug reports", EXAMPLES, run))


def run(arguments: argparse.Namespace) -> None:
    from minirag import doctor

    found = doctor.report()
    show(found, doctor.format_report(found), arguments.json)
