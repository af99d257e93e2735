/* cli/backtest_print.c */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/backtest.h"
#include "wire/text.h"

#define GROUPS 7 /* rows of the table by step */

struct figures {
    double mase, wape, rmsse, smape, owa, mae;
};

static struct figures figures_of(const struct backtest_result *r, const struct backtest_method *m)
{
    double n = (double)r->n;
    struct figures f = {
        .mase = forecast_sums_mase(&m->sums), .wape = forecast_sums_wape(&m->sums), .rmsse = forecast_sums_rmsse(&m->sums), .smape = m->smape / n,
        .mae = m->sums.abs_error / (double)r->n_values};

    f.owa = forecast_owa(f.smape, f.mase, r->naive2.smape / n, forecast_sums_mase(&r->naive2.sums));
    return f;
}

static const struct method {
    const char *name, *key;
    size_t offset;
} methods[] = {
    {"forecast", "forecast", offsetof(struct backtest_result, forecast)},
    {"seasonal naive", "seasonal_naive", offsetof(struct backtest_result, naive)},
    {"smoothed level", "smoothed_level", offsetof(struct backtest_result, level)},
    {"naive2", "naive2", offsetof(struct backtest_result, naive2)},
};

static struct figures figures_at(const struct backtest_result *r, const struct method *m)
{
    return figures_of(r, (const struct backtest_method *)(const void *)((const char *)r + m->offset));
}

static void print_origins(const struct backtest *b, const struct backtest_result *r)
{
    char first[32], last[32];

    text_format_time(b->origins_ms[b->n_origins - 1], first);
    text_format_time(b->origins_ms[0], last);
    printf("%zu forecasts of %zu steps, of %zu series; %zu origins, from %.16s to %.16s\n", r->n, b->n_steps, b->n_series, b->n_origins, first, last);
    if (r->n_unjudged)
        printf("%zu more rows have no forecast, or not all of their values have come\n", r->n_unjudged);
}

static double share(size_t n, size_t of)
{
    return of ? (double)n / (double)of : NAN;
}

/* Of cells [from, to). */
static double share_at_or_below(const struct backtest *b, const struct backtest_result *r, size_t output, size_t from, size_t to)
{
    size_t below = 0, n = 0;

    for (size_t i = from; i < to; i++) {
        below += r->n_at_or_below[i * b->n_outputs + output];
        n += r->n_at[i];
    }
    return share(below, n);
}

static double share_inside(const struct backtest_result *r, size_t from, size_t to)
{
    size_t inside = 0, of = 0;

    for (size_t i = from; i < to; i++) {
        inside += r->n_inside[i];
        of += r->n_inside_of[i];
    }
    return share(inside, of);
}

/* NaN of an output that is no quantile. */
static double mean_pinball(const struct backtest *b, const struct backtest_result *r, size_t output, size_t from, size_t to)
{
    size_t n = 0;
    double sum = 0;

    for (size_t i = from; i < to; i++) {
        sum += r->pinball[i * b->n_outputs + output];
        n += r->n_at[i];
    }
    return isnan(b->shares[output]) || n == 0 ? NAN : sum / (double)n;
}

/* How many truths lie at or below each output, how many inside, and the quantiles' mean pinball loss. */
static void print_cells(const struct backtest *b, const struct backtest_result *r, const char *name, size_t from, size_t to)
{
    printf("%-14s", name);
    for (size_t k = 0; k < b->n_outputs; k++)
        printf(" %8.3f", share_at_or_below(b, r, k, from, to));
    printf(" %8.3f", share_inside(r, from, to));
    for (size_t k = 0; k < b->n_outputs; k++)
        if (!isnan(b->shares[k]))
            printf(" %8.4g", mean_pinball(b, r, k, from, to));
    printf("\n");
}

static void print_steps(const struct backtest *b, const struct backtest_result *r, size_t from, size_t to)
{
    char name[32];

    snprintf(name, sizeof(name), to - from > 1 ? "%zu to %zu" : "%zu", from + 1, to);
    print_cells(b, r, name, from, to);
}

void backtest_print(const struct backtest *b, const struct backtest_result *r)
{
    size_t each = (b->n_steps + GROUPS - 1) / GROUPS;
    char name[40];

    print_origins(b, r);
    printf("\n%-14s %8s %8s %8s %8s %8s %8s\n", "", "MASE", "WAPE", "RMSSE", "sMAPE", "OWA", "MAE");
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct figures f = figures_at(r, &methods[i]);

        printf("%-14s %8.3f %8.3f %8.3f %8.3f %8.3f %8.4g\n", methods[i].name, f.mase, f.wape, f.rmsse, f.smape, f.owa, f.mae);
    }
    printf("\n%-14s", "steps: at or <=");
    for (size_t k = 0; k < b->n_outputs; k++)
        printf(" %8.8s", b->score->outputs[k].name);
    printf("   inside");
    for (size_t k = 0; k < b->n_outputs; k++)
        if (!isnan(b->shares[k]))
            printf("   loss %.3g", b->shares[k]);
    printf("\n");
    for (size_t from = 0; from < b->n_steps; from += each)
        print_steps(b, r, from, from + each < b->n_steps ? from + each : b->n_steps);
    print_steps(b, r, 0, b->n_steps);
    if (b->lead_time) {
        snprintf(name, sizeof(name), "sum of 1 to %zu", b->lead_time);
        print_cells(b, r, name, b->n_steps, b->n_cells);
    }
}

/* ---- JSON: a number that is none is null ---- */
static void put(const char *name, double v, const char *after)
{
    printf("\"%s\": ", name);
    if (isfinite(v))
        printf("%.17g%s", v, after);
    else
        printf("null%s", after);
}

/* Of cells [from, to). */
static void put_outputs(const struct backtest *b, const struct backtest_result *r, size_t from, size_t to)
{
    printf("\"outputs\": {");
    for (size_t k = 0; k < b->n_outputs; k++) {
        printf("%s\"%s\": {", k ? ", " : "", b->score->outputs[k].name);
        put("at_or_below", share_at_or_below(b, r, k, from, to), ", ");
        put("pinball", mean_pinball(b, r, k, from, to), "}");
    }
    printf("},\n ");
    put("inside", share_inside(r, from, to), "");
}

void backtest_print_json(const struct backtest *b, const struct backtest_result *r)
{
    printf("{\"origins\": %zu, \"series\": %zu, \"forecasts\": %zu, \"unjudged\": %zu, \"steps\": %zu,\n \"methods\": {", b->n_origins,
           b->n_series, r->n, r->n_unjudged, b->n_steps);
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct figures f = figures_at(r, &methods[i]);

        printf("%s\n  \"%s\": {", i ? "," : "", methods[i].key);
        put("mase", f.mase, ", ");
        put("wape", f.wape, ", ");
        put("rmsse", f.rmsse, ", ");
        put("smape", f.smape, ", ");
        put("owa", f.owa, ", ");
        put("mae", f.mae, "}");
    }
    printf("},\n ");
    put_outputs(b, r, 0, b->n_steps);
    if (b->lead_time) {
        printf(",\n \"lead_time\": {\"steps\": %zu, ", b->lead_time);
        put_outputs(b, r, b->n_steps, b->n_cells);
        printf("}");
    }
    printf("}\n");
}
