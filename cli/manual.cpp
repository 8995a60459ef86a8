// The manual page and shell completions, from the same table as --help.

#include <algorithm>
#include <array>

#include "cli/command.h"
#include "config/suggest.h"

namespace pare {
namespace {

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  std::vector<const CLI::App*> commands;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!command->get_name().empty()) commands.push_back(command);
  }
  return commands;
}

bool is_positional(const CLI::Option& option) {
  return option.get_lnames().empty() && option.get_snames().empty();
}

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

/// "-o", "--output".
std::vector<std::string> names_of(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  return names;
}

/// The words a value is chosen from, where its type lists them: "a|b|c".
std::vector<std::string> choices_of(const CLI::Option& option) {
  std::vector<std::string> choices{""};
  for (const char c : option.get_type_name()) {
    if (c == '|') {
      choices.emplace_back();
    } else {
      choices.back() += c;
    }
  }
  if (choices.size() == 1) choices.clear();
  return choices;
}

std::string joined_by(const std::vector<std::string>& words, const std::string& separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

/// `text` with each character of `special` behind a backslash.
std::string escaped(const std::string& text, std::string_view special) {
  std::string result;
  for (const char c : text) {
    if (special.find(c) != std::string_view::npos) result += '\\';
    result += c;
  }
  return result;
}

// -- Manual page -----------------------------------------------------------------

/// Text of a roff paragraph: no line may begin as a request.
std::string roff(const std::string& text) {
  std::string result;
  bool line_begins = true;
  for (const char c : text) {
    if (line_begins && (c == '.' || c == '\'')) result += "\\&";
    if (c == '\\') {
      result += "\\e";
    } else if (c == '-') {
      result += "\\-";
    } else {
      result += c;
    }
    line_begins = c == '\n';
  }
  return result;
}

std::string man_option(const CLI::Option& option) {
  std::string names = is_positional(option) ? option.get_name() : joined_by(names_of(option), ", ");
  const std::string type = takes_value(option) ? option.get_type_name() : "";
  return ".TP\n\\fB" + roff(names) + "\\fR" + (type.empty() ? "" : " \\fI" + roff(type) + "\\fR") +
         "\n" + roff(option.get_description()) + "\n";
}

std::string man_command(const CLI::App& command, const std::string& prefix) {
  const std::string name = prefix + " " + command.get_name();
  std::string text = ".SS " + roff(name) + "\n" + roff(command.get_description()) + ".\n";
  for (const CLI::Option* option : command.get_options()) text += man_option(*option);
  if (!command.get_footer().empty()) text += ".PP\n.nf\n" + roff(command.get_footer()) + "\n.fi\n";
  for (const CLI::App* inner : commands_of(command)) text += man_command(*inner, name);
  return text;
}

std::string man_page(const CLI::App& app) {
  std::string text =
      ".TH PARE 1 \"\" \"pare " PARE_VERSION "\" \"User Commands\"\n.SH NAME\n" +
      roff("pare - trained ONNX networks that cost a fraction of the energy") +
      "\n.SH SYNOPSIS\n\\fBpare\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n.SH OPTIONS\n";
  for (const CLI::Option* option : app.get_options()) text += man_option(*option);
  text += ".SH COMMANDS\n";
  for (const CLI::App* command : commands_of(app)) text += man_command(*command, "pare");
  return text + ".SH EXIT STATUS\n" + roff(app.get_footer()) + "\n";
}

// -- Completions -----------------------------------------------------------------

/// Options of a command and of its inner commands, each name once.
std::vector<const CLI::Option*> options_of(const CLI::App& command) {
  std::vector<const CLI::Option*> options = command.get_options();
  for (const CLI::App* inner : commands_of(command)) {
    for (const CLI::Option* option : inner->get_options()) {
      const auto same = [&](const CLI::Option* other) {
        return names_of(*other) == names_of(*option);
      };
      if (std::ranges::none_of(options, same)) options.push_back(option);
    }
  }
  return options;
}

/// What may follow a command that is no option: inner commands, words a positional is chosen from.
std::vector<std::string> operands_of(const CLI::App& command) {
  std::vector<std::string> words;
  for (const CLI::App* inner : commands_of(command)) words.push_back(inner->get_name());
  for (const CLI::Option* option : command.get_options())
    if (is_positional(*option)) std::ranges::copy(choices_of(*option), std::back_inserter(words));
  return words;
}

std::vector<std::string> words_of(const CLI::App& command) {
  std::vector<std::string> words = operands_of(command);
  for (const CLI::Option* option : options_of(command))
    std::ranges::copy(names_of(*option), std::back_inserter(words));
  return words;
}

std::string bash_completion(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : commands_of(app)) names.push_back(command->get_name());
  std::string text =
      "# bash completion of pare\n_pare() {\n"
      "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command='' i words\n"
      "  for ((i = 1; i < COMP_CWORD; ++i)); do\n    case ${COMP_WORDS[i]} in\n      " +
      joined_by(names, "|") +
      ") command=${COMP_WORDS[i]}; break ;;\n    esac\n  done\n  case $command:$prev in\n";
  std::string lists;
  for (const CLI::App* command : commands_of(app)) {
    for (const CLI::Option* option : options_of(*command)) {
      const std::vector<std::string> choices = choices_of(*option);
      for (const std::string& name : names_of(*option)) {
        if (choices.empty() || !takes_value(*option)) continue;
        text += "    " + command->get_name() + ":" + name + ") COMPREPLY=($(compgen -W '" +
                joined_by(choices, " ") + "' -- \"$cur\")); return ;;\n";
      }
    }
    lists +=
        "    " + command->get_name() + ") words='" + joined_by(words_of(*command), " ") + "' ;;\n";
  }
  text += "  esac\n  case $command in\n" + lists + "    *) words='" +
          joined_by(words_of(app), " ") +
          "' ;;\n  esac\n"
          "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
          "  if [ -n \"$command\" ] && [ \"${cur#-}\" = \"$cur\" ]; then\n"
          "    COMPREPLY+=($(compgen -f -- \"$cur\"))\n  fi\n}\n"
          "complete -o filenames -F _pare pare\n";
  return text;
}

std::string zsh_option(const CLI::Option& option) {
  const std::string help = escaped(option.get_description(), "[]:\\");
  std::string value;
  if (takes_value(option)) {
    const std::vector<std::string> choices = choices_of(option);
    value = choices.empty() ? ":value:_files" : ":value:(" + joined_by(choices, " ") + ")";
  }
  std::string text;
  for (const std::string& name : names_of(option)) {
    std::string spec = "*" + name + "[" + help + "]" + value;
    for (size_t at = 0; (at = spec.find('\'', at)) != std::string::npos; at += 4)
      spec.replace(at, 1, "'\\''");
    text += " \\\n        '" + spec + "'";
  }
  return text;
}

std::string zsh_completion(const CLI::App& app) {
  std::string text = "#compdef pare\n_pare() {\n  local -a commands\n  commands=(\n";
  std::string cases;
  for (const CLI::App* command : commands_of(app)) {
    std::string help = command->get_description();
    std::erase(help, '\'');
    text += "    '" + command->get_name() + ":" + escaped(help, ":\\") + "'\n";
    cases += "    " + command->get_name() + ")\n      _arguments";
    for (const CLI::Option* option : options_of(*command)) cases += zsh_option(*option);
    const std::vector<std::string> operands = operands_of(*command);
    if (!operands.empty()) cases += " \\\n        '1:word:(" + joined_by(operands, " ") + ")'";
    cases += " \\\n        '*:file:_files' ;;\n";
  }
  return text +
         "  )\n  if ((CURRENT == 2)); then\n    _describe command commands\n    return\n  fi\n" +
         "  local command=$words[2]\n  shift words\n  ((CURRENT--))\n  case $command in\n" + cases +
         "  esac\n}\n_pare \"$@\"\n";
}

std::string fish_option(const CLI::Option& option, const std::string& condition) {
  std::string line = "complete -c pare" + condition;
  for (const std::string& name : option.get_snames()) line += " -s " + name;
  for (const std::string& name : option.get_lnames()) line += " -l " + name;
  if (takes_value(option)) {
    const std::vector<std::string> choices = choices_of(option);
    line += choices.empty() ? " -r" : " -x -a '" + joined_by(choices, " ") + "'";
  }
  return line + " -d '" + escaped(option.get_description(), "'\\") + "'\n";
}

std::string fish_completion(const CLI::App& app) {
  std::string text = "# fish completion of pare\n";
  for (const CLI::App* command : commands_of(app)) {
    text += "complete -c pare -n __fish_use_subcommand -a " + command->get_name() + " -d '" +
            escaped(command->get_description(), "'\\") + "'\n";
    const std::string seen = " -n '__fish_seen_subcommand_from " + command->get_name() + "'";
    for (const CLI::Option* option : options_of(*command)) {
      if (!is_positional(*option)) {
        text += fish_option(*option, seen);
      } else if (!choices_of(*option).empty()) {
        text += "complete -c pare" + seen + " -a '" + joined_by(choices_of(*option), " ") + "'\n";
      }
    }
    for (const CLI::App* inner : commands_of(*command))
      text += "complete -c pare" + seen + " -a " + inner->get_name() + " -d '" +
              escaped(inner->get_description(), "'\\") + "'\n";
  }
  return text;
}

struct Shell {
  const char* name;
  std::string (*completion)(const CLI::App&);
};

constexpr std::array<Shell, 3> kShells = {
    {{"bash", bash_completion}, {"zsh", zsh_completion}, {"fish", fish_completion}}};

}  // namespace

Command add_man(CLI::App& app) {
  CLI::App* command = app.add_subcommand("man", "Print the manual page, in roff");
  command->footer("Example:\n  pare man | man -l -");
  return {command, [&app](Console&) { print_result(man_page(app)); }};
}

Command add_completions(CLI::App& app) {
  auto wanted = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("completions", "Print what a shell completes pare with");
  command->add_option("SHELL", *wanted, "The shell: bash, zsh or fish")
      ->type_name("bash|zsh|fish")
      ->required();
  command->footer("Example:\n  source <(pare completions bash)");
  return {command, [&app, wanted](Console&) {
            std::vector<std::string> known;
            for (const Shell& shell : kShells) {
              known.emplace_back(shell.name);
              if (*wanted == shell.name) return print_result(shell.completion(app));
            }
            throw Error(ErrorKind::kUsage, "completions: unknown shell '" + *wanted +
                                               "', expected one of " + joined(known));
          }};
}

}  // namespace pare
