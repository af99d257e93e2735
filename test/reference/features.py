#!/usr/bin/env python3
"""An independent reference of the fraud pipeline's 29 features: the published CSV in, a table of one row per transaction out.

usage: features.py HANDBOOK_TX_CSV_ZST customer|terminal >TABLE     (the columns of one stage, as compare.c reads them)

Written from the definitions alone, sharing no code with common/feature. Windows are (t-w, t]. A customer's counts and means hold
the row itself, what its amount is compared with holds the others only; a terminal's counts end 7 days ago. A label is known
exactly 7 days after its transaction. Rows at equal seconds: those before in the file count, later ones do not. At equal times a
label comes before a transaction. Each feature is of one key: all rows of a key are gone through together, in the file's order.
"""
import datetime
import subprocess
import sys
from array import array
from bisect import bisect_right

DAY = 86400
WINDOWS = (DAY, 7 * DAY, 30 * DAY)
DELAY = 7 * DAY
KNOWN = (7 * DAY, 14 * DAY, 28 * DAY, 60 * DAY)
SMALL = 22000  # cents, and below
SPANS, KNOWN_SPANS = ("1d", "7d", "30d"), ("7d", "14d", "28d", "60d")
CUSTOMER = ["amount", "weekend", "night", *(f"customer_{f}_{w}" for f in ("n", "mean") for w in SPANS),
            "amount_to_mean_7d", "amount_to_mean_30d", "amount_zscore_30d", "amount_to_max_ever", "customer_peak_to_mean_7d"]
TERMINAL = [*(f"terminal_{f}_{w}" for f in ("n", "risk") for w in SPANS),
            *(f"terminal_{f}_{w}" for f in ("chargebacks", "small_chargebacks") for w in KNOWN_SPANS), "terminal_days_since_first_small_28d"]
NONE = float("nan")
NOTHING_KNOWN = [0] * (len(TERMINAL) - len(WINDOWS) - 1) + [NONE]


def ratio(amount, n, total):
    """To the mean of n others; none without any, and where that mean is 0."""
    return amount * n / total if total else NONE


def zscore(amount, n, total, squares):
    """Above the mean of n others, in standard deviations of the sample of them; none where there is no such deviation."""
    spread = n * squares - total * total  # n (n - 1) times the variance, exact
    return (amount - total / n) / (spread / (n * (n - 1))) ** 0.5 if spread else NONE


def is_weekend(day):
    return int(datetime.datetime.fromtimestamp(day * DAY, datetime.timezone.utc).weekday() >= 5)


def customer_features(times, cents, _frauds):
    """Of one customer's payments in order: a row each."""
    sums, squares, most = [0], [0], 0  # the first n payments' cents, and their squares
    begins = [0] * len(WINDOWS)
    for n, (t, amount) in enumerate(zip(times, cents)):
        for i, w in enumerate(WINDOWS):
            while begins[i] < n and times[begins[i]] <= t - w:
                begins[i] += 1
        a, b, c = begins
        total, square = sums[n], squares[n]
        in_a, in_b, in_c = total - sums[a], total - sums[b], total - sums[c]
        yield (amount / 100, is_weekend(t // DAY), t % DAY // 3600 <= 6, n - a + 1, n - b + 1, n - c + 1,
               (in_a + amount) / 100 / (n - a + 1), (in_b + amount) / 100 / (n - b + 1), (in_c + amount) / 100 / (n - c + 1),
               ratio(amount, n - b, in_b), ratio(amount, n - c, in_c), zscore(amount, n - c, in_c, square - squares[c]),
               amount / most if most else NONE, ratio(max(cents[b:n], default=NONE), n - c + 1, in_c + amount))
        sums.append(total + amount)
        squares.append(square + amount * amount)
        most = max(most, amount)


def terminal_features(times, cents, frauds):
    """Of one terminal's payments in order: a row each."""
    reports = [t + DELAY for t, fraud in zip(times, frauds) if fraud]
    small = [t + DELAY for t, amount, fraud in zip(times, cents, frauds) if fraud and amount < SMALL]
    for t in times:
        end = bisect_right(times, t - DELAY)
        counts = [end - bisect_right(times, t - DELAY - w) for w in WINDOWS]
        known, known_small = bisect_right(reports, t), bisect_right(small, t)
        if not known:
            yield *counts, *NOTHING_KNOWN
            continue
        first_small = bisect_right(small, t - 28 * DAY)
        yield (*counts, *((known - bisect_right(reports, t - w)) / n if n else 0.0 for w, n in zip(WINDOWS, counts)),
               *(known - bisect_right(reports, t - w) for w in KNOWN), *(known_small - bisect_right(small, t - w) for w in KNOWN),
               (t - small[first_small]) / DAY if first_small < known_small else NONE)


PARTS = {"customer": (2, CUSTOMER, customer_features), "terminal": (3, TERMINAL, terminal_features)}  # where in a row its key is


def table(rows, part):
    """rows: (tx, seconds, customer, terminal, cents, is_fraud) in the file's order. The transaction's number and the part's features, row by row."""
    key, names, made = PARTS[part]
    keys, width = {}, 1 + len(names)
    for number, row in enumerate(rows):
        of = keys.get(row[key])
        if of is None:
            of = keys[row[key]] = [], [], [], [], []
        for column, value in zip(of, (number, row[0], row[1], row[4], row[5])):
            column.append(value)
    out = array("d", bytes(8 * width * sum(len(numbers) for numbers, *_ in keys.values())))
    for numbers, txs, *columns in keys.values():
        for number, tx, values in zip(numbers, txs, made(*columns)):
            out[number * width:(number + 1) * width] = array("d", (float(tx), *values))
    return out


def features(rows):
    """Of a list of rows all 29, None where there is none."""
    parts = [(table(rows, part), 1 + len(names)) for part, (_, names, _) in PARTS.items()]
    for i in range(len(rows)):
        yield [None if v != v else v for values, n in parts for v in values[i * n + 1:(i + 1) * n]]


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
    path, part = sys.argv[1:]
    sys.stdout.buffer.write((",".join(["tx_id"] + PARTS[part][1]) + "\n").encode())
    table(published(path), part).tofile(sys.stdout.buffer)


if __name__ == "__main__":
    main()
