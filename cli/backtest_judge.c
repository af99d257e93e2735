/* cli/backtest_judge.c */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/backtest.h"
#include "model/baselines.h"

/* One row's truth, and what each method said. */
struct judged {
    const double *history;
    size_t n_history;
    size_t *ahead; /* rows from the row to each value that came */
    double *truth, *said, *all;
};

/* Where the values lie that came; false: not all have. */
static bool find_truth(const struct backtest *b, const struct backtest_row *row, struct judged *j)
{
    const struct backtest_series *s = &b->series[row->series];
    size_t here = backtest_find(s, row->time);

    j->history = s->values;
    j->n_history = here + 1;
    for (size_t i = 0; i < b->n_steps; i++) {
        size_t at = backtest_find(s, row->times[i]);

        if (at == SIZE_MAX)
            return false;
        j->ahead[i] = at - here;
        j->truth[i] = s->values[at];
    }
    return true;
}

static void add_method(const struct backtest *b, struct backtest_method *m, const struct judged *j, const double *p50, const double *mean)
{
    forecast_sums_add(&m->sums, j->truth, p50, mean, b->n_steps, j->history, j->n_history, b->season);
    m->smape += forecast_smape(j->truth, p50, b->n_steps);
}

/* all: as many rows ahead as any step needs. */
static void add_baseline(const struct backtest *b, struct backtest_method *m, const struct judged *j)
{
    for (size_t i = 0; i < b->n_steps; i++)
        j->said[i] = j->all[j->ahead[i] - 1];
    add_method(b, m, j, j->said, j->said);
}

static void add_baselines(struct backtest *b, struct backtest_result *r, const struct judged *j)
{
    size_t far = j->ahead[b->n_steps - 1];
    struct arena scratch = ARENA_EMPTY;

    baseline_seasonal_naive(j->history, j->n_history, b->season, j->all, far);
    add_baseline(b, &r->naive, j);
    baseline_smoothed_level(j->history, j->n_history, j->all, far);
    add_baseline(b, &r->level, j);
    baseline_naive2(j->history, j->n_history, b->season, j->all, far, &scratch);
    add_baseline(b, &r->naive2, j);
    arena_done(&scratch);
}

/* Of the known values whole seasons before the one that is `ahead`: on a day of the week on which a shop never opens, all are. */
static bool is_mostly_zero(const struct judged *j, size_t ahead, size_t season)
{
    size_t n = 0, n_zero = 0;

    for (size_t i = (j->n_history - 1 + ahead) % season; i < j->n_history; i += season, n++)
        n_zero += j->history[i] == 0;
    return 2 * n_zero > n;
}

/* The least and the greatest quantile; equal: there are not two. */
static void outermost(const struct backtest *b, size_t *ret_least, size_t *ret_greatest)
{
    *ret_least = *ret_greatest = b->median;
    for (size_t k = 0; k < b->n_outputs; k++) {
        *ret_least = b->shares[k] < b->shares[*ret_least] ? k : *ret_least;
        *ret_greatest = b->shares[k] > b->shares[*ret_greatest] ? k : *ret_greatest;
    }
}

/* What was said for a cell, and what came. */
static void add_cell(const struct backtest *b, struct backtest_result *r, size_t cell, const double *said, double truth, bool sparse)
{
    size_t least, greatest;

    outermost(b, &least, &greatest);
    r->n_at[cell]++;
    r->n_inside_of[cell] += !sparse;
    r->n_inside[cell] += !sparse && truth >= said[least] && truth <= said[greatest];
    for (size_t k = 0; k < b->n_outputs; k++) {
        r->n_at_or_below[cell * b->n_outputs + k] += truth <= said[k];
        if (!isnan(b->shares[k]))
            r->pinball[cell * b->n_outputs + k] += forecast_pinball(truth, said[k], b->shares[k]);
    }
}

static void add_quantiles(const struct backtest *b, struct backtest_result *r, const struct backtest_row *row, const struct judged *j)
{
    bool all_sparse = true;
    double sum = 0;

    for (size_t i = 0; i < b->n_steps; i++) {
        bool sparse = is_mostly_zero(j, j->ahead[i], b->season);

        add_cell(b, r, i, row->values + i * b->n_outputs, j->truth[i], sparse);
        sum += i < b->lead_time ? j->truth[i] : 0;
        all_sparse = all_sparse && (sparse || i >= b->lead_time);
    }
    if (b->lead_time)
        add_cell(b, r, b->n_steps, row->values + b->n_steps * b->n_outputs, sum, all_sparse);
}

static void add_row(struct backtest *b, struct backtest_result *r, const struct backtest_row *row, struct judged *j, double *p50, double *mean)
{
    for (size_t i = 0; i < b->n_steps; i++) {
        p50[i] = row->values[i * b->n_outputs + b->median];
        mean[i] = row->values[i * b->n_outputs + b->mean];
    }
    add_method(b, &r->forecast, j, p50, mean);
    j->all = arena_alloc(&b->arena, j->ahead[b->n_steps - 1] * sizeof(*j->all));
    add_baselines(b, r, j);
    add_quantiles(b, r, row, j);
    r->n++;
    r->n_values += b->n_steps;
}

void backtest_judge(struct backtest *b, struct backtest_result *ret)
{
    size_t n = b->n_steps, cells = b->n_cells * b->n_outputs;
    struct judged j = {.ahead = arena_alloc(&b->arena, n * sizeof(size_t)), .truth = arena_alloc(&b->arena, n * sizeof(double)),
                       .said = arena_alloc(&b->arena, n * sizeof(double))};
    double *p50 = arena_alloc(&b->arena, n * sizeof(*p50)), *mean = arena_alloc(&b->arena, n * sizeof(*mean));

    memset(ret, 0, sizeof(*ret));
    ret->n_at = arena_zalloc(&b->arena, b->n_cells * sizeof(size_t));
    ret->n_inside = arena_zalloc(&b->arena, b->n_cells * sizeof(size_t));
    ret->n_inside_of = arena_zalloc(&b->arena, b->n_cells * sizeof(size_t));
    ret->n_at_or_below = arena_zalloc(&b->arena, cells * sizeof(size_t));
    ret->pinball = arena_zalloc(&b->arena, cells * sizeof(double));
    for (size_t i = 0; i < b->n_rows; i++)
        if (b->rows[i].values && find_truth(b, &b->rows[i], &j))
            add_row(b, ret, &b->rows[i], &j, p50, mean);
        else
            ret->n_unjudged++;
}
