/* millrace backtest: a pipeline's past replayed through its workers on files (docs/files.md), its forecasts judged by what came. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/backtest.h"
#include "cli/cli.h"
#include "cli/stages.h"
#include "model/booster.h"
#include "ops/signals.h"

#define ORIGINS_MAX 1000
#define INPUTS_MAX 8
#define DAY_MS INT64_C(86400000)
#define HOUR_MS INT64_C(3600000)

struct call {
    const char *file, *in[INPUTS_MAX], *origins, *season, *span, *apart, *picture, *output;
    size_t n_in;
    struct pipeline *p;
    struct stage_def *learn, *score;
    struct stage_files files;
    struct backtest b;
};

/* ---- the call ---- */
static bool read_call(struct call *c, int argc, char **argv)
{
    const struct cli_option options[] = {
        {"--origins", &c->origins, NULL}, {"--season", &c->season, NULL}, {"--span", &c->span, NULL},   {"--apart", &c->apart, NULL},
        {"--picture", &c->picture, NULL}, {"--output", &c->output, NULL}, {"--in", &c->in[0], NULL},    {"--in", &c->in[1], NULL},
        {"--in", &c->in[2], NULL},        {"--in", &c->in[3], NULL},      {"--in", &c->in[4], NULL},    {"--in", &c->in[5], NULL},
        {"--in", &c->in[6], NULL},        {"--in", &c->in[7], NULL},
    };
    size_t n;

    if (!cli_options(argc, argv, options, ARRAY_LEN(options), &c->file, 1, &n))
        return false;
    if (n == 0)
        return cli_wrong("backtest", "expected a pipeline file"), false;
    while (c->n_in < INPUTS_MAX && c->in[c->n_in])
        c->n_in++;
    if (c->n_in == 0)
        return cli_wrong("backtest", "expected --in FILE: the events, as an Avro file"), false;
    if (c->output && strcmp(c->output, "json") != 0 && strcmp(c->output, "text") != 0)
        return cli_wrong("backtest", "--output is 'text' or 'json', got '%s'", c->output), false;
    return true;
}

static bool span_of(const char *option, const char *text, int64_t deflt, int64_t *ret_ms)
{
    *ret_ms = deflt;
    return text == NULL || (duration_parse(text, ret_ms) && *ret_ms > 0) ||
           (cli_wrong("backtest", "%s needs a duration such as 28d, got '%s'", option, text), false);
}

/* The stage that trains by a target, and the one that scores by its model. */
static bool find_stages(struct call *c)
{
    for (size_t i = 0; i < c->p->n_stages; i++) {
        struct stage_def *s = &c->p->stages[i];

        if (s->target && strcmp(s->worker, "train") == 0)
            c->learn = s;
    }
    for (size_t i = 0; c->learn && i < c->p->n_stages; i++)
        if (strcmp(c->p->stages[i].worker, "score") == 0 && strcmp(c->p->stages[i].model, c->learn->model) == 0)
            c->score = &c->p->stages[i];
    if (c->score == NULL)
        cli_wrong("backtest", "%s has no train stage with a \"target\" and a score stage that follows its model", c->file);
    return c->score != NULL;
}

static double share_of(const struct model_output *o)
{
    const char *objective = "", *alpha = "0.5";

    for (size_t i = 0; i < o->n_params; i++) {
        objective = strcmp(o->params[i].name, "objective") == 0 ? o->params[i].value : objective;
        alpha = strcmp(o->params[i].name, "quantile_alpha") == 0 ? o->params[i].value : alpha;
    }
    return strcmp(objective, "reg:absoluteerror") == 0 ? 0.5 : strcmp(objective, "reg:quantileerror") == 0 ? strtod(alpha, NULL) : (double)NAN;
}

/* Which outputs are the mean and the median: where there is none, the first. */
static void find_outputs(struct call *c)
{
    struct backtest *b = &c->b;
    const struct topic *t = &c->p->topics[c->score->to[0]];

    b->score = c->score;
    b->n_outputs = c->learn->n_outputs;
    b->n_steps = (size_t)c->learn->target->horizon;
    b->lead_time = (size_t)c->learn->target->lead_time;
    b->n_cells = b->n_steps + (b->lead_time > 0);
    b->value = c->learn->target->value;
    b->key = t->keyed_by;
    b->time = t->time;
    for (size_t i = b->n_outputs; i-- > 0;) {
        b->shares[i] = share_of(&c->learn->outputs[i]);
        b->mean = isnan(b->shares[i]) ? i : b->mean;
        b->median = b->shares[i] == 0.5 ? i : b->median;
    }
}

/* ---- the stages ---- */
/* `--in TOPIC=FILE`, or a file for the next topic from outside. */
static enum status link_inputs(struct call *c, struct error *err)
{
    size_t next = 0;

    for (size_t i = 0; i < c->n_in; i++) {
        const char *equals = strchr(c->in[i], '='), *path = equals ? equals + 1 : c->in[i];
        struct topic *t = NULL;
        char full[PATH_MAX];

        if (equals)
            t = pipeline_topic(c->p, arena_printf(c->p->arena, "%.*s", (int)(equals - c->in[i]), c->in[i]));
        for (; !equals && t == NULL && next < c->p->n_topics; next++)
            t = c->p->topics[next].writer < 0 ? &c->p->topics[next] : NULL;
        if (t == NULL || t->writer >= 0)
            return err_set(err, ERR_FATAL, "--in %s: expected a topic from outside of %s", c->in[i], c->file);
        if (realpath(path, full) == NULL || symlink(full, stage_files_topic(&c->files, t->name)) != 0)
            return err_set(err, ERR_FATAL, "--in %s: %s", path, strerror(errno));
    }
    return OK;
}

static bool is_made(const struct call *c, const bool *done, const struct topic *t)
{
    return t->writer < 0 || done[t->writer] || strcmp(c->p->stages[t->writer].worker, "preprocess") != 0;
}

/* Whether all that it reads is there. */
static bool is_due(const struct call *c, const bool *done, const struct stage_def *s)
{
    for (size_t i = 0; i < s->n_from; i++)
        if (!is_made(c, done, &c->p->topics[s->from[i]]))
            return false;
    return true;
}

static enum status run_one(struct call *c, const struct stage_def *s, struct error *err)
{
    fprintf(stderr, "%s\n", s->name);
    return signals_stopping() ? err_set(err, ERR_FATAL, "stopped") : stage_files_run(&c->files, s, err);
}

/* Each stage that prepares, after those that it reads. */
static enum status prepare(struct call *c, struct error *err)
{
    bool *done = arena_zalloc(c->p->arena, c->p->n_stages * sizeof(*done));
    bool again = true;

    while (again) {
        again = false;
        for (size_t i = 0; i < c->p->n_stages; i++) {
            const struct stage_def *s = &c->p->stages[i];

            if (done[i] || strcmp(s->worker, "preprocess") != 0 || !is_due(c, done, s))
                continue;
            if (run_one(c, s, err) != OK)
                return err->status;
            done[i] = again = true;
        }
    }
    return OK;
}

/* ---- what they were worth ---- */
/* The last origin is the latest whose values have all come. */
static void place_origins(struct backtest *b, size_t n, int64_t apart_ms, int64_t horizon_ms)
{
    b->n_origins = n;
    b->origins_ms = arena_alloc(&b->arena, n * sizeof(*b->origins_ms));
    for (size_t i = 0; i < n; i++)
        b->origins_ms[i] = b->last_ms - horizon_ms - (int64_t)i * apart_ms;
}

/* The earliest row that is judged. */
static int64_t first_judged(const struct backtest *b, int64_t span_ms)
{
    int64_t from_ms = b->origins_ms[b->n_origins - 1] - span_ms, first_ms = INT64_MAX;

    for (size_t i = 0; i < b->n_series; i++) {
        const struct backtest_series *s = &b->series[i];
        size_t at = 0;

        while (at < s->n && s->times[at] <= from_ms)
            at++;
        if (at < s->n && s->times[at] < first_ms)
            first_ms = s->times[at];
    }
    return first_ms;
}

/* The boundaries that the judged forecasts rest on: from the last before the first of them to the last of all. */
static enum status learn_and_score(struct call *c, int64_t span_ms, struct error *err)
{
    c->files.since_ms = first_judged(&c->b, span_ms) - c->learn->model_lag_ms - c->learn->every_ms + 1;
    c->files.until_ms = c->b.origins_ms[0] - c->learn->model_lag_ms;
    return run_one(c, c->learn, err) == OK ? run_one(c, c->score, err) : err->status;
}

static enum status judge(struct call *c, size_t n_origins, int64_t apart_ms, int64_t span_ms, struct error *err)
{
    const struct topic *rows = &c->p->topics[c->score->from[0]], *t = &c->p->topics[c->score->to[0]];
    const char *path = stage_files_topic(&c->files, t->name);
    struct backtest_result r;

    if (prepare(c, err) != OK || backtest_read_values(&c->b, stage_files_topic(&c->files, rows->name), rows, err) != OK)
        return err->status;
    if (c->b.n_series == 0)
        return err_set(err, ERR_FATAL, "'%s' has no row with a '%s'", rows->name, c->b.value);
    place_origins(&c->b, n_origins, apart_ms, c->learn->target->horizon * c->learn->target->every_ms);
    if (learn_and_score(c, span_ms, err) != OK)
        return err->status;
    if (backtest_read_rows(&c->b, path, t, span_ms, err) != OK)
        return err->status;
    backtest_judge(&c->b, &r);
    if (r.n == 0)
        return err_set(err, ERR_FATAL, "no forecast could be judged: %zu series, %zu rows at the origins, none with a forecast whose values all came; "
                       "is the first boundary of '%s' (\"every\") before the first origin, with enough rows before it?", c->b.n_series, r.n_unjudged, c->learn->name);
    if (c->output && strcmp(c->output, "json") == 0)
        backtest_print_json(&c->b, &r);
    else
        backtest_print(&c->b, &r);
    return c->picture ? backtest_picture(&c->b, c->picture, err) : OK;
}

static int run_call(struct call *c)
{
    int64_t every = c->learn->target->every_ms, apart, span;
    long long n_origins = 3, season = every % DAY_MS == 0 ? 7 : DAY_MS % every == 0 ? DAY_MS / every : 1;
    struct error err;
    enum status st;

    if (!span_of("--apart", c->apart, every * c->learn->target->horizon, &apart) || !span_of("--span", c->span, every, &span))
        return EXIT_CALL;
    if (c->origins && !cli_number(c->origins, 1, ORIGINS_MAX, &n_origins))
        return cli_wrong("backtest", "--origins needs a number from 1 to %d, got '%s'", ORIGINS_MAX, c->origins);
    if (c->season && !cli_number(c->season, 1, 100000, &season))
        return cli_wrong("backtest", "--season needs a number of rows, got '%s'", c->season);
    find_outputs(c);
    c->b.season = (size_t)season;
    st = stage_files_open(&c->files, c->p, &err);
    c->files.models = arena_printf(c->p->arena, "%s/models", c->files.folder);
    if (st == OK && (st = link_inputs(c, &err)) == OK)
        st = judge(c, (size_t)n_origins, apart, span, &err);
    stage_files_close(&c->files);
    backtest_done(&c->b);
    return st == OK ? 0 : signals_stopping() ? SIGNALS_EXIT : cli_failed("backtest", &err);
}

int cli_backtest(int argc, char **argv)
{
    struct call c = {0};
    struct error err;
    int status;

    if (!read_call(&c, argc, argv))
        return EXIT_CALL;
    c.p = cli_pipeline(c.file);
    if (c.p == NULL)
        return EXIT_CALL;
    if (signals_start(&err) != OK)
        return cli_failed("backtest", &err);
    status = find_stages(&c) ? run_call(&c) : EXIT_CALL;
    pipeline_free(c.p);
    return status;
}
