// `hawser completion SHELL`: a script that asks `hawser __complete` for what may come next.
import { Argument, type Command } from "commander";
import type { CliDependencies } from "../dependencies.ts";
import { examples } from "../help.ts";

export function addCompletion(program: Command, deps: CliDependencies): void {
  program
    .command("completion")
    .summary("print a completion script for your shell")
    .description("Prints a script that completes commands, options, and the names of containers, networks and maps.")
    .addArgument(new Argument("<SHELL>", "the shell").choices(Object.keys(scripts)))
    .addHelpText("after", examples([
      ["source <(hawser completion bash)", "in ~/.bashrc"],
      ["hawser completion bash > /etc/bash_completion.d/hawser", "for everyone"],
      ["hawser completion zsh > \"${fpath[1]}/_hawser\"", "zsh"],
      ["hawser completion fish > ~/.config/fish/completions/hawser.fish", "fish"],
    ]))
    .action((shell: keyof typeof scripts) => {
      deps.stdout.write(scripts[shell]);
    });
}

// Each line of `hawser __complete WORD…` is `value TAB description`; a line `:files` asks for file names.

const bash = `# bash completion for hawser
_hawser() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            compopt -o default 2>/dev/null
        else
            COMPREPLY+=("\${line%%$'\\t'*}")
        fi
    done < <("\${COMP_WORDS[0]/#\\~/$HOME}" __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _hawser hawser
`;

const zsh = `#compdef hawser
_hawser() {
    local line
    local -a found
    local -i files=0
    for line in "\${(@f)$("\${words[1]}" __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        if [[ $line == :files ]]; then
            files=1
        elif [[ -n $line ]]; then
            found+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
        fi
    done
    (( $#found )) && _describe -t hawser hawser found
    (( files )) && _files
}
if [[ $funcstack[1] == _hawser ]]; then
    _hawser "$@"
else
    compdef _hawser hawser
fi
`;

const fish = `# fish completion for hawser
function __hawser_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    for line in ($before[1] __complete $before[2..-1] "$current" 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path "$current"
        else
            echo $line
        end
    end
end
complete -c hawser -f -a '(__hawser_complete)'
`;

const scripts = { bash, zsh, fish } as const;
