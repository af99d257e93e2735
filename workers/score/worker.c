#include "workers/score/worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mutant.h"
#include "kafka/kafka.h"
#include "ops/metrics.h"
#include "stage/models.h"
#include "wire/text.h"
#include "workers/score/due.h"
#include "workers/score/forecasts.h"
#include "workers/score/loads.h"
#include "workers/score/score.h"

#define TASKS_MAX 1024
#define ASK_EVERY_MS 100
#define SAY_EVERY_MS 60000
#define HELD_MS 2000 /* who waits is asked anew each turn */

struct score {
    const struct stage_def *def;
    struct models *models; /* NULL: neither a broker nor a file of them */
    struct due due;
    int64_t asked_ms; /* when it was looked where the data begins */
    int64_t said_ms;  /* when it was said which verdict is awaited */
    int64_t held_ms;  /* when a record was kept from being taken for it */
    struct metrics *metrics;
    struct loads loads;
    int32_t pinned; /* --model: this version alone; 0: by the routing */
    struct expr *when;
    bool has_reasons;
    struct feature_col *numbers; /* what loads borrows */
    const char **lead_names;
    int64_t seq_seen[TASKS_MAX];
    struct bytes reasons;
};

/* Which model a row gets. */
struct choice {
    const struct loaded *loaded; /* NULL: none */
    int64_t seq;
};

/* What a condition may speak of: the input's columns and the score. */
static enum status open_condition(struct score *c, struct stage *s, const struct want *leaves, size_t n, struct error *err)
{
    const struct schema *input = stage_pipeline(s)->topics[c->def->from[0]].schema;
    struct feature_col cols[WANTS_MAX + 2];
    enum col_type type;
    size_t k = 0;

    if (c->def->explain_top <= 0 || c->def->explain_when == NULL)
        return OK;
    for (size_t i = 0; i < n; i++)
        if (strcmp(leaves[i].path, "score") != 0 && strcmp(leaves[i].path, "score_reason") != 0)
            cols[k++] = (struct feature_col){leaves[i].path, leaves[i].type, schema_is_time(schema_at(input, leaves[i].path)), -1};
    cols[k++] = (struct feature_col){"score", COL_DOUBLE, false, -1};
    cols[k++] = (struct feature_col){"score_reason", COL_STRING, false, -1};
    if (expr_new(c->def->explain_when, cols, k, &c->when, &type, err) != OK)
        return err_wrap(err, "stage %s: explain.when", c->def->name);
    if (type != COL_BOOL)
        return err_set(err, ERR_FATAL, "stage %s: explain.when: expected a condition, got a %s", c->def->name,
                       col_type_name(type));
    for (size_t i = 0; i < n; i++)
        if (expr_needs(c->when, leaves[i].path) && strcmp(leaves[i].path, "score") != 0)
            stage_want(s, 0, leaves[i].path, leaves[i].type);
    return OK;
}

static enum status open_models(struct score *c, struct stage *s, struct error *err)
{
    const struct pipeline *p = stage_pipeline(s);
    const char *pin = stage_model(s), *slash = pin ? strrchr(pin, '/') : NULL;
    const char *brokers = stage_brokers(s), *file = stage_file(s, MODELS_TOPIC);
    enum status st = OK;

    if (brokers)
        st = models_open(brokers, p, c->def->model, c->def->feature_set, &c->models, err);
    else if (file)
        st = models_open_file(file, c->def->model, c->def->feature_set, &c->models, err);
    if (st != OK)
        return st;
    for (size_t i = 0; i < p->n_stages && pin == NULL; i++) {
        const struct stage_def *t = &p->stages[i];

        if (strcmp(t->worker, "train") == 0 && t->model && strcmp(t->model, c->def->model) == 0) {
            c->due.every_ms = brokers ? t->every_ms : 0; /* a file holds all verdicts that there are: nobody waits */
            c->due.lag_ms = t->model_lag_ms;
            c->due.wait_ms = c->def->model_wait_ms;
            if (c->models && models_check_owner(c->models, p, c->def->model, err) != OK)
                return err->status;
        }
    }
    if (pin == NULL)
        return OK;
    c->pinned = slash ? atoi(slash + 1) : 0;
    if (c->models == NULL || slash == NULL || !view_eq(view_of(pin, (size_t)(slash - pin)), view_str(c->def->model)) ||
        model_store_version(models_store(c->models), c->def->model, c->pinned) == NULL)
        return err_set(err, ERR_FATAL, "--model %s: no such model; expected %s/VERSION ('millrace models list' shows them)", pin,
                       c->def->model);
    return OK;
}

static void open_target(struct score *c, struct stage *s)
{
    const struct stage_def *def = c->def;
    const struct topic *from = &stage_pipeline(s)->topics[def->from[0]];

    c->numbers = xcalloc(from->schema->n + 1, sizeof(*c->numbers));
    c->loads.numbers = c->numbers;
    c->loads.n_numbers = pipeline_numbers(from, c->numbers, from->schema->n);
    c->lead_names = xcalloc(def->n_outputs + 1, sizeof(*c->lead_names));
    for (size_t i = 0; i < def->n_outputs && def->target->lead_time > 0; i++)
        c->lead_names[i] = arena_printf(stage_pipeline(s)->arena, "lead_time_%s", def->outputs[i].name);
}

enum status worker_open(struct stage *s, void **ret_ctx, struct error *err)
{
    const struct stage_def *def = stage_def(s);
    const struct pipeline *p = stage_pipeline(s);
    const struct schema *to = p->topics[def->to[0]].schema, *reasons = schema_at(to, "reasons");
    struct score *c = xcalloc(1, sizeof(*c));
    struct want leaves[WANTS_MAX];
    size_t n = schema_wants(p->topics[def->from[0]].schema, leaves, ARRAY_LEN(leaves)); /* no more: the wiring was checked */

    *ret_ctx = c;
    c->def = c->loads.def = def;
    c->due = DUE_NONE;
    c->metrics = stage_metrics(s);
    c->has_reasons = reasons && schema_unwrap(reasons)->type == SCHEMA_ARRAY;
    if (def->target && forecasts_check(to, def, err) != OK)
        return err_wrap(err, "stage %s: topic %s", def->name, p->topics[def->to[0]].name);
    if (def->target)
        open_target(c, s);
    if (def->target == NULL && schema_at(to, "score") == NULL)
        return err_set(err, ERR_FATAL, "stage %s: topic %s needs a field 'score' (a number or null)", def->name,
                       p->topics[def->to[0]].name);
    if (def->explain_top > 0 && !c->has_reasons)
        return err_set(err, ERR_FATAL, "stage %s: explain needs a field 'reasons' in topic %s, as in schemas/Score.avsc", def->name,
                       p->topics[def->to[0]].name);
    /* A later model may ask for any of them: the columns cannot be asked for later. */
    for (size_t i = 0; i < n; i++)
        if (leaves[i].type <= COL_DOUBLE && strncmp(leaves[i].path, "lineage.", 8) != 0)
            stage_want(s, 0, leaves[i].path, leaves[i].type);
    if (open_condition(c, s, leaves, n, err) != OK)
        return err->status;
    return open_models(c, s, err);
}

static bool is_loaded(const struct loaded *l)
{
    return l && (l->model || l->forecaster);
}

/* The newest routing that holds at event_ms and whose model loads. */
static struct choice choose(struct score *c, struct view key, int64_t event_ms)
{
    const struct model_store *store = c->models ? models_store(c->models) : NULL;
    const struct routing *r = store && !c->pinned ? model_store_routing_at(store, c->def->model, event_ms) : NULL;
    const struct loaded *l;

    if (c->pinned) {
        l = loads_get(&c->loads, store, c->pinned);
        return (struct choice){is_loaded(l) ? l : NULL, -1};
    }
    while (r) {
        int64_t seq = r->seq - 1;
        bool canary = r->canary_version > 0 && score_in_share(key, r->canary_share);

        l = loads_get(&c->loads, store, canary ? r->canary_version : r->champion);
        if (is_loaded(l))
            return (struct choice){l, r->seq};
        for (r = NULL; seq > 0 && r == NULL && SAFE(M_MODEL_BEFORE); seq--) {
            r = model_store_routing(store, c->def->model, seq);
            if (r && r->from_ms > event_ms)
                r = NULL;
        }
    }
    return (struct choice){NULL, -1};
}

static void note_routing(struct score *c, const struct rows *in, size_t r, const struct choice *ch)
{
    if (in->task < 0 || in->task >= TASKS_MAX || ch->seq <= c->seq_seen[in->task])
        return;
    c->seq_seen[in->task] = ch->seq;
    log_info("routing", "task=%d seq=%" PRId64 " version=%d event_ms=%" PRId64, in->task, ch->seq, ch->loaded->version,
             in->event_ms[r]);
}

/* Reasons of the rows of one model for which the condition holds. */
static enum status explain(struct score *c, const struct loaded *l, const struct batch *in, const float *x, const uint32_t *rows,
                           size_t n_rows, const struct col *when, struct view *ret_reasons, struct error *err)
{
    const char *const *features = l->record->features;
    size_t nf = l->record->n_features, n = 0;
    uint32_t *chosen = arena_alloc(in->arena, (n_rows + 1) * sizeof(*chosen));
    float *packed, *parts;

    for (size_t i = 0; i < n_rows; i++)
        if (when == NULL || (!when->null[rows[i]] && when->i64[rows[i]]))
            chosen[n++] = rows[i];
    if (n == 0)
        return OK;
    packed = arena_alloc(in->arena, n * nf * sizeof(*packed));
    parts = arena_alloc(in->arena, n * (nf + 1) * sizeof(*parts));
    for (size_t i = 0; i < n; i++)
        memcpy(packed + i * nf, x + chosen[i] * nf, nf * sizeof(*x));
    if (model_contributions(l->model, packed, n, parts, err) != OK)
        return err_wrap(err, "explain %zu rows", n);
    for (size_t i = 0; i < n; i++) {
        bytes_clear(&c->reasons);
        score_reasons(in, chosen[i], features, nf, parts + i * (nf + 1), c->def->explain_top, &c->reasons);
        ret_reasons[chosen[i]] = view_of(arena_copy(in->arena, c->reasons.data, c->reasons.n), c->reasons.n);
    }
    return OK;
}

/* The condition over the input's columns and the scores just made. */
static enum status eval_when(const struct score *c, const struct batch *in, const struct col *score, const struct col *why,
                             struct col *ret_when, struct error *err)
{
    struct batch b;

    batch_init(&b, in->arena, in->cap_rows);
    b.n_rows = in->n_rows;
    for (size_t i = 0; i < in->n_cols; i++)
        if (strcmp(in->cols[i].name, "score") != 0 && strcmp(in->cols[i].name, "score_reason") != 0)
            batch_share_col(&b, &in->cols[i]);
    batch_share_col(&b, score);
    batch_share_col(&b, why);
    return expr_eval(c->when, &b, ret_when, err);
}

/* What is made of the rows, by input row. */
struct made {
    struct batch cols; /* score, score_reason */
    struct view *reasons;
    struct forecasts forecasts; /* of a target */
};

/* Scores and reasons of the rows of one model. */
static enum status score_group(struct score *c, struct rows *in, const struct loaded *l, const float *x, const uint32_t *rows, size_t n,
                               struct made *made, struct error *err)
{
    struct col *cols = made->cols.cols, when;

    if (score_rows(l->model, x, l->record->n_features, rows, n, in->cols->arena, cols[0].f64, err) != OK)
        return err->status;
    for (size_t i = 0; i < n; i++) {
        cols[0].null[rows[i]] = 0;
        cols[1].null[rows[i]] = 1;
    }
    if (c->def->explain_top <= 0)
        return OK;
    if (c->when && eval_when(c, in->cols, &cols[0], &cols[1], &when, err) != OK)
        return err_wrap(err, "explain.when");
    return explain(c, l, in->cols, x, rows, n, c->when ? &when : NULL, made->reasons, err);
}

static enum status forecast_group(struct rows *in, const struct loaded *l, const float *x, const uint32_t *rows, size_t n,
                                  struct made *made, struct error *err)
{
    for (size_t i = 0; i < n; i++)
        made->cols.cols[1].null[rows[i]] = 1;
    return forecasts_make(l->forecaster, in, x, rows, n, &made->forecasts, err);
}

/* Rows of one model at a time: a switch happens between two rows. */
static enum status score_all(struct score *c, struct rows *in, const struct choice *choices, struct made *made, struct error *err)
{
    struct arena *arena = in->cols->arena;
    size_t n = in->cols->n_rows;
    uint8_t *done = arena_zalloc(arena, n + 1);
    uint32_t *rows = arena_alloc(arena, (n + 1) * sizeof(*rows));

    for (size_t first = 0; first < n; first++) {
        const struct loaded *l = choices[first].loaded;
        size_t k = 0, n_features;
        enum status st;
        float *x;

        if (done[first] || in->bad[first] || l == NULL)
            continue;
        n_features = l->forecaster ? forecaster_n_features(l->forecaster) : l->record->n_features;
        x = arena_alloc(arena, n * n_features * sizeof(*x));
        if (score_gather(in->cols, l->record->features, n_features, in->bad, x, err) != OK)
            return err->status;
        for (size_t r = first; r < n; r++) {
            if (choices[r].loaded != l || done[r])
                continue;
            done[r] = 1;
            if (in->bad[r] == NULL)
                rows[k++] = (uint32_t)r;
        }
        st = l->forecaster ? forecast_group(in, l, x, rows, k, made, err) : score_group(c, in, l, x, rows, k, made, err);
        if (st != OK)
            return st;
    }
    return OK;
}

/* What only a row with a model has, from the first added column on. */
static void add_score(const struct score *c, struct out *out)
{
    batch_add_col(&out->cols, "score", COL_DOUBLE);
    if (c->has_reasons)
        batch_add_col(&out->cols, "reasons", COL_AVRO);
}

static void put_score(const struct score *c, const struct made *made, uint32_t r, struct col *cols, size_t o)
{
    cols[1].f64[o] = made->cols.cols[0].f64[r];
    cols[1].null[o] = made->cols.cols[0].null[r];
    if (c->has_reasons)
        cols[2].view[o] = made->reasons[r];
}

static void add_forecast(const struct score *c, struct out *out)
{
    batch_add_col(&out->cols, "forecast", COL_AVRO);
    for (size_t i = 0; i < c->def->n_outputs && c->lead_names[i]; i++)
        batch_add_col(&out->cols, c->lead_names[i], COL_DOUBLE);
}

static void put_forecast(const struct score *c, const struct made *made, uint32_t r, struct col *cols, size_t o)
{
    const struct forecasts *f = &made->forecasts;

    cols[1].view[o] = f->steps[r];
    for (size_t i = 0; i < f->n_outputs && c->lead_names[i]; i++) {
        cols[2 + i].f64[o] = f->lead[r * f->n_outputs + i];
        cols[2 + i].null[o] = !made->cols.cols[1].null[r];
    }
}

static void put_out(const struct score *c, const struct rows *in, const struct choice *choices, const struct made *made,
                    struct out *out)
{
    const struct col *why = &made->cols.cols[1];

    out_begin(out, in->cols->arena, in->cols->n_rows);
    batch_add_col(&out->cols, "score_reason", COL_STRING);
    if (c->def->target)
        add_forecast(c, out);
    else
        add_score(c, out);
    out->model_name = c->def->model;
    for (uint32_t r = 0; r < in->cols->n_rows; r++) {
        struct col *cols = out->cols.cols;
        size_t o = out->cols.n_rows;

        if (in->bad[r])
            continue;
        cols[0].view[o] = why->null[r] ? view_of("", 0) : why->view[r];
        cols[0].null[o] = why->null[r];
        if (c->def->target)
            put_forecast(c, made, r, cols, o);
        else
            put_score(c, made, r, cols, o);
        out->model_version[o] = choices[r].loaded ? choices[r].loaded->version : -1;
        out->routing[o] = choices[r].seq;
        out->parent[o] = r;
        out->cols.n_rows++;
    }
}

enum status worker_transform(void *ctx, struct rows *in, struct out *outs, struct error *err)
{
    static const uint8_t no_items = 0;
    struct score *c = ctx;
    struct arena *arena = in->cols->arena;
    size_t n = in->cols->n_rows;
    struct choice *choices = arena_zalloc(arena, (n + 1) * sizeof(*choices));
    struct made made = {.reasons = arena_alloc(arena, (n + 1) * sizeof(*made.reasons))};

    batch_init(&made.cols, arena, n);
    made.cols.n_rows = n;
    batch_add_col(&made.cols, "score", COL_DOUBLE);
    batch_add_col(&made.cols, "score_reason", COL_STRING);
    if (c->def->target)
        forecasts_init(&made.forecasts, n, c->def->n_outputs, arena);
    for (size_t r = 0; r < n; r++) {
        made.cols.cols[0].null[r] = 1;
        made.cols.cols[1].view[r] = view_str("no_model");
        made.reasons[r] = view_of(&no_items, 1);
        choices[r].seq = -1;
        if (in->bad[r] == NULL)
            choices[r] = choose(c, in->keys[r], in->event_ms[r]);
        if (choices[r].loaded)
            note_routing(c, in, r, &choices[r]);
    }
    /* What a model cannot do with these columns no restart heals: say so and stop. */
    if (score_all(c, in, choices, &made, err) != OK) {
        err->status = ERR_FATAL;
        return err_wrap(err, "model %s", c->def->model);
    }
    put_out(c, in, choices, &made, &outs[0]);
    return OK;
}

enum status worker_turn(void *ctx, struct stage *s, struct error *err)
{
    struct score *c = ctx;
    int64_t now_ms = clock_wall_ms();
    size_t n;

    if (c->due.asks && now_ms - c->asked_ms >= ASK_EVERY_MS) {
        c->asked_ms = now_ms;
        if (stage_begins_at(s, &c->due.begins_at, err) != OK)
            return err->status;
    }
    return c->models && !c->pinned ? models_turn(c->models, &n, err) : OK;
}

int64_t worker_limit(void *ctx, int task, int64_t at_next)
{
    struct score *c = ctx;
    int64_t limit, now_ms;
    bool gave_up;

    if (c->models == NULL || c->pinned || due_is_past(&c->due, at_next) || !SAFE(M_VERDICT_AWAITED))
        return INT64_MAX;
    now_ms = clock_wall_ms();
    limit = due_limit(&c->due, models_store(c->models), c->def->model, at_next, now_ms, &gave_up);
    c->held_ms = limit == INT64_MAX ? c->held_ms : now_ms;
    if (gave_up) {
        metrics_add(c->metrics, METRIC_VERDICTS_MISSED, 0, 1);
        log_warn("verdict_missing", "model=%s task=%d boundary_ms=%" PRId64 " waited_ms=%" PRId64
                 " effect=\"goes on with the model at hand\"", c->def->model, task, c->due.held, c->due.wait_ms);
    } else if (limit != INT64_MAX && now_ms - c->due.held_since_ms >= SAY_EVERY_MS && log_every_ms(&c->said_ms, SAY_EVERY_MS)) {
        log_warn("verdict_awaited", "model=%s task=%d boundary_ms=%" PRId64 " waited_ms=%" PRId64
                 " effect=\"takes no record beyond until the training stage has decided it\"", c->def->model, task, c->due.held,
                 now_ms - c->due.held_since_ms);
    }
    return limit;
}

int64_t worker_waits(void *ctx, int64_t now_ms, char *ret_why, size_t cap)
{
    const struct score *c = ctx;
    char at[32];

    if (now_ms - c->held_ms > HELD_MS || c->due.held <= c->due.passed)
        return 0;
    text_format_time(c->due.held, at);
    snprintf(ret_why, cap, "waits for the verdict of model %s at the boundary %s for %" PRId64 " s, with all records behind it: look whether its "
             "training stage is up, and whether it fits (event=training)", c->def->model, at, (now_ms - c->due.held_since_ms) / 1000);
    return c->due.held_since_ms;
}

void worker_close(void *ctx)
{
    struct score *c = ctx;

    if (c == NULL)
        return;
    loads_done(&c->loads);
    expr_free(c->when);
    models_free(c->models);
    bytes_done(&c->reasons);
    free(c->numbers);
    free(c->lead_names);
    free(c);
}
