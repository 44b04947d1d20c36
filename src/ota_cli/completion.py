"""`ota-service completion`: what a shell needs to complete our command lines. click has it, but for
little things in its scripts that are mended here."""

import click
from click.shell_completion import get_completion_class

from ota_cli.errors import EXIT_USAGE, CommandError

_PROGRAM, _VARIABLE = "ota-service", "_OTA_SERVICE_COMPLETE"  # the latter as click looks for it

# Shell -> pairs of what stands in click's script and what does better.
_MENDED = {
    # What follows an option's `=` is a word of its own; zsh has them in one, bash has three.
    "bash": (
        (
            "    local IFS=$'\\n'\n",
            "    local IFS=$'\\n' at words=() word=$COMP_CWORD\n"
            "    for at in ${!COMP_WORDS[@]}; do\n"
            "        if [[ ${COMP_WORDS[at]} == '=' && $at -lt $COMP_CWORD ]]; then\n"
            "            word=$((word - 1))\n"
            "        else\n"
            '            words+=("${COMP_WORDS[at]}")\n'
            "        fi\n"
            "    done\n",
        ),
        ("${COMP_WORDS[*]}", "${words[*]}"),
        ("COMP_CWORD=$COMP_CWORD", "COMP_CWORD=$word"),
    ),
    "zsh": (
        ('    response=("', "    [[ $PREFIX == --*=* ]] && compset -P 1 '*='\n    response=(\""),
        ("compadd -U", 'compadd -U -i "$IPREFIX"'),
    ),
    "fish": (
        (
            "    for completion in",
            "    set -l option (string match --regex '^--[^=]*=' -- (commandline -t));\n\n"
            "    for completion in",
        ),
        # Descriptions have commas too.
        ('string split "," $completion', 'string split --max 1 "," $completion'),
        (
            "__fish_complete_directories $metadata[2];",
            'for each in (__fish_complete_directories $metadata[2]); echo "$option$each"; end;',
        ),
        (
            "__fish_complete_path $metadata[2];",
            'for each in (__fish_complete_path $metadata[2]); echo "$option$each"; end;',
        ),
        ("echo $metadata[2];", 'echo "$option$metadata[2]";'),
    ),
}


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that has a shell complete commands, options and files.

    bash needs version 4.4. To have it in every shell, put the line for yours into ~/.bashrc,
    ~/.zshrc (after compinit) or ~/.config/fish/config.fish.

    \b
    Example:
      eval "$(ota-service completion bash)"
      eval "$(ota-service completion zsh)"
      ota-service completion fish | source
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise CommandError(f"completion: this click does not know {shell}", EXIT_USAGE)
    script = kind(context.find_root().command, {}, _PROGRAM, _VARIABLE).source()
    for theirs, ours in _MENDED.get(shell, ()):
        script = script.replace(theirs, ours)
    click.echo(script)
