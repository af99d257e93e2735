#include "feature/aggregates.h"

#include <math.h>
#include <string.h>

static uint32_t n_events(const struct asked *a)
{
    return a->head.pos - a->tail.pos;
}

static const void *part(const struct asked *a, int i)
{
    return part_of(a->past, a->of->parts[i]);
}

const struct row *asked_last(const struct asked *a)
{
    uint32_t row;

    if (n_events(a) == 0)
        return NULL;
    row = a->head.row ? ring_prev(a->rows, a->of->ring, a->head.row) : ring_of(a->rows, a->of->ring)->last_row;
    return row_of(a->rows, row);
}

static const struct row *first_row(const struct asked *a)
{
    return n_events(a) == 0 ? NULL : row_of(a->rows, a->tail.row);
}

static double number_of(int128 v)
{
    return v == (int64_t)v ? (double)(int64_t)v : (double)v;
}

static double count(const struct asked *a)
{
    return a->of->window.tail < 0 ? (double)((const struct part_events *)part(a, 0))->n : n_events(a);
}

static double sum(const struct asked *a)
{
    return number_of(part_sum_of(part(a, 0))) / a->of->parts[0]->factor;
}

static double mean(const struct asked *a)
{
    const struct part_sum *s = part(a, 0);

    return s->n ? number_of(part_sum_of(s)) / (a->of->parts[0]->factor * (double)s->n) : NAN;
}

static double variance(const struct asked *a)
{
    const struct part_sum *s = part(a, 0);
    double n = (double)s->n, factor = a->of->parts[0]->factor;

    return s->n < 2 ? NAN : part_spread(s, part(a, 1)) / (factor * factor * n * (n - 1));
}

static double stddev(const struct asked *a)
{
    return sqrt(variance(a));
}

static double zscore(const struct asked *a)
{
    double by = stddev(a);

    return by > 0 ? (a->own - mean(a)) / by : NAN;
}

static double ratio(const struct asked *a)
{
    double to = mean(a);

    return to == 0 ? NAN : a->own / to;
}

static double best(const struct asked *a)
{
    const struct part_best *b = part(a, 0);

    if (a->of->window.tail >= 0)
        return part_deque_best(a->past, a->of->parts[0]);
    return b->has ? b->v : NAN;
}

static double one(const struct asked *a)
{
    const struct part_first *f = part(a, 0);

    return f->has ? f->v : NAN;
}

static double first(const struct asked *a)
{
    const struct row *row;

    if (a->of->window.tail < 0)
        return one(a);
    row = first_row(a);
    return row ? row->v[a->of->value] : NAN;
}

static double last(const struct asked *a)
{
    const struct row *row;

    if (a->of->parts[0])
        return one(a);
    row = asked_last(a);
    return row ? row->v[a->of->value] : NAN;
}

static double since(const struct asked *a)
{
    const struct row *row = asked_last(a);

    return row ? (double)(a->as_of - row->ms) : NAN;
}

static double rate(const struct asked *a)
{
    const struct row *row = first_row(a);
    int64_t ms = a->of->window.kind == WINDOW_TIME ? a->of->window.ms : row ? a->as_of - row->ms : 0;

    return ms > 0 ? n_events(a) * 1000.0 / (double)ms : NAN;
}

static double distinct(const struct asked *a)
{
    const struct part_def *d = a->of->parts[0];

    if (d->kind == &PART_RECENT)
        return part_recent(a->past, d, a->as_of);
    return d->kind == &PART_DISTINCT ? part_distinct_ever(a->past, d) : part_distinct(a->past, d);
}

static double top(const struct asked *a)
{
    return part_top(a->past, a->of->parts[0], (unsigned)a->of->parameter);
}

static double quantile(const struct asked *a)
{
    return part_quantile(a->past, a->of->parts[0], a->of->parameter);
}

static double ewm(const struct asked *a)
{
    const struct part_decayed *d = part(a, 0);

    return d->weight > 0 ? d->sum / d->weight : NAN;
}

#define SUMS {&PART_SUM, &PART_SQUARES}
#define WINDOW "none but its window's"

const struct aggregate aggregates[] = {
    {.name = "count", .takes = TAKES_TOPIC, .type = COL_INT, .ever = {&PART_EVENTS}, .value = count,
     .about = "How many events.", .formula = "events", .unit = "events", .cost = WINDOW},
    {.name = "sum", .takes = TAKES_NUMBER, .type = COL_DOUBLE, .parts = {&PART_SUM}, .value = sum,
     .about = "Their sum, exact at the field's scale (6 decimals for an expression); 0 of nothing.", .formula = "Σ x",
     .error = "an exact sum, 2 roundings"},
    {.name = "mean", .takes = TAKES_NUMBER, .type = COL_DOUBLE, .parts = {&PART_SUM}, .value = mean,
     .about = "The sum divided by how many values there are.", .formula = "Σ x / n", .error = "an exact sum, 3 roundings"},
    {.name = "variance", .takes = TAKES_NUMBER, .type = COL_DOUBLE, .parts = SUMS, .value = variance,
     .about = "Of the sample: squared distances from the mean, divided by n - 1; of exact sums. Null for fewer than two values.",
     .formula = "(n Σ x² - (Σ x)²) / (n (n - 1))", .unit = "its square", .error = "an exact numerator, then less than 2^-49 of it"},
    {.name = "stddev", .takes = TAKES_NUMBER, .type = COL_DOUBLE, .parts = SUMS, .value = stddev,
     .about = "The square root of `variance`.", .formula = "√ variance", .error = "as `variance`"},
    {.name = "zscore", .takes = TAKES_NUMBER, .type = COL_DOUBLE, .parts = SUMS, .others = true, .is_own = true, .value = zscore,
     .about = "The event's own value less the mean of the others, divided by their `stddev`. Null where that is 0 or null.",
     .formula = "(own - mean) / stddev", .unit = "none", .error = "those of `mean` and `stddev`"},
    {.name = "ratio", .takes = TAKES_NUMBER, .type = COL_DOUBLE, .parts = {&PART_SUM}, .others = true, .is_own = true, .value = ratio,
     .about = "The event's own value divided by the mean of the others. Null where that is 0 or null.", .formula = "own / mean",
     .unit = "none", .error = "an exact sum, 4 roundings"},
    {.name = "min", .takes = TAKES_NUMBER, .type = COL_DOUBLE, .parts = {&PART_MIN}, .ever = {&PART_LEAST}, .value = best,
     .about = "The smallest value.", .formula = "min x", .cost = "one step each, amortised; a late event looks at its window"},
    {.name = "max", .takes = TAKES_NUMBER, .type = COL_DOUBLE, .parts = {&PART_MAX}, .ever = {&PART_MOST}, .value = best,
     .about = "The largest value.", .formula = "max x", .cost = "one step each, amortised; a late event looks at its window"},
    {.name = "first", .takes = TAKES_ANY, .type = COL_DOUBLE, .ever = {&PART_FIRST}, .value = first,
     .about = "The value of the first event, null if it has none. Text comes as its hash.", .formula = "x of the first event", .cost = WINDOW},
    {.name = "last", .takes = TAKES_ANY, .type = COL_DOUBLE, .closed = {&PART_LATEST}, .only_latest = true, .value = last,
     .about = "The value of the last event, null if it has none. Text comes as its hash.", .formula = "x of the last event", .cost = WINDOW},
    {.name = "previous", .takes = TAKES_ANY, .type = COL_DOUBLE, .only_latest = true, .others = true, .value = last,
     .about = "The value of the event before this one, null if it has none. Text comes as its hash.", .formula = "x of the event before",
     .cost = WINDOW},
    {.name = "since", .takes = TAKES_TOPIC, .type = COL_INT, .only_latest = true, .others = true, .value = since,
     .about = "Milliseconds since the event before this one.", .formula = "t - t of the event before", .unit = "milliseconds", .cost = WINDOW},
    {.name = "rate", .takes = TAKES_TOPIC, .type = COL_DOUBLE, .not_ever = true, .value = rate,
     .about = "Events per second: of the window's length, or since its first event where it has none.", .formula = "events / seconds",
     .unit = "1/s", .error = "2 roundings", .cost = WINDOW},
    {.name = "distinct", .takes = TAKES_ANY, .type = COL_INT, .parts = {&PART_COUNTS}, .ever = {&PART_DISTINCT}, .tiled = &PART_RECENT,
     .value = distinct,
     .about = "How many different values. Exact up to 65,536 of them in the window (256 since ever, and with `resolution`), from there an estimate.",
     .formula = "how many different x; beyond: those whose hash begins with L zeros, times 2^L, for the least L that makes them no more than 65,536",
     .unit = "values", .error = "none; beyond 65,536 a standard error of 0.6 % at most; beyond 256 of 1.6 % since ever, of 3.3 % with `resolution`",
     .cost = "one step each; a late event looks at its window; since ever beyond 256: 4,096 registers of a byte are read; with `resolution`: a look at up to 257 values, beyond 256 at 1,024 registers too"},
    {.name = "top", .takes = TAKES_ANY, .type = COL_DOUBLE, .parts = {&PART_TOP}, .not_ever = true, .parameter = "rank",
     .parameter_min = 1, .parameter_max = 16, .parameter_default = 1, .value = top,
     .about = "The most frequent value, or the one of another `rank`; of equally frequent ones the smallest. Exact while the window has up to 4,096 different "
              "values, from there by counts that may be too high; null where so many do not stand out. Text comes as its hash.",
     .formula = "the most frequent x",
     .error = "none; beyond 4,096 a count is at most 1.1 % of all events too high in 98 of 100 cases, never too low; a value of less than 0.8 % of them may be missed",
     .cost = "a look at each different value; beyond 4,096: 260 counters when an event comes and when it leaves, and a look at 1,008 times up to 65 of them"},
    {.name = "quantile", .takes = TAKES_NUMBER, .type = COL_DOUBLE, .parts = {&PART_BUCKETS}, .ever = {&PART_BUCKETS}, .parameter = "share",
     .parameter_min = 0, .parameter_max = 1, .parameter_default = NAN, .value = quantile,
     .about = "The value that a `share` of the values does not exceed, to within 0.4 % of it.", .formula = "least x not below `share` of all x",
     .error = "0.4 % of it", .cost = "a look at each bucket of values: up to 128 for each power of two that they span"},
    {.name = "ewm", .takes = TAKES_NUMBER, .type = COL_DOUBLE, .ever = {&PART_DECAYED}, .only_ever = true, .value = ewm,
     .about = "The mean of all events so far, each weighing half as much after the time that `over` gives.",
     .formula = "Σ x w / Σ w, w = 2^(-age / half-life)", .error = "some roundings for each event that still weighs",
     .cost = "one step; a late event, one for each event that came later"},
};
const size_t n_aggregates = ARRAY_LEN(aggregates);

const struct aggregate *aggregate_find(const char *name)
{
    for (size_t i = 0; i < n_aggregates; i++)
        if (strcmp(aggregates[i].name, name) == 0)
            return &aggregates[i];
    return NULL;
}
