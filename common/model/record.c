/* common/model/record.c: a model's record and parts. Field order: schemas/Model.avsc, schemas/ModelPart.avsc. */
#include "model/record.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "model/record_io.h"

#define PARTS_MAX ((int32_t)(UBJ_BYTES_MAX / MODEL_PART_BYTES_MAX))

static void put_histograms(const struct model_record *m, struct bytes *out)
{
    put_count(m->n_histograms, out);
    for (size_t i = 0; i < m->n_histograms; i++) {
        const struct model_histogram *h = &m->histograms[i];

        avro_put_str(out, h->name);
        put_count(h->n_edges, out);
        for (size_t k = 0; k < h->n_edges; k++)
            avro_put_double(out, h->edges[k]);
        avro_put_long(out, 0);
        put_count(h->n_edges + 1, out);
        for (size_t k = 0; k <= h->n_edges; k++)
            avro_put_long(out, h->counts[k]);
        avro_put_long(out, 0);
        avro_put_long(out, h->missing);
    }
    avro_put_long(out, 0);
}

static void put_params(const struct booster_param *params, size_t n, struct bytes *out)
{
    put_count(n, out);
    for (size_t i = 0; i < n; i++) {
        avro_put_str(out, params[i].name);
        avro_put_str(out, params[i].value);
    }
    avro_put_long(out, 0);
}

static void put_lists(const struct model_record *m, struct bytes *out)
{
    put_count(m->n_features, out);
    for (size_t i = 0; i < m->n_features; i++)
        avro_put_str(out, m->features[i]);
    avro_put_long(out, 0);
    avro_put_str(out, m->feature_set);
    avro_put_str(out, m->objective);
    put_params(m->params, m->n_params, out);
    avro_put_long(out, m->rounds);
    avro_put_long(out, m->seed);
    avro_put_str(out, m->library);
    put_count(m->n_lineage, out);
    for (size_t i = 0; i < m->n_lineage; i++) {
        avro_put_str(out, m->lineage[i].topic);
        avro_put_long(out, m->lineage[i].partition);
        avro_put_long(out, m->lineage[i].from_offset);
        avro_put_long(out, m->lineage[i].to_offset);
    }
    avro_put_long(out, 0);
}

/* What a model of one score a row, written before there were others, lacks: nothing but the signature follows its key_id. */
static void put_forecast(const struct model_record *m, struct bytes *out)
{
    const struct forecast_def *d = m->target;

    avro_put_long(out, d != NULL);
    if (d != NULL) {
        avro_put_str(out, d->value);
        avro_put_long(out, d->horizon);
        avro_put_long(out, d->every_ms);
        avro_put_str(out, d->zone);
        avro_put_long(out, d->lead_time);
        avro_put_str(out, d->scale);
        avro_put_str(out, d->offset);
        put_double_or_nan(d->min, out);
        put_count(d->n_known, out);
        for (size_t i = 0; i < d->n_known; i++) {
            avro_put_str(out, d->known[i].name);
            avro_put_str(out, d->known[i].expr);
        }
        avro_put_long(out, 0);
    }
    put_count(m->n_outputs, out);
    for (size_t i = 0; i < m->n_outputs; i++) {
        const struct model_output *o = &m->outputs[i];

        avro_put_str(out, o->name);
        put_params(o->params, o->n_params, out);
        avro_put_long(out, o->rounds);
        put_double_or_nan(o->clip, out);
        avro_put_long(out, o->n_bytes);
        put_count(o->n_corrections, out);
        for (size_t k = 0; k < o->n_corrections; k++)
            avro_put_double(out, o->corrections[k]);
        avro_put_long(out, 0);
    }
    avro_put_long(out, 0);
    avro_put_str(out, d && d->zone_data ? d->zone_data : "");
}

/* All but the signature: what is signed. */
static void put_signed(const struct model_record *m, struct bytes *out)
{
    char hex[HASH_HEX_CHARS + 1];

    avro_put_str(out, m->name);
    avro_put_long(out, m->version);
    put_lists(m, out);
    avro_put_long(out, m->from_ms);
    avro_put_long(out, m->to_ms);
    avro_put_long(out, m->holdout_to_ms);
    avro_put_long(out, m->as_of_ms);
    avro_put_long(out, m->rows);
    avro_put_long(out, m->positives);
    avro_put_long(out, m->holdout_rows);
    put_metrics(m->metrics, m->n_metrics, out);
    put_long_or(m->champion, -1, out);
    put_histograms(m, out);
    avro_put_long(out, m->created_ms);
    hash_to_hex(m->sha256, HASH_BYTES, hex);
    avro_put_str(out, hex);
    avro_put_long(out, m->n_bytes);
    avro_put_long(out, m->n_parts);
    avro_put_str(out, m->key_id);
    put_forecast(m, out);
}

void model_record_encode(const struct model_record *m, struct bytes *out)
{
    put_signed(m, out);
    avro_put_bytes(out, view_of(m->signature, SIGN_BYTES));
}

void model_record_sign(struct model_record *m, struct view model_bytes, const struct sign_key *key, struct bytes *out)
{
    size_t begin = out->n;

    m->n_bytes = (int64_t)model_bytes.n;
    m->n_parts = (int32_t)model_part_count(model_bytes.n);
    m->key_id = sign_key_id(key);
    hash_bytes(model_bytes, m->sha256);
    put_signed(m, out);
    sign_bytes(key, SIGN_MODEL, view_of(out->data + begin, out->n - begin), m->signature);
    avro_put_bytes(out, view_of(m->signature, SIGN_BYTES));
}

static void take_features(struct take *t, struct model_record *m)
{
    struct take_items items = {0};
    const char **name;

    while ((name = take_item(t, "features", &items, sizeof(*name), UBJ_FEATURES_MAX)) != NULL)
        *name = take_text(t, "features");
    m->features = items.base;
    m->n_features = items.n;
    if (m->n_features == 0)
        take_fail(t, "features", "expected at least one");
}

static void take_params(struct take *t, struct booster_param **ret_params, size_t *ret_n)
{
    struct take_items items = {0};
    struct booster_param *p;

    while ((p = take_item(t, "params", &items, sizeof(*p), RECORD_ITEMS_MAX)) != NULL) {
        p->name = take_text(t, "params.name");
        p->value = take_text(t, "params.value");
    }
    *ret_params = items.base;
    *ret_n = items.n;
}

static void take_lineage(struct take *t, struct model_record *m)
{
    struct take_items items = {0};
    struct model_range *r;

    while ((r = take_item(t, "lineage", &items, sizeof(*r), UBJ_FEATURES_MAX)) != NULL) {
        r->topic = take_text(t, "lineage.topic");
        r->partition = (int32_t)take_long(t, "lineage.partition", 0, INT32_MAX);
        r->from_offset = take_long(t, "lineage.from_offset", 0, INT64_MAX);
        r->to_offset = take_long(t, "lineage.to_offset", r->from_offset, INT64_MAX);
    }
    m->lineage = items.base;
    m->n_lineage = items.n;
}

static void take_histogram(struct take *t, struct model_histogram *h)
{
    struct take_items edges = {0}, counts = {0};
    double *edge;
    int64_t *count;

    h->name = take_text(t, "histograms.name");
    while ((edge = take_item(t, "histograms.edges", &edges, sizeof(*edge), MODEL_BINS_MAX - 1)) != NULL) {
        *edge = take_double(t, "histograms.edges");
        if (!isfinite(*edge) || (edges.n > 1 && !(edge[-1] < *edge)))
            take_fail(t, "histograms.edges", "expected finite, rising numbers");
    }
    while ((count = take_item(t, "histograms.counts", &counts, sizeof(*count), MODEL_BINS_MAX)) != NULL)
        *count = take_long(t, "histograms.counts", 0, INT64_MAX);
    if (counts.n != edges.n + 1)
        take_fail(t, "histograms.counts", "expected one more than edges");
    h->edges = edges.base;
    h->n_edges = edges.n;
    h->counts = counts.base;
    h->missing = take_long(t, "histograms.missing", 0, INT64_MAX);
}

static void take_histograms(struct take *t, struct model_record *m)
{
    struct take_items items = {0};
    struct model_histogram *h;

    while ((h = take_item(t, "histograms", &items, sizeof(*h), UBJ_FEATURES_MAX + 1)) != NULL)
        take_histogram(t, h);
    m->histograms = items.base;
    m->n_histograms = items.n;
}

static void take_target(struct take *t, struct model_record *m)
{
    struct take_items items = {0};
    struct forecast_known *k;
    struct forecast_def *d;

    if (take_long(t, "target", 0, 1) == 0)
        return;
    d = arena_zalloc(t->arena, sizeof(*d));
    d->value = take_text(t, "target.value");
    d->horizon = (int32_t)take_long(t, "target.horizon", 1, FORECAST_STEPS_MAX);
    d->every_ms = take_long(t, "target.every_ms", 1, INT64_MAX / (4 * FORECAST_STEPS_MAX));
    d->zone = take_text(t, "target.zone");
    d->lead_time = (int32_t)take_long(t, "target.lead_time", 0, d->horizon);
    d->scale = take_text(t, "target.scale");
    d->offset = take_text(t, "target.offset");
    d->min = take_double_or_nan(t, "target.min");
    while ((k = take_item(t, "target.known", &items, sizeof(*k), UBJ_FEATURES_MAX)) != NULL) {
        k->name = take_text(t, "target.known.name");
        k->expr = take_text(t, "target.known.expr");
    }
    d->known = items.base;
    d->n_known = items.n;
    m->target = d;
}

static void take_output(struct take *t, struct model_output *o, size_t n_steps)
{
    struct take_items items = {0};
    double *c;

    o->name = take_text(t, "outputs.name");
    take_params(t, &o->params, &o->n_params);
    o->rounds = (int32_t)take_long(t, "outputs.rounds", 1, INT32_MAX);
    o->clip = take_double_or_nan(t, "outputs.clip");
    o->n_bytes = take_long(t, "outputs.n_bytes", 1, (int64_t)UBJ_BYTES_MAX);
    while ((c = take_item(t, "outputs.corrections", &items, sizeof(*c), n_steps)) != NULL) {
        *c = take_double(t, "outputs.corrections");
        if (!isfinite(*c))
            take_fail(t, "outputs.corrections", "expected finite numbers");
    }
    if (items.n != 0 && items.n != n_steps)
        take_fail(t, "outputs.corrections", "expected one a step, or none");
    o->corrections = items.base;
    o->n_corrections = items.n;
}

static void take_forecast(struct take *t, struct model_record *m)
{
    struct take_items items = {0};
    struct model_output *o;
    int64_t n_bytes = 0;
    const char *zone_data;
    size_t n_steps;

    if (take_left(t) == SIGNATURE_FIELD_BYTES) /* written before there were forecasts */
        return;
    take_target(t, m);
    n_steps = m->target ? (size_t)m->target->horizon + (m->target->lead_time > 0) : 0;
    while ((o = take_item(t, "outputs", &items, sizeof(*o), MODEL_OUTPUTS_MAX)) != NULL) {
        take_output(t, o, n_steps);
        n_bytes += o->n_bytes;
    }
    m->outputs = items.base;
    m->n_outputs = items.n;
    if ((items.n != 0) != (m->target != NULL) || (items.n != 0 && n_bytes != m->n_bytes))
        take_fail(t, "outputs", "expected those of a target, together n_bytes long");
    zone_data = take_left(t) == SIGNATURE_FIELD_BYTES ? "" : take_text(t, "zone_data"); /* written before it was said */
    if (m->target)
        m->target->zone_data = zone_data;
}

static void take_bytes_facts(struct take *t, struct model_record *m)
{
    if (!hash_from_hex(take_text(t, "sha256"), HASH_BYTES, m->sha256))
        take_fail(t, "sha256", "expected 64 lower-case hex digits");
    m->n_bytes = take_long(t, "n_bytes", 1, (int64_t)UBJ_BYTES_MAX);
    m->n_parts = (int32_t)take_long(t, "n_parts", 1, PARTS_MAX);
    if (!t->failed && (size_t)m->n_parts != model_part_count((size_t)m->n_bytes))
        take_fail(t, "n_parts", "expected n_bytes in parts of 512 KiB");
    m->key_id = take_text(t, "key_id");
    take_forecast(t, m);
    take_signature(t, m->signature);
}

enum status model_record_decode(struct view body, struct arena *arena, struct model_record *ret_record,
                                struct error *err)
{
    struct take t = take_from(body, arena, "model record", err);
    struct model_record m = {0};

    m.name = take_name(&t);
    m.version = (int32_t)take_long(&t, "version", 1, INT32_MAX);
    take_features(&t, &m);
    m.feature_set = take_text(&t, "feature_set");
    m.objective = take_text(&t, "objective");
    take_params(&t, &m.params, &m.n_params);
    m.rounds = (int32_t)take_long(&t, "rounds", 1, INT32_MAX);
    m.seed = take_long(&t, "seed", INT64_MIN, INT64_MAX);
    m.library = take_text(&t, "library");
    take_lineage(&t, &m);
    m.from_ms = take_long(&t, "from_ms", INT64_MIN, INT64_MAX);
    m.to_ms = take_long(&t, "to_ms", m.from_ms, INT64_MAX);
    m.holdout_to_ms = take_long(&t, "holdout_to_ms", m.to_ms, INT64_MAX);
    m.as_of_ms = take_long(&t, "as_of_ms", INT64_MIN, INT64_MAX);
    m.rows = take_long(&t, "rows", 0, INT64_MAX);
    m.positives = take_long(&t, "positives", 0, INT64_MAX);
    m.holdout_rows = take_long(&t, "holdout_rows", 0, INT64_MAX);
    take_metrics(&t, &m.metrics, &m.n_metrics);
    m.champion = (int32_t)take_long_or(&t, "champion", -1, 1, INT32_MAX);
    take_histograms(&t, &m);
    m.created_ms = take_long(&t, "created_ms", INT64_MIN, INT64_MAX);
    take_bytes_facts(&t, &m);
    if (take_end(&t) != OK)
        return ERR_RECORD;
    *ret_record = m;
    return OK;
}

enum status model_record_verify(struct view body, const struct model_record *m, const struct sign_keys *keys,
                                struct error *err)
{
    struct view covered;

    if (!signed_part(body, &covered))
        return err_set(err, ERR_RECORD, "model record: signature: expected 64 bytes at the end");
    if (sign_verify(keys, SIGN_MODEL, m->key_id, covered, view_of(m->signature, SIGN_BYTES), err) != OK)
        return err_wrap(err, "model %s/%d", m->name, m->version);
    return OK;
}

size_t model_part_count(size_t n_bytes)
{
    return (n_bytes + MODEL_PART_BYTES_MAX - 1) / MODEL_PART_BYTES_MAX;
}

void model_part_encode(struct view model_bytes, size_t part, struct bytes *out)
{
    size_t from = part * MODEL_PART_BYTES_MAX, left = model_bytes.n - from;

    assert(from < model_bytes.n);
    avro_put_bytes(out, view_of(model_bytes.data + from, left < MODEL_PART_BYTES_MAX ? left : MODEL_PART_BYTES_MAX));
}

enum status model_part_decode(struct view body, struct view *ret_bytes, struct error *err)
{
    struct take t = take_from(body, NULL, "model part", err);
    struct view v = take_bytes(&t, "data", MODEL_PART_BYTES_MAX);

    if (!t.failed && v.n == 0)
        take_fail(&t, "data", "expected at least one byte");
    if (take_end(&t) != OK)
        return ERR_RECORD;
    *ret_bytes = v;
    return OK;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

/* Rising edges at the twentieths; bin counts come by one pass over the sorted values. */
static void bins(const float *sorted, size_t n, struct model_histogram *h)
{
    size_t bin = 0;

    for (size_t k = 1; k < MODEL_BINS_MAX && n != 0; k++) {
        float at = sorted[k * n / MODEL_BINS_MAX];

        if (at > (h->n_edges ? (float)h->edges[h->n_edges - 1] : sorted[0]))
            h->edges[h->n_edges++] = (double)at;
    }
    if (h->n_edges == 0 && n != 0 && sorted[n - 1] > sorted[0])
        h->edges[h->n_edges++] = (double)sorted[n - 1];
    for (size_t i = 0; i < n; i++) {
        while (bin < h->n_edges && (double)sorted[i] >= h->edges[bin])
            bin++;
        h->counts[bin]++;
    }
}

void model_histogram_make(const char *name, const float *values, size_t n, size_t stride, struct arena *arena,
                          struct model_histogram *ret_histogram)
{
    float *sorted = xmalloc((n + 1) * sizeof(*sorted));
    size_t n_sorted = 0;
    struct model_histogram h = {.name = name};

    h.edges = arena_zalloc(arena, MODEL_BINS_MAX * sizeof(*h.edges));
    h.counts = arena_zalloc(arena, MODEL_BINS_MAX * sizeof(*h.counts));
    for (size_t i = 0; i < n; i++) {
        if (isnan(values[i * stride]))
            h.missing++;
        else
            sorted[n_sorted++] = values[i * stride];
    }
    qsort(sorted, n_sorted, sizeof(*sorted), by_value);
    bins(sorted, n_sorted, &h);
    free(sorted);
    *ret_histogram = h;
}
