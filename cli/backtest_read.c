/* cli/backtest_read.c */
#include <string.h>

#include "cli/backtest.h"
#include "cli/stages.h"
#include "wire/avro.h"

enum { WANT_TIME, WANT_VALUE, WANT_KEY, WANT_FORECAST, WANT_LEAD_TIME };

/* n_wants: values alone need no forecast. */
static enum status each_record(struct backtest *b, const char *path, const struct topic *t, size_t n_wants, take_record_fn *take, struct error *err)
{
    struct want wants[WANT_LEAD_TIME + BACKTEST_OUTPUTS_MAX] = {{b->time, COL_INT}, {b->value, COL_DOUBLE}, {b->key, COL_STRING}, {"forecast", COL_AVRO}};
    enum status st;

    for (size_t i = WANT_LEAD_TIME; i < n_wants; i++)
        wants[i] = (struct want){arena_printf(&b->arena, "lead_time_%s", b->score->outputs[i - WANT_LEAD_TIME].name), COL_DOUBLE};
    st = stage_files_each(path, t->schema, wants, n_wants, take, b, err);

    return st == OK ? OK : err_wrap(err, "%s", path);
}

/* ---- values ---- */
static bool is_key(const struct backtest_series *s, struct view key)
{
    return strlen(s->key) == key.n && memcmp(s->key, key.data, key.n) == 0;
}

/* Rows come in the order of their keys within a moment, so the next series is nearly always the one after the last. */
static size_t find_series(const struct backtest *b, struct view key)
{
    for (size_t i = 0; i < b->n_series; i++) {
        size_t at = (b->found + 1 + i) % b->n_series;

        if (is_key(&b->series[at], key))
            return at;
    }
    return b->n_series;
}

static void *grown(struct arena *a, void *old, size_t n, size_t *cap, size_t item_bytes)
{
    void *wider;

    if (n < *cap)
        return old;
    *cap = *cap ? *cap * 2 : 64;
    wider = arena_alloc(a, *cap * item_bytes);
    if (n > 0)
        memcpy(wider, old, n * item_bytes);
    return wider;
}

static struct backtest_series *series_of(struct backtest *b, struct view key)
{
    b->found = find_series(b, key);
    if (b->found == b->n_series) {
        b->series = grown(&b->arena, b->series, b->n_series, &b->cap_series, sizeof(*b->series));
        b->series[b->n_series++] = (struct backtest_series){.key = arena_printf(&b->arena, "%.*s", (int)key.n, (const char *)key.data)};
    }
    return &b->series[b->found];
}

size_t backtest_find(const struct backtest_series *s, int64_t time)
{
    size_t low = 0, high = s->n;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (s->times[mid] < time)
            low = mid + 1;
        else
            high = mid;
    }
    return low < s->n && s->times[low] == time ? low : SIZE_MAX;
}

static void put_value(struct backtest *b, struct backtest_series *s, int64_t time, double value)
{
    size_t at = backtest_find(s, time), cap = s->cap;

    if (at != SIZE_MAX) { /* corrected */
        s->values[at] = value;
        return;
    }
    s->times = grown(&b->arena, s->times, s->n, &cap, sizeof(*s->times));
    s->values = grown(&b->arena, s->values, s->n, &s->cap, sizeof(*s->values));
    for (at = s->n++; at > 0 && s->times[at - 1] > time; at--) {
        s->times[at] = s->times[at - 1];
        s->values[at] = s->values[at - 1];
    }
    s->times[at] = time;
    s->values[at] = value;
}

static enum status take_value(void *ctx, const struct batch *row, struct error *err)
{
    struct backtest *b = ctx;
    const struct col *c = row->cols;

    if (c[WANT_KEY].null[0] || c[WANT_TIME].null[0])
        return err_set(err, ERR_FATAL, "a row without '%s' or '%s'", b->key, b->time);
    if (!c[WANT_VALUE].null[0])
        put_value(b, series_of(b, c[WANT_KEY].view[0]), c[WANT_TIME].i64[0], c[WANT_VALUE].f64[0]);
    if (c[WANT_TIME].i64[0] > b->last_ms)
        b->last_ms = c[WANT_TIME].i64[0];
    return OK;
}

enum status backtest_read_values(struct backtest *b, const char *path, const struct topic *t, struct error *err)
{
    b->last_ms = INT64_MIN;
    return each_record(b, path, t, WANT_FORECAST, take_value, err);
}

/* ---- rows ---- */
static bool read_steps(struct backtest *b, struct view list, struct backtest_row *row)
{
    struct avro_reader r = {list.data, list.data + list.n};
    int64_t n, step;
    size_t at = 0;

    row->times = arena_alloc(&b->arena, b->n_steps * sizeof(*row->times));
    row->values = arena_alloc(&b->arena, b->n_cells * b->n_outputs * sizeof(*row->values));
    while (avro_get_block(&r, &n) && n > 0)
        for (; n > 0; n--, at++) {
            if (at == b->n_steps || !avro_get_long(&r, &step) || !avro_get_long(&r, &row->times[at]))
                return false;
            for (size_t k = 0; k < b->n_outputs; k++)
                if (!avro_get_double(&r, &row->values[at * b->n_outputs + k]))
                    return false;
        }
    return at == b->n_steps;
}

static bool read_lead_time(const struct backtest *b, const struct col *c, struct backtest_row *row)
{
    for (size_t k = 0; b->lead_time && k < b->n_outputs; k++) {
        if (c[WANT_LEAD_TIME + k].null[0])
            return false;
        row->values[b->n_steps * b->n_outputs + k] = c[WANT_LEAD_TIME + k].f64[0];
    }
    return true;
}

/* A corrected row takes its place. */
static void put_row(struct backtest *b, struct backtest_row r)
{
    struct backtest_series *s = &b->series[r.series];

    for (size_t at = s->last_row; at != 0; at = b->rows[at - 1].before)
        if (b->rows[at - 1].time == r.time) {
            r.before = b->rows[at - 1].before;
            b->rows[at - 1] = r;
            return;
        }
    r.before = s->last_row;
    b->rows = grown(&b->arena, b->rows, b->n_rows, &b->cap_rows, sizeof(*b->rows));
    b->rows[b->n_rows++] = r;
    s->last_row = b->n_rows;
}

static enum status take_row(void *ctx, const struct batch *row, struct error *err)
{
    struct backtest *b = ctx;
    const struct col *c = row->cols;
    struct backtest_row r = {.time = c[WANT_TIME].i64[0]};

    while (r.origin < b->n_origins && !(r.time <= b->origins_ms[r.origin] && r.time > b->origins_ms[r.origin] - b->span_ms))
        r.origin++;
    if (r.origin == b->n_origins || c[WANT_VALUE].null[0])
        return OK;
    b->found = r.series = find_series(b, c[WANT_KEY].view[0]);
    if (r.series == b->n_series)
        return err_set(err, ERR_FATAL, "a forecast of '%.*s', of which no row is known", (int)c[WANT_KEY].view[0].n, (const char *)c[WANT_KEY].view[0].data);
    if (c[WANT_FORECAST].null[0] || !read_steps(b, c[WANT_FORECAST].view[0], &r) || !read_lead_time(b, c, &r))
        r.values = NULL;
    put_row(b, r);
    return OK;
}

enum status backtest_read_rows(struct backtest *b, const char *path, const struct topic *t, int64_t span_ms, struct error *err)
{
    b->span_ms = span_ms;
    return each_record(b, path, t, WANT_LEAD_TIME + (b->lead_time ? b->n_outputs : 0), take_row, err);
}

void backtest_done(struct backtest *b)
{
    arena_done(&b->arena);
}
