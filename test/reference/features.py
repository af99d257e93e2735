#!/usr/bin/env python3
"""An independent reference of the fraud pipeline's 27 features: the published CSV in, one CSV line per transaction out.

usage: features.py HANDBOOK_TX_CSV_ZST [customer|terminal] > features.csv     (all columns, or those of one stage; nothing is null)

Written from the definitions alone, sharing no code with common/feature. Windows are (t-w, t]. A customer's counts and means hold
the row itself, what its amount is compared with holds the others only; a terminal's counts end 7 days ago. A label is known
exactly 7 days after its transaction. Rows at equal seconds: those before in the file count, later ones do not. At equal times a
label comes before a transaction.
"""
import datetime
import subprocess
import sys
from bisect import bisect_right

DAY = 86400
WINDOWS = (DAY, 7 * DAY, 30 * DAY)
DELAY = 7 * DAY
KNOWN = (7 * DAY, 14 * DAY, 28 * DAY, 60 * DAY)
SMALL = 22000  # cents, and below
SPANS, KNOWN_SPANS = ("1d", "7d", "30d"), ("7d", "14d", "28d", "60d")
CUSTOMER = ["amount", "weekend", "night", *(f"customer_{f}_{w}" for f in ("n", "mean") for w in SPANS),
            "amount_to_mean_7d", "amount_to_mean_30d", "amount_zscore_30d", "amount_to_max_ever"]
TERMINAL = [*(f"terminal_{f}_{w}" for f in ("n", "risk") for w in SPANS),
            *(f"terminal_{f}_{w}" for f in ("chargebacks", "small_chargebacks") for w in KNOWN_SPANS)]


def ratio(amount, n, total):
    """To the mean of n others; None without any, and where that mean is 0."""
    return amount * n / total if total else None


def zscore(amount, n, total, squares):
    """Above the mean of n others, in standard deviations of the sample of them; None where there is no such deviation."""
    spread = n * squares - total * total  # n (n - 1) times the variance, exact
    return (amount - total / n) / (spread / (n * (n - 1))) ** 0.5 if spread else None


def customer_features(rows):
    """rows: (tx, seconds, customer, terminal, cents, is_fraud) in the file's order."""
    past = {}  # customer: times, running cents and their squares (each one more than times), the greatest
    weekend = {}
    for _, t, customer, _, cents, _ in rows:
        day = t // DAY
        if day not in weekend:
            weekend[day] = int(datetime.datetime.fromtimestamp(t, datetime.timezone.utc).weekday() >= 5)
        times, sums, squares, most = past.get(customer) or ([], [0], [0], 0)
        first = [bisect_right(times, t - w) for w in WINDOWS]
        n = len(times)
        others = [(n - i, sums[n] - sums[i]) for i in first]
        yield [cents / 100, weekend[day], int(t % DAY // 3600 <= 6), *(k + 1 for k, _ in others),
               *((total + cents) / 100 / (k + 1) for k, total in others), ratio(cents, *others[1]), ratio(cents, *others[2]),
               zscore(cents, *others[2], squares[n] - squares[first[2]]), cents / most if most else None]
        times.append(t)
        sums.append(sums[n] + cents)
        squares.append(squares[n] + cents * cents)
        past[customer] = times, sums, squares, max(most, cents)


def terminal_features(rows):
    used, known, known_small = {}, {}, {}  # terminal: times of use; times at which frauds, and small ones, are reported
    waiting, done = [], 0  # frauds not yet reported, in order of time
    for _, t, _, terminal, cents, fraud in rows:
        while done < len(waiting) and waiting[done][0] <= t:
            at, where, amount = waiting[done]
            known.setdefault(where, []).append(at)
            if amount < SMALL:
                known_small.setdefault(where, []).append(at)
            done += 1
        seen = used.setdefault(terminal, [])
        seen.append(t)
        end = bisect_right(seen, t - DELAY)
        counts = [end - bisect_right(seen, t - DELAY - w) for w in WINDOWS]
        bad, small = known.get(terminal, []), known_small.get(terminal, [])
        frauds = [len(bad) - bisect_right(bad, t - w) for w in WINDOWS]
        if fraud:
            waiting.append((t + DELAY, terminal, cents))
        yield [*counts, *(f / n if n else 0.0 for f, n in zip(frauds, counts)),
               *(len(times) - bisect_right(times, t - w) for times in (bad, small) for w in KNOWN)]


def features(rows):
    """Of a list of rows all 27."""
    return (c + t for c, t in zip(customer_features(rows), terminal_features(rows)))


def written(values):
    return ",".join("" if v is None else str(v) for v in values)


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
            out.write(f"{row[0]},{written(values)}\n")
        return
    out.write(",".join(["tx_id"] + CUSTOMER if part == "customer" else TERMINAL) + "\n")
    made = customer_features if part == "customer" else terminal_features
    ids = (row[0] + "," for row in published(path)) if part == "customer" else iter(lambda: "", None)
    for tx, values in zip(ids, made(published(path))):
        out.write(f"{tx}{written(values)}\n")


if __name__ == "__main__":
    main()
