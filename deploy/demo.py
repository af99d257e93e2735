"""What deploy/demo cannot say in bash: waits on the workers' own metrics, and the arithmetic of the table.

drain  UP_LOG UP_PID PIPELINE STAGE ROWS    until the stage has taken all rows and nothing lags, with progress
fraud  DEMO STARTED                         the table and DEMO/summary.json
demand DEMO STARTED
"""
import csv
import datetime
import glob
import json
import os
import re
import signal
import sys
import time
import urllib.request

STILL_S, POLL_S = 120, 0.5


def running(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def fetch(address, path):
    try:
        with urllib.request.urlopen(address + path, timeout=2) as answer:
            return answer.read().decode()
    except OSError:  # a stage that restarts, or is not ready
        return None


def addresses(log):
    return sorted(set(re.findall(r"http://127\.0\.0\.1:\d+", open(log).read())))


def scrape(log):
    """{stage: {metric or metric/outcome: value}} of the workers that answer."""
    stages = {}
    for address in addresses(log):
        for name, labels, value in re.findall(r"^(\w+)\{(.*)\} (\S+)$", fetch(address, "/metrics") or "", re.M):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            outcome = labels.get("outcome")
            stages.setdefault(labels.get("stage"), {})[name + ("/" + outcome if outcome else "")] = float(value)
    return stages


def readers(pipeline):
    return [name for name, stage in json.load(open(pipeline))["stages"].items() if "from" in stage]


def died(log, pid):
    if not running(pid):
        sys.exit("millrace up ended:\n" + open(log).read()[-2000:])


def rss(pid):
    """Bytes of millrace up and what it started."""
    total, family = 0, {int(pid)}
    for entry in sorted((e for e in os.listdir("/proc") if e.isdigit()), key=int):
        try:
            parent = int(open(f"/proc/{entry}/stat").read().rsplit(")", 1)[1].split()[1])
            if int(entry) in family or parent in family:
                family.add(int(entry))
                total += int(open(f"/proc/{entry}/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            pass
    return total


def fits(log):
    """Whether a train stage is at a fit, by its own log: score may wait for that, however long it takes."""
    for path in glob.glob(os.path.join(os.path.dirname(log), "log", "*.log")):
        events = re.findall(r"event=(training|trained) ", open(path, errors="replace").read())
        if events and events[-1] == "training":
            return True
    return False


def drain(log, pid, pipeline, stage, rows):
    rows, wanted, moved, last, most, quiet = int(rows), readers(pipeline), time.monotonic(), None, 0, 0
    printed = 0
    while quiet < 4:
        died(log, pid)
        stages = scrape(log)
        most = max(most, rss(pid))
        now = {s: (m.get("millrace_records_total/taken"), m.get("millrace_lag_records")) for s, m in stages.items()}
        if now != last or fits(log):
            moved, last = time.monotonic(), now
        elif time.monotonic() - moved > STILL_S and quiet == 0:
            sys.exit(f"nothing moved for {STILL_S} s: {now}\n" + open(log).read()[-2000:])
        taken = stages.get(stage, {}).get("millrace_records_total/taken", 0)
        dead = sum(m.get("millrace_records_total/dead_letter", 0) for m in stages.values())
        idle = all(stages.get(s, {}).get("millrace_lag_records") == 0 for s in wanted)
        quiet = quiet + 1 if idle and taken + dead >= rows else 0
        if sys.stdout.isatty() or time.monotonic() - printed >= 10:
            printed = time.monotonic()
            lag = "  ".join(f"{s} {m.get('millrace_lag_records', 0):,.0f}" for s, m in stages.items() if s in wanted)
            print(f"{taken:>11,.0f} of {rows:,} in {stage}; lag: {lag}   ", end="\r" if sys.stdout.isatty() else "\n", flush=True)
        time.sleep(POLL_S)
    stages["rows"], stages["rss"], stages["end"] = rows, most, time.time()
    with open(os.path.dirname(log) + "/metrics.json", "w") as f:
        json.dump(stages, f)
    print()


def quality(scored):
    """AUC and average precision over (score, fraud); ties share their place."""
    scored = sorted(scored, reverse=True)
    positives = sum(fraud for _, fraud in scored)
    negatives = len(scored) - positives
    if positives == 0 or negatives == 0:
        return None, None
    i = found = seen = 0
    area = precision = 0.0
    while i < len(scored):
        j = i
        while j < len(scored) and scored[j][0] == scored[i][0]:
            j += 1
        hits = sum(fraud for _, fraud in scored[i:j])
        area += (j - i - hits) * (found + hits / 2)
        found, seen = found + hits, j
        precision += hits / positives * found / seen
        i = j
    return area / (positives * negatives), precision


def card_precision(rows):
    """Mean over days of the share of frauds among the 100 customers with the highest score of the day."""
    days = {}
    for customer, day, score, fraud in rows:
        best = days.setdefault(day, {}).setdefault(customer, [score, fraud])
        best[0], best[1] = max(best[0], score), max(best[1], fraud)
    per_day = [sum(f for _, f in sorted(c.values(), key=lambda x: -x[0])[:100]) / 100 for c in days.values()]
    return sum(per_day) / len(per_day) if per_day else None


def finish(folder, started, metrics, own):
    """The table: what both pipelines have, and their own figures."""
    seconds = metrics["end"] - float(started)
    stages = [m for m in metrics.values() if isinstance(m, dict)]
    out = {"records_in": metrics["rows"], **own, "dead_letters": int(sum(m.get("millrace_records_total/dead_letter", 0) for m in stages)),
           "records_per_s": metrics["rows"] / seconds, "seconds": seconds, "rss_max_bytes": metrics["rss"]}
    with open(folder + "/summary.json", "w") as f:
        json.dump(out, f, indent=1)
    for name, value in out.items():
        text = "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
        print(f"  {name:<18} {text:>16}")


def put(metrics, stage):
    return int(metrics.get(stage, {}).get("millrace_records_total/put", 0))


def fraud(folder, started):
    frauds = {row["tx_id"] for row in csv.DictReader(open(folder + "/labels.csv"))}
    metrics, n_scores, rows = json.load(open(folder + "/metrics.json")), 0, []
    for tx, customer, ts, score in csv.reader(open(folder + "/scores.csv")):
        n_scores += 1
        if score not in ("", "null"):
            day = ts[:10] if "-" in ts[1:] else int(ts) // 86400000
            rows.append((customer, day, float(score), tx in frauds))
    auc, ap = quality([(s, f) for _, _, s, f in rows])
    finish(folder, started, metrics, {
        "features": put(metrics, "terminal"), "scores": n_scores, "alerts": put(metrics, "alert"),
        "auc": auc, "ap": ap, "cp100": card_precision(rows)})


LEAD_DAYS = 7


def demand(folder, started):
    """Forecasts of the lead time's sum beside what came: how many lie below each quantile, and the median's error by all units."""
    metrics, sold, said = json.load(open(folder + "/metrics.json")), {}, {}
    for item, end, units, _, *quantiles in csv.reader(open(folder + "/forecasts.csv")):
        day = datetime.date.fromisoformat(end[:10]).toordinal()
        sold[item, day] = float(units)  # the last revision
        if "" not in quantiles and "null" not in quantiles:
            said.setdefault((item, day), [float(q) for q in quantiles])  # what was said first
    judged = []
    for (item, day), quantiles in said.items():
        came = [sold.get((item, day + i)) for i in range(1, LEAD_DAYS + 1)]
        if None not in came:
            judged.append((sum(came), *quantiles))
    units = sum(came for came, *_ in judged)
    share = {f"below_p{q}": sum(j[0] <= j[1 + i] for j in judged) / len(judged) if judged else None for i, q in enumerate((10, 50, 90))}
    finish(folder, started, metrics, {
        "days": put(metrics, "daily"), "forecasts": len(said), "proposals": put(metrics, "propose"), **share,
        "wape_lead_time": sum(abs(j[0] - j[2]) for j in judged) / units if units else None})


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C: deploy/demo tells what happens
    {"drain": drain, "fraud": fraud, "demand": demand}[sys.argv[1]](*sys.argv[2:])
