#!/usr/bin/env python3
"""Runs the score sets and compares their totals with .ci/score-floor.json, which may only rise.

score-floor.py [--shared DIR] [--bin PATH] [--raise]

Prints a table; exit 1 when a number is worse than its floor. With --raise, better numbers become
the new floor."""
import argparse
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FLOOR = os.path.join(HERE, "score-floor.json")
SETS = {
    "scenarios": ["scenarios"],
    "scenarios zst": ["scenarios", "--suffix", ".pcap.zst"],
    "wire": ["wire", "--truth", "scenarios"],
}
# Flow records by exporter and version; a sampled set has the baseline of the same name without the s.
for name in "v5 v9 v10 biflow sf5 sf9 sf10 pm9 pm10 ssf5 ssf9 ssf10 spm9 spm10".split():
    baseline = name.removeprefix("s") if name.startswith(("ssf", "spm")) else name
    SETS[f"flows {name}"] = [
        "flows", "--truth", "scenarios", "--flows", "--suffix", f".{name}.pcap",
        "--baseline", f"flows/baseline.{baseline}.pcap",
    ]
# In the last line of score.py, "name 3/4" counts for the better the higher its first number is, and
# so do the captures; every other "name 3" counts what went wrong.
HIGHER = {"captures", "ok"}
IGNORED = {"s"}


def totals(line):
    """{name: (value, of)} of a line like `captures 3 ok 3 | findings 4/5 false 0 | 1.2 s`."""
    numbers = {}
    for name, value, of in re.findall(r"([a-z][a-z ]*?) (\d+)(?:/(\d+))?(?![\d.])", line):
        if name not in IGNORED:
            numbers[name] = (int(value), int(of) if of else None)
    return numbers


def score(shared, binary, args):
    """The totals that score.py prints for one set."""
    corpus = os.path.join(shared, "corpus")
    inside = [os.path.join(corpus, a) for a in args]
    paths = [path if os.path.exists(path) else a for path, a in zip(inside, args)]
    command = [sys.executable, os.path.join(shared, "tools", "score.py"), *paths, "--bin", binary]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = result.stdout.splitlines()
    for line in lines:
        if ": OFF" in line:
            print("  " + line)
    last = next((line for line in reversed(lines) if line.startswith("captures ")), None)
    if last is None:
        sys.exit(f"score.py gave no totals for {' '.join(args)}: {' '.join(lines[-3:])}")
    return totals(last)


def is_better_higher(name, of):
    return of is not None or name in HIGHER


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", default="../shared")
    parser.add_argument("--bin", default=os.path.join(
        os.environ.get("CARGO_TARGET_DIR", "target"), "release", "tidewaiter"))
    parser.add_argument("--raise", dest="raise_floor", action="store_true")
    options = parser.parse_args()

    floor = {}
    if os.path.exists(FLOOR):
        with open(FLOOR, encoding="utf-8") as file:
            floor = json.load(file)
    fell = False
    for title, args in SETS.items():
        print(f"{title}:")
        now = score(options.shared, options.bin, args)
        known = floor.setdefault(title, {})
        for name in sorted(set(known) - set(now)):
            fell = True
            print(f"  {name:<14} {'missing':>9}  floor {known[name]:>4}  FELL")
        for name, (value, of) in now.items():
            least = known.get(name)
            higher = is_better_higher(name, of)
            worse = least is not None and (value < least if higher else value > least)
            better = least is None or (value > least if higher else value < least)
            fell |= worse
            shown = f"{value}/{of}" if of is not None else str(value)
            mark = "FELL" if worse else "" if not better else "no floor yet" if least is None else "better"
            print(f"  {name:<14} {shown:>9}  floor {'-' if least is None else least:>4}  {mark}".rstrip())
            if better:
                known[name] = value
    if fell:
        sys.exit("a number fell below its floor")
    if options.raise_floor:
        with open(FLOOR, "w", encoding="utf-8") as file:
            json.dump(floor, file, indent=2)
            file.write("\n")
        print(f"wrote {os.path.relpath(FLOOR)}")


main()
