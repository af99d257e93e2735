"""A figure of a bench: a line on stdout, and the same as an object in build/bench/<bench>.jsonl."""
import json
import os


def figure(bench, name, value, unit):
    print(f"{name} {value:.10g} {unit}", flush=True)
    os.makedirs("build/bench", exist_ok=True)
    with open(f"build/bench/{bench}.jsonl", "a") as f:
        f.write(json.dumps({"bench": bench, "name": name, "value": value, "unit": unit}) + "\n")
