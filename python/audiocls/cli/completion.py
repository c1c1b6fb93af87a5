"""`audiocls completion`: the Tab key in a shell."""

from __future__ import annotations

import click

from audiocls.cli import Command, main


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print what a shell needs to complete commands.

    \b
    Example, for the shells bash, zsh and fish; put the line where the shell starts:
      eval "$(audiocls completion bash)"                 ~/.bashrc
      eval "$(audiocls completion zsh)"                  ~/.zshrc
      audiocls completion fish | source                  ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    completer = get_completion_class(shell)
    assert completer is not None
    click.echo(completer(main, {}, "audiocls", "_AUDIOCLS_COMPLETE").source())
