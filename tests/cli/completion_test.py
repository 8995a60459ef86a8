#!/usr/bin/env python3
"""Asks bash, zsh and fish what they complete a line of pare to.

    completion_test.py PARE

Standard library only; the shells are those of packages.txt. Zsh completes in a terminal only, so it gets one.
"""

import os
import pathlib
import pty
import shutil
import subprocess
import sys
import tempfile
import unittest

import tiny_onnx as tiny

PARE = None
SECONDS = 60
BASH = """source pare.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pare; printf '%s\\n' "${COMPREPLY[@]}" """
# What completion functions hand to zsh goes into a file; calls that only sort matches out do not.
ZSHRC = """PS1='READY>' fpath=($ZDOTDIR $fpath)
autoload -Uz compinit && compinit -D -u
compadd() {
  if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\\ * ]]; then
    local -a hits
    builtin compadd -A hits "$@"
    print -rl -- $hits >> $ZDOTDIR/offered
  fi
  builtin compadd "$@"
}
"""
KILL_LINE = b"\x15"


class Completions(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.home = pathlib.Path(temporary.name)
        self.folder = self.home / "work"
        self.folder.mkdir()
        (self.folder / "mlp.onnx").write_bytes(tiny.mlp())

    def script(self, shell):
        return subprocess.run([PARE, "completions", shell], capture_output=True, text=True, check=True,
                              timeout=SECONDS).stdout

    def run_shell(self, *arguments):
        self.assertTrue(shutil.which(arguments[0]), f"{arguments[0]} is not installed, see packages.txt")
        result = subprocess.run(arguments, cwd=self.folder, capture_output=True, text=True, check=True,
                                timeout=SECONDS, env=os.environ | {"HOME": str(self.home)})
        self.assertEqual(result.stderr, "")
        return result.stdout.splitlines()

    def bash(self, line):
        (self.home / "pare.bash").write_text(self.script("bash"))
        return self.run_shell("bash", "-c", BASH.replace("pare.bash", "../pare.bash"), "bash", *line.split(" "))

    def fish(self, line):
        (self.home / "pare.fish").write_text(self.script("fish"))
        offered = self.run_shell("fish", "--no-config", "-c", "source ../pare.fish; complete -C $argv", line)
        return [entry.split("\t")[0] for entry in offered]

    def zsh(self, line):
        self.assertTrue(shutil.which("zsh"), "zsh is not installed, see packages.txt")
        (self.home / "_pare").write_text(self.script("zsh"))
        (self.home / ".zshrc").write_text(ZSHRC)
        offered = self.home / "offered"
        offered.write_text("")
        main, side = pty.openpty()
        with subprocess.Popen(["zsh", "-d", "-i"], cwd=self.folder, stdin=side, stdout=side, stderr=side,
                              start_new_session=True,
                              env=os.environ | {"ZDOTDIR": str(self.home), "TERM": "dumb"}) as process:
            os.close(side)
            shown = b""
            while b"READY>" not in shown:
                shown += os.read(main, 4096)
            os.write(main, line.encode() + b"\t" + KILL_LINE + b"exit\n")
            try:
                while chunk := os.read(main, 4096):
                    shown += chunk
            except OSError:  # The shell has ended.
                pass
            os.close(main)
            process.wait(timeout=SECONDS)
        self.assertNotIn(b"error", shown)
        self.assertNotIn(b"_arguments:", shown)
        return offered.read_text().splitlines()

    def test_commands_options_choices_and_files_are_offered(self):
        for shell in (self.bash, self.zsh, self.fish):
            for line, offered in [
                ("pare opt", ["optimize"]), ("pare optimize --pre", ["--preset"]),
                ("pare optimize --preset imagenet-", ["imagenet-tf"]), ("pare pipeline che", ["check"]),
                ("pare inspect mlp", ["mlp.onnx"]), ("pare completions f", ["fish"]),
                ("pare pipeline check --js", ["--json"]), ("pare inspect --nonsense", []),
            ]:
                with self.subTest(f"{shell.__name__}: {line}"):
                    self.assertEqual(sorted(set(filter(None, shell(line)))), offered)

    def test_every_command_and_every_option_is_offered(self):
        listed = subprocess.run([PARE, "--help"], capture_output=True, text=True, check=True, timeout=SECONDS)
        commands = [line.split()[0] for line in listed.stdout.split("Subcommands:")[1].split("\n\n")[0].splitlines() if line.startswith("  ")]
        self.assertIn("optimize", commands)
        text = subprocess.run([PARE, "optimize", "--help"], capture_output=True, text=True, check=True,
                              timeout=SECONDS).stdout
        options = {word.strip(",") for word in text.split() if word.startswith("--")} - {"--help"}
        for shell in (self.bash, self.zsh, self.fish):
            with self.subTest(shell.__name__):
                self.assertLessEqual(set(commands), set(shell("pare ")))
                self.assertLessEqual(options, set(shell("pare optimize --")))


if __name__ == "__main__":
    PARE = str(pathlib.Path(sys.argv[1]).resolve())
    unittest.main(argv=sys.argv[:1])
