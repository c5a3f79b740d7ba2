"""Instructions, because they are the same on a busy machine: valgrind counts them. For `control` and `growth`."""

import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def build(name):
    """A program of this package."""
    command = ['cargo', 'build', '--release', '--locked', '--quiet', '--package', 'forebay-benches', '--bin', name]
    subprocess.run(command, cwd=ROOT, check=True)
    metadata = ['cargo', 'metadata', '--no-deps', '--format-version', '1', '--locked']
    text = subprocess.run(metadata, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    folder = re.search(r'"target_directory":"([^"]*)"', text).group(1)
    return Path(folder) / 'release' / name


def count(program, *arguments):
    """Instructions within the program's `measured` for one of the pieces of work whose number it prints: all, and by source file."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / 'out'
        measured = f'--toggle-collect=*{program.name}::measured*'
        command = ['valgrind', '--tool=callgrind', f'--callgrind-out-file={out}', measured, str(program), *map(str, arguments)]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            sys.exit(f'{arguments}: {run.stderr[:1000]}')
        profile, pieces = out.read_text(), int(run.stdout)
    total = int(re.search(r'^(?:summary|totals): (\d+)', profile, re.MULTILINE).group(1))
    return total / pieces, {path: number / pieces for path, number in by_file(profile).items()}


def by_file(profile):
    """What callgrind attributes to the lines of each file, inlined ones to where they are written."""
    names, files, path, is_call = {}, Counter(), '', False
    for line in profile.splitlines():
        if found := re.match(r'c?f[lie]=\((\d+)\)(?: (.*))?$', line):
            number, name = found.groups()
            names[number] = name or names[number]
            path = path if line[0] == 'c' else names[number]
        elif line.startswith('calls='):
            is_call = True  # The next line is what the callee took.
        elif found := re.match(r'[+*-]?\d* (\d+)$', line):
            files[path] += 0 if is_call else int(found.group(1))
            is_call = False
    return files
