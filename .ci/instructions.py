#!/usr/bin/env python3
"""Counts the instructions of a replay and compares them with .ci/instructions.json, which may only fall.

instructions.py [--bin PATH] [--generator PATH] [--accept]

Generates a capture that is the same everywhere, learns the recorded baseline, and replays the capture
under valgrind. Instructions do not depend on what else the machine does, time does. Exit 1 when a packet
costs more than the floor allows. With --accept, what was counted becomes the new floor."""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
FLOOR = os.path.join(HERE, "instructions.json")
BASELINE = os.path.join(ROOT, "testdata", "scenarios", "baseline.pcap")
FLOWS, SEED = 2000, 1


def built(name):
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    return os.path.join(target, "release", name)


def run(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def needed(result):
    if result.returncode != 0:
        sys.exit(f"{result.args[0]} failed:\n{result.stderr}")
    return result


def count(binary, generator):
    """(packets, instructions) of one replay; None where valgrind does not work here."""
    with tempfile.TemporaryDirectory() as folder:
        capture = os.path.join(folder, "mixed.pcap")
        store = os.path.join(folder, "store")
        flows = ["--flows", str(FLOWS), "--seed", str(SEED), "--out", capture]
        made = needed(run(generator, *flows))
        packets = int(re.search(r"(\d+) packets", made.stderr).group(1))
        needed(run(binary, "learn", "--data-dir", store, BASELINE))
        counted = run(
            "valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out",
            binary, "replay", "--data-dir", store, "--format", "json", capture,
        )
        collected = re.search(r"Collected : (\d+)", counted.stderr)
        if counted.returncode != 0 or collected is None:
            print(counted.stderr[-2000:], file=sys.stderr)
            return None
        return packets, int(collected.group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", default=built("tidewaiter"))
    parser.add_argument("--generator", default=built("gen-capture"))
    parser.add_argument("--accept", action="store_true", help="make what was counted the floor")
    args = parser.parse_args()
    counted = count(args.bin, args.generator)
    if counted is None:
        print("valgrind cannot run tidewaiter on this machine: skipped")
        return 0
    packets, instructions = counted
    cost = round(instructions / packets)
    with open(FLOOR, encoding="utf-8") as file:
        floor = json.load(file)
    most = floor["instructions_per_packet"] * (1 + floor["tolerance_percent"] / 100)
    print(f"{packets} packets, {instructions} instructions: {cost} a packet; "
          f"floor {floor['instructions_per_packet']}, at most {most:.0f}")
    if args.accept:
        floor["instructions_per_packet"] = cost
        with open(FLOOR, "w", encoding="utf-8") as file:
            file.write(json.dumps(floor, indent=2) + "\n")
        return 0
    if cost > most:
        print("more than the floor allows: make it cheaper, or say why in the commit that runs --accept")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
