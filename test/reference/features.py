#!/usr/bin/env python3
"""An independent reference of the fraud pipeline's 15 features: the published CSV in, one CSV line per transaction out.

usage: features.py HANDBOOK_TX_CSV_ZST [customer|terminal] > features.csv     (all columns, or those of one stage)

Written from the definitions alone (windows (t-w, t] with the row itself; per terminal ending 7 days ago; a label is
known exactly 7 days after its transaction), sharing no code with common/feature. Rows at equal seconds: those before
in the file count, later ones do not. At equal times a label comes before a transaction.
"""
import datetime
import subprocess
import sys
from bisect import bisect_right

DAY = 86400
WINDOWS = (DAY, 7 * DAY, 30 * DAY)
DELAY = 7 * DAY
SPANS = ("1d", "7d", "30d")
CUSTOMER = ["amount", "weekend", "night", *(f"customer_{f}_{w}" for f in ("n", "mean") for w in SPANS)]
TERMINAL = [f"terminal_{f}_{w}" for f in ("n", "risk") for w in SPANS]


def customer_features(rows):
    """rows: (tx, seconds, customer, terminal, cents, is_fraud) in the file's order."""
    bought, spent = {}, {}  # customer: times, running cents (one more than times)
    weekend = {}
    for _, t, customer, _, cents, _ in rows:
        day = t // DAY
        if day not in weekend:
            weekend[day] = int(datetime.datetime.fromtimestamp(t, datetime.timezone.utc).weekday() >= 5)
        times = bought.setdefault(customer, [])
        sums = spent.setdefault(customer, [0])
        times.append(t)
        sums.append(sums[-1] + cents)
        first = [bisect_right(times, t - w) for w in WINDOWS]
        counts = [len(times) - i for i in first]
        yield [cents / 100, weekend[day], int(t % DAY // 3600 <= 6), *counts,
               *((sums[-1] - sums[i]) / 100 / n for i, n in zip(first, counts))]


def terminal_features(rows):
    used, known = {}, {}  # terminal: times, times at which frauds are reported
    waiting, done = [], 0  # frauds not yet reported, in order of time
    for _, t, _, terminal, _, fraud in rows:
        while done < len(waiting) and waiting[done][0] <= t:
            known.setdefault(waiting[done][1], []).append(waiting[done][0])
            done += 1
        seen = used.setdefault(terminal, [])
        seen.append(t)
        end = bisect_right(seen, t - DELAY)
        counts = [end - bisect_right(seen, t - DELAY - w) for w in WINDOWS]
        bad = known.get(terminal, [])
        frauds = [len(bad) - bisect_right(bad, t - w) for w in WINDOWS]
        if fraud:
            waiting.append((t + DELAY, terminal))
        yield [*counts, *(f / n if n else 0.0 for f, n in zip(frauds, counts))]


def features(rows):
    """Of a list of rows all 15."""
    return (c + t for c, t in zip(customer_features(rows), terminal_features(rows)))


def cents_of(amount):
    whole, _, cents = amount.partition(".")
    return int(whole) * 100 + int(cents.ljust(2, "0"))


def published(path):
    lines = subprocess.Popen(["zstd", "-dc", path], stdout=subprocess.PIPE, text=True).stdout
    assert next(lines).strip() == "tx_id,ts,customer_id,terminal_id,amount,fraud,scenario"
    for line in lines:
        tx, ts, customer, terminal, amount, fraud, _ = line.split(",")
        yield tx, int(ts), customer, terminal, cents_of(amount), fraud == "1"


def main():
    path, part = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "both"
    out = sys.stdout
    if part == "both":
        out.write(",".join(["tx_id"] + CUSTOMER + TERMINAL) + "\n")
        rows = list(published(path))
        for row, values in zip(rows, features(rows)):
            out.write(f"{row[0]},{','.join(map(str, values))}\n")
        return
    out.write(",".join(["tx_id"] + CUSTOMER if part == "customer" else TERMINAL) + "\n")
    made = customer_features if part == "customer" else terminal_features
    ids = (row[0] + "," for row in published(path)) if part == "customer" else iter(lambda: "", None)
    for tx, values in zip(ids, made(published(path))):
        out.write(f"{tx}{','.join(map(str, values))}\n")


if __name__ == "__main__":
    main()
