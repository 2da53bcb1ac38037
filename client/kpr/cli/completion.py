"""`kpr completion`: scripts by which bash, zsh and fish complete commands, made from the parser."""

import re
import sys
from argparse import Action, Namespace
from collections.abc import Iterator

from kpr.cli.reference import commands, options_of

_FOLDERS = frozenset({"file_dir"})
_FILES = frozenset({"path", "paths", "output"})
# What the server is asked for, by what an argument is.
_ASKED = {
    **dict.fromkeys(("environment", "left", "right"), "environments"),
    **dict.fromkeys(("name", "only", "require"), "secrets"),
}


def completion(options: Namespace) -> int:
    """Print the script of a shell."""
    sys.stdout.write({"bash": _bash, "zsh": _zsh, "fish": _fish}[options.shell]())
    return 0


def _bash() -> str:
    cases = "\n".join(
        f"    {verb}) words='{' '.join(_flags(verb))}' {_bash_argument(verb)};;" for verb in commands()
    )
    values = "\n".join(
        f"    '{verb} {flag}') words='{' '.join(map(str, action.choices or ()))}' {_bash_kind(action)};;"
        for verb in commands()
        for action in options_of(verb)
        for flag in action.option_strings
        if action.nargs != 0
    )
    return f"""# bash completion of kpr: source it, or put it into /etc/bash_completion.d
_kpr() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} each
  local verb= words= kind= asked=
  for each in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    if [ "$each" = -- ]; then COMPREPLY=($(compgen -o default -c -- "$current")); return; fi
    case $each in -*) ;; *) verb=${{verb:-$each}} ;; esac
  done
  case "$verb $before" in
{values}
    *) case $verb in
    '') words='{" ".join(commands())}' ;;
{cases}
    esac ;;
  esac
  COMPREPLY=($(compgen ${{kind:--W "$words"}} -- "$current"))
  case $current in -*) return ;; esac
  if [ -n "$asked" ]; then
    while IFS= read -r each; do COMPREPLY+=("$each"); done \
      < <(kpr _complete "$asked" "$current" "${{COMP_WORDS[@]:1:COMP_CWORD-1}}" 2>/dev/null </dev/null)
  fi
}}
complete -o default -F _kpr kpr
"""


def _bash_kind(action: Action) -> str:
    if action.dest in _ASKED:
        return f"asked={_ASKED[action.dest]} "
    return "kind=-d " if action.dest in _FOLDERS else "kind=-f " if action.dest in _FILES else ""


def _bash_argument(verb: str) -> str:
    """Return what the argument of a command is, if the server is asked for it."""
    kinds = {
        _ASKED[each.dest] for each in options_of(verb) if not each.option_strings and each.dest in _ASKED
    }
    return f"asked={min(kinds)} " if kinds else ""


def _zsh() -> str:
    listed = " ".join(_single(f"{verb}:{_plain(parser.description)}") for verb, parser in commands().items())
    cases = "\n".join(f"    {verb}) _arguments -s {' '.join(_zsh_specs(verb))} ;;" for verb in commands())
    return f"""#compdef kpr
# zsh completion of kpr: put it into a folder of $fpath as _kpr
_kpr() {{
  local -a listed=({listed}) asked=("${{(@)words[2,CURRENT-1]}}")
  local split=${{words[(i)--]}}
  if (( split < CURRENT )); then
    shift $split words
    (( CURRENT -= split ))
    _normal
    return
  fi
  if (( CURRENT == 2 )); then
    _describe command listed
    return
  fi
  local verb=$words[2]
  shift words
  (( CURRENT-- ))
  case $verb in
{cases}
  esac
}}
_kpr_names() {{
  # _arguments puts options of compadd before the kind.
  compadd "${{@[1,-2]}}" -- ${{(f)"$(kpr _complete $@[-1] "$PREFIX" $asked 2>/dev/null </dev/null)"}}
}}
if [ "$funcstack[1]" = _kpr ]; then _kpr "$@"; else compdef _kpr kpr; fi
"""


def _zsh_specs(verb: str) -> Iterator[str]:
    for action in options_of(verb):
        help_text = _plain(action.help)
        if not action.option_strings:
            several = "*" if action.nargs == "*" else ""
            yield _single(f"{several}:{action.dest}:{_zsh_values(action)}")
        for flag in action.option_strings:
            value = f":{action.dest}:{_zsh_values(action)}" if action.nargs != 0 else ""
            yield _single(f"*{flag}[{help_text}]{value}")


def _zsh_values(action: Action) -> str:
    if action.choices:
        return f"({' '.join(map(str, action.choices))})"
    if action.dest in _ASKED:
        return f"_kpr_names {_ASKED[action.dest]}"
    return "_files -/" if action.dest in _FOLDERS else "_files" if action.dest in _FILES else ""


def _fish() -> str:
    lines = [
        "# fish completion of kpr: put it into ~/.config/fish/completions/kpr.fish",
        "complete -c kpr -f",
    ]
    for verb, parser in commands().items():
        described = _single(_plain(parser.description))
        lines.append(f"complete -c kpr -n __fish_use_subcommand -a {verb} -d {described}")
        seen = _single(f"__fish_seen_subcommand_from {verb}")
        lines += [f"complete -c kpr -n {seen} {spec}" for spec in _fish_specs(verb)]
    return "\n".join([*lines, ""])


def _fish_specs(verb: str) -> Iterator[str]:
    for action in options_of(verb):
        if not action.option_strings:
            if action.choices:
                yield f"-a {_single(' '.join(map(str, action.choices)))}"
            elif action.dest in _FILES:
                yield "-F"
            elif action.dest in _ASKED:
                yield f"-a {_single(_fish_names(action))}"
            continue
        names = (
            f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in action.option_strings
        )
        value = ""
        if action.nargs != 0:
            value = f" -x -a {_single(' '.join(map(str, action.choices)))}" if action.choices else " -r"
            if action.dest in _ASKED:
                value = f" -x -a {_single(_fish_names(action))}"
        yield f"{' '.join(names)}{value} -d {_single(_plain(action.help))}"


def _fish_names(action: Action) -> str:
    line = "(commandline -ct) (commandline -opc)[2..]"
    return f"(kpr _complete {_ASKED[action.dest]} {line} 2>/dev/null </dev/null)"


def _flags(verb: str) -> list[str]:
    plain = [
        str(word) for action in options_of(verb) for word in action.choices or () if not action.option_strings
    ]
    return [*plain, *(flag for action in options_of(verb) for flag in action.option_strings)]


def _plain(text: str | None) -> str:
    """Return a text without what the shells' own notations use."""
    return re.sub(r"[\[\]:'\\`$]", "", text or "")


def _single(text: str) -> str:
    return f"'{text}'"
