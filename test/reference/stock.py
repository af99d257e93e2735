"""A shop whose items sell by the weekday, and a pipeline that forecasts them: what the tests of forecasts share."""
import copy
import datetime
import random

DAY, ITEMS, DAYS, HORIZON, LEAD = 86400000, 12, 150, 7, 3
BEGIN = int(datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc).timestamp()) * 1000

STEP = range(1, HORIZON + 1)
GROUPS = {f"i{i}": "ab"[i % 2] for i in range(ITEMS)}  # the new item is of no group that anyone knows


def time(name):
    return {"name": name, "type": {"type": "long", "logicalType": "timestamp-millis"}}


SALE = {"type": "record", "name": "Sale", "fields": [{"name": "item", "type": "string"}, time("ts"), {"name": "quantity", "type": "long"}]}
# What is planned for a day, and when that was said: whether the shop has an offer for the item.
PLAN = {"type": "record", "name": "Plan", "fields": [
    {"name": "item", "type": "string"}, time("ts"), time("day"), {"name": "offer", "type": "boolean"}]}
GROUP_SCHEMAS = {
    "Item": {"type": "record", "name": "Item", "fields": [{"name": "item", "type": "string"}, time("since"), {"name": "family", "type": "string"}]},
    # what a forecast's sum needs; without a group it is a dead letter
    "Member": {"type": "record", "name": "Member", "fields": [
        {"name": "member_item", "type": "string"}, {"name": "member_family", "type": "string"}, time("end"), {"name": "revision", "type": "int"},
        *({"name": f"step_mean_{k}", "type": ["null", "double"], "default": None} for k in STEP), {"name": "lineage", "type": "Lineage"}]}}
OUTPUTS = {"mean": {"objective": "reg:squarederror"},
           "p10": {"objective": "reg:quantileerror", "quantile_alpha": 0.1},
           "p50": {"objective": "reg:absoluteerror"},
           "p90": {"objective": "reg:quantileerror", "quantile_alpha": 0.9}}
PIPELINE = {
    "pipeline": "shop", "schemas": "schemas",
    "topics": {"sales": {"schema": "Sale", "key": "item", "time": "ts", "partitions": 2, "lateness": "2d"}, "days": {}, "rows": {}, "forecasts": {}},
    "stages": {
        "intake": {"worker": "ingest", "to": "sales"},
        "daily": {"worker": "preprocess", "from": "sales", "to": "days", "tumbling": {"every": "1d", "values": {"sold": {"sum": "quantity"}}}},
        "lags": {"worker": "preprocess", "from": "days", "to": "rows",
                 "features": {"dow": "weekday(start)", "sold_mean": {"mean": "sold", "over": ["7d", "28d"]},
                              "sold_before": {"previous": "sold"}, "days_known": {"count": "days", "over": "ever"}}},
        "learn": {"worker": "train", "from": "rows", "model": "shop", "features": ["sold", "dow", "sold_mean", "sold_before"],
                  "target": {"value": "sold", "horizon": HORIZON, "every": "1d", "lead_time": LEAD, "scale": "sold_mean_28d", "min": 0,
                             "known": {"target_dow": "weekday(target_time - 1)", "ahead": "step * 2"}},
                  "outputs": OUTPUTS, "calibrate": True, "refit": True,
                  "every": "28d", "window": "90d", "holdout": "14d",
                  "xgboost": {"tree_method": "hist", "base_score": 1, "seed": 1, "rounds": 40, "max_depth": 4, "eta": 0.2}},
        "ahead": {"worker": "score", "from": "rows", "model": "shop", "to": "forecasts"}}}


def with_plans(pipeline):
    """The same with the plans joined to each day, and the target's day's offer known."""
    p = copy.deepcopy(pipeline)
    p["topics"]["plans"] = {"schema": "Plan", "key": "item", "time": "ts", "partitions": 2}
    p["stages"]["intake"]["to"] = ["sales", "plans"]
    p["stages"]["lags"].update({"from": ["plans", "days"], "emit_on": "days"})
    p["stages"]["lags"]["features"]["plan"] = {"join": "plans", "fields": ["offer"], "for": "day + 1", "every": "1d", "ahead": HORIZON}
    p["stages"]["learn"]["target"]["known"]["offer"] = "pick(step - 1, plan_offer)"
    return p


def with_groups(pipeline):
    """The same with sums over the items' families behind it: of each origin and step, what the forecasts are by now."""
    p = copy.deepcopy(pipeline)
    p["topics"].update({"items": {"schema": "Item", "key": "item", "time": "since", "partitions": 2},
                        # of another key than the forecasts: here a revision is a row beside the one before
                        "members": {"schema": "Member", "key": "member_item"}, "changes": {"key": "member_family"}, "sums": {}})
    p["stages"]["intake"]["to"] = [*([to] if isinstance(to := p["stages"]["intake"]["to"], str) else to), "items"]
    p["stages"].update({
        "group": {"worker": "preprocess", "from": ["items", "forecasts"], "emit_on": "forecasts", "to": "members", "features": {
            "member": {"join": "items", "fields": ["item", "family"]}, "step": {"list": "forecast", "fields": ["mean"], "items": len(STEP)}}},
        "change": {"worker": "preprocess", "from": "members", "to": "changes", "features": {
            **{f"was_{k}": {"previous": f"step_mean_{k}", "over": "1ms"} for k in STEP},
            **{f"change_{k}": f"coalesce(round(step_mean_{k}, 3), 0) - coalesce(round(was_{k}_1ms, 3), 0)" for k in STEP}}},
        "sum": {"worker": "preprocess", "from": "changes", "to": "sums", "tumbling": {
            "every": "1h", "fill.for": "0s",
            "values": {"items": {"count": "changes", "where": "revision = 0"}, **{f"mean_{k}": {"sum": f"change_{k}"} for k in STEP}}}}})
    return p


def items():
    """[(item, ms, family)]"""
    return [(i, BEGIN - DAY, family) for i, family in GROUPS.items()]


def has_offer(item, day):
    return (int(item[1:]) * 7 + day * day) % 11 < 2


def with_offers(sold):
    """The sales as they are where an offer doubles and more what is sold, and the plans: [(item, ms, day, offer)]. A day's is said wrongly at first,
    rightly at least as long before it as it is forecast, and wrongly again when it has begun."""
    more, r = [(i, t, q * 5 // 2 if has_offer(i, (t - BEGIN) // DAY) else q) for i, t, q in sold if i != NEW], random.Random(2)
    plans = [(f"i{i}", BEGIN + d * DAY + after, BEGIN + d * DAY, has_offer(f"i{i}", d) == right) for d in range(DAYS + HORIZON) for i in range(ITEMS)
             for after, right in ((-(HORIZON + 9) * DAY, False), (-r.randrange(HORIZON * DAY, (HORIZON + 7) * DAY), True), (DAY // 24, False))]
    return more, sorted(plans, key=lambda p: p[1])


NEW = "new"  # an item that is first sold a few days before the end
LATE = 7  # every how-manieth sale comes a day late


def sales(seed):
    """[(item, ms, quantity)] in the order in which they come."""
    r, out = random.Random(seed), []
    for i in range(ITEMS):
        level = r.choice([2, 10, 50])
        for d in range(DAYS):
            weekday = datetime.datetime.fromtimestamp((BEGIN + d * DAY) / 1000, datetime.timezone.utc).weekday()
            n = int(r.gauss(level * (1.5 if weekday < 2 else 0.8), level * 0.2))
            if n > 0:
                out.append((f"i{i}", BEGIN + d * DAY + r.randrange(DAY), n))
    out += [(NEW, BEGIN + d * DAY + DAY // 2, 20 + d % 3) for d in range(DAYS - 4, DAYS)]
    out.sort(key=lambda s: s[1])
    return [s for _, s in sorted(((ms + (DAY if n % LATE == 0 else 0), n), (i, ms, q)) for n, (i, ms, q) in enumerate(out))]
