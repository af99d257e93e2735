/* common/feature/features_windows.c: aggregates over windows become rings, cursors and parts (docs/adr/0007). */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "feature/features_made.h"
#include "feature/tumbling.h"

#define LAST_MAX 1000000
#define TILES_MAX 10000 /* of one window */

bool features_duration(const char *text, int64_t *ret_ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}, {"w", 604800000}};
    char *end;
    long long n = strtoll(text, &end, 10);

    if (end == text || n < 0 || !isdigit((unsigned char)*text))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strcmp(end, units[i].unit) == 0)
            return !__builtin_mul_overflow(n, units[i].ms, ret_ms) && *ret_ms < INT64_MAX / 8;
    return false;
}

struct span {
    enum window_kind kind;
    int64_t ms; /* by time: its length; by gap: the gap */
    uint32_t n;
    int64_t tile_ms; /* its tail is kept as tiles of this length; 0: as events */
};

bool features_span(const char *text, enum window_kind *ret_kind, int64_t *ret_ms, uint32_t *ret_n)
{
    char *end;
    unsigned long n;

    *ret_ms = 0;
    *ret_n = 0;
    if (strcmp(text, "ever") == 0) {
        *ret_kind = WINDOW_EVER;
        return true;
    }
    if (strncmp(text, "last", 4) == 0 && isdigit((unsigned char)text[4])) {
        n = strtoul(text + 4, &end, 10);
        *ret_kind = WINDOW_LAST;
        *ret_n = (uint32_t)n;
        return *end == '\0' && n > 0 && n <= LAST_MAX;
    }
    *ret_kind = strncmp(text, "gap", 3) == 0 ? WINDOW_GAP : WINDOW_TIME;
    return features_duration(text + (*ret_kind == WINDOW_GAP ? 3 : 0), ret_ms) && *ret_ms > 0;
}

static enum status span_of(const struct feature_def *d, const struct aggregate *a, const char *text, struct span *ret,
                           struct error *err)
{
    if (!features_span(text, &ret->kind, &ret->ms, &ret->n))
        return err_set(err, ERR_FATAL, "feature '%s': window '%s' is no duration; examples: 7d, 12h, 30s; or last10 (events), gap30m, ever",
                       d->name, text);
    if (a->only_ever && ret->kind != WINDOW_TIME)
        return err_set(err, ERR_FATAL, "feature '%s': %s needs half-lives such as \"7d\" in \"over\", got '%s'", d->name, a->name, text);
    if (a->not_ever && ret->kind == WINDOW_EVER)
        return err_set(err, ERR_FATAL, "feature '%s': %s needs a window that ends, got 'ever'", d->name, a->name);
    if (a->only_latest && ret->kind == WINDOW_EVER)
        *ret = (struct span){WINDOW_LAST, 0, 1, 0};
    return OK;
}

static const struct part_kind *const *kinds_of(const struct aggregate *a, bool has_tail)
{
    return !has_tail && a->ever[0] ? a->ever : a->parts;
}

bool features_tiled(const struct aggregate *a)
{
    const struct part_kind *const *kinds = kinds_of(a, /* has_tail= */ false);

    return a->tiled || (kinds[0] && kinds[0]->in && !a->only_ever);
}

static enum status tiles_of(const struct feature_def *d, const struct aggregate *a, const char *over, struct span *s, struct error *err)
{
    if (!features_duration(d->resolution, &s->tile_ms) || s->tile_ms == 0)
        return err_set(err, ERR_FATAL, "feature '%s': resolution '%s' is no duration; examples: 1h, 5m, 1d", d->name, d->resolution);
    if (!features_tiled(a))
        return err_set(err, ERR_FATAL, "feature '%s': %s cannot be made of tiles: leave \"resolution\" out; count, sum, mean, variance, "
                       "stddev, zscore, ratio, min, max and distinct can", d->name, a->name);
    if (s->kind != WINDOW_TIME)
        return err_set(err, ERR_FATAL, "feature '%s': resolution is of windows by time such as \"60d\", got '%s'", d->name, over);
    if (s->tile_ms > s->ms || s->ms / s->tile_ms > TILES_MAX)
        return err_set(err, ERR_FATAL, "feature '%s': resolution '%s' of '%s': from a %dth of the window up to all of it are possible", d->name,
                       d->resolution, over, TILES_MAX);
    return OK;
}

/* Which input an aggregate's expression is about: the only one whose columns it compiles over. */
static enum status find_value(struct features *f, const struct feature_def *d, const struct aggregate *a, size_t *ret_input,
                              struct expr **ret_expr, bool *ret_text, struct error *err)
{
    enum col_type type;

    for (size_t k = 0; k < f->n_inputs; k++) {
        size_t i = (f->emit + k) % f->n_inputs; /* the emitting input first: its message is the likely one */
        struct error other;

        if (expr_new(d->of, f->inputs[i].cols, f->inputs[i].n_cols, ret_expr, &type, k == 0 ? err : &other) != OK)
            continue;
        *ret_text = type == COL_STRING;
        *ret_input = i;
        if (*ret_text && a->takes == TAKES_NUMBER)
            err_set(err, ERR_FATAL, "feature '%s': %s needs a number, '%s' is text", d->name, a->name, d->of);
        else if (a->is_own && i != f->emit)
            err_set(err, ERR_FATAL, "feature '%s': %s is about the event's own value, and '%s' is of another topic than '%s', which comes out",
                    d->name, a->name, d->of, f->inputs[f->emit].name);
        else
            return OK;
        expr_free(*ret_expr);
        return ERR_FATAL;
    }
    return err_wrap(err, "feature '%s'", d->name);
}

enum status features_find_topic(struct features *f, const struct feature_def *d, const char *what, const char *name, size_t *ret_input,
                              struct error *err)
{
    for (size_t i = 0; i < f->n_inputs; i++)
        if (strcmp(f->inputs[i].name, name) == 0) {
            *ret_input = i;
            return OK;
        }
    return err_set(err, ERR_FATAL, "feature '%s': %s needs a topic that the stage reads, got '%s'", d->name, what, name);
}

/* A row that stands in the place of another counts as it is now, however often it came. */
static enum status check_replaced(const struct features *f, const struct feature_def *d, size_t input, const struct expr *e, struct error *err)
{
    if (f->tumbling || f->inputs[input].replaces_ms == 0)
        return OK;
    if (e && expr_needs(e, TUMBLING_REVISION))
        return err_set(err, ERR_FATAL, "feature '%s': a row of '%s' takes the place of the one before it, so '%s' has no meaning: leave it out", d->name,
                       f->inputs[input].name, TUMBLING_REVISION);
    if (d->resolution)
        return err_set(err, ERR_FATAL, "feature '%s': rows of '%s' take each other's place, which tiles cannot: leave \"resolution\" out", d->name,
                       f->inputs[input].name);
    return OK;
}

/* A condition, or the time that a record is for, over the input's columns. */
static enum status compile_over(struct features *f, const struct feature_def *d, size_t input, const char *key, const char *text, bool is_time,
                                struct expr **ret, struct error *err)
{
    enum col_type type;

    if (expr_new(text, f->inputs[input].cols, f->inputs[input].n_cols, ret, &type, err) != OK)
        return err_wrap(err, "feature '%s': %s", d->name, key);
    if (is_time ? !expr_is_time(*ret) : type != COL_BOOL)
        return err_set(err, ERR_FATAL, "feature '%s': %s needs a %s, '%s' is %s", d->name, key, is_time ? "time" : "condition", text, col_type_name(type));
    return check_replaced(f, d, input, *ret, err);
}

static const char *copied(struct features *f, const char *text)
{
    return text ? arena_strdup(&f->arena, text) : NULL;
}

enum status features_find_ring(struct features *f, const struct feature_def *d, size_t input, int *ret_ring, struct error *err)
{
    struct expr *where = NULL, *valid = NULL;

    if ((d->where && compile_over(f, d, input, "where", d->where, /* is_time= */ false, &where, err) != OK) ||
        (d->valid && compile_over(f, d, input, "for", d->valid, /* is_time= */ true, &valid, err) != OK)) {
        expr_free(where);
        expr_free(valid);
        return err->status;
    }
    *ret_ring = plan_ring(&f->plan, input, where, copied(f, d->where), valid, copied(f, d->valid));
    if (*ret_ring < 0)
        return err_set(err, ERR_FATAL, "feature '%s': more than %d different inputs and conditions in one stage", d->name, RINGS_MAX);
    return OK;
}

static int by_time(struct plan *p, int ring, int64_t ms, bool floor)
{
    return plan_cursor(p, ring, (struct cursor_def){.kind = CURSOR_TIME, .floor = floor, .head = -1, .ms = ms});
}

/* A tail that follows a head needs one that follows the floor, so that what it may come back to is kept. */
static int behind(struct plan *p, int ring, int head, const struct span *s, int64_t delay_ms)
{
    struct cursor_def c = {.kind = s->kind == WINDOW_LAST ? CURSOR_LAST : CURSOR_GAP, .head = head, .ms = s->ms, .n = s->n};
    struct cursor_def kept = c;

    kept.floor = true;
    kept.head = by_time(p, ring, delay_ms, /* floor= */ true);
    if (kept.head < 0 || plan_cursor(p, ring, kept) < 0)
        return -1;
    return plan_cursor(p, ring, c);
}

static bool make_window(struct plan *p, int ring, const struct span *s, int64_t delay_ms, struct window *ret)
{
    *ret = (struct window){.kind = s->kind, .ring = ring, .tail = -1, .ms = s->ms};
    ret->head = by_time(p, ring, delay_ms, /* floor= */ false);
    if (s->kind == WINDOW_EVER || s->tile_ms)
        return ret->head >= 0;
    ret->tail = s->kind == WINDOW_TIME ? by_time(p, ring, delay_ms + s->ms, /* floor= */ false) : behind(p, ring, ret->head, s, delay_ms);
    return ret->head >= 0 && ret->tail >= 0;
}

bool features_last_event(struct plan *p, int ring, int64_t delay_ms, struct window *ret)
{
    return make_window(p, ring, &(struct span){WINDOW_LAST, 0, 1, 0}, delay_ms, ret);
}

static bool make_parts(struct plan *p, const struct aggregate *a, const struct window *w, int64_t tile_ms, int64_t delay_ms, int value,
                       double parameter, int parts[2])
{
    const struct ring_def *r = &p->rings[w->ring];
    const struct part_kind *const *kinds = kinds_of(a, w->tail >= 0);

    parts[0] = parts[1] = -1;
    for (int i = 0; i < 2 && kinds[i]; i++) {
        struct part_def part = {.kind = kinds[i], .value = value, .head = w->head, .tail = w->tail, .base = -1, .parameter = parameter,
                                .factor = value < 0 ? 1 : r->values[value].factor};
        struct part_def base;

        if (tile_ms && a->tiled) {
            part.kind = a->tiled;
            part.tile_ms = tile_ms;
            part.span_ms = w->ms;
        } else if (tile_ms) {
            part.inner = part.kind;
            part.kind = &PART_TILES;
            part.tile_ms = tile_ms;
            part.span_ms = delay_ms + w->ms;
        }
        base = part;
        if (w->tail < 0 && !part.kind->takes_back) {
            base.head = by_time(p, w->ring, delay_ms, /* floor= */ true);
            part.base = base.head < 0 ? -1 : plan_part(p, w->ring, base);
            if (part.base < 0)
                return false;
        }
        if ((parts[i] = plan_part(p, w->ring, part)) < 0)
            return false;
    }
    return true;
}

static enum status add_window(struct features *f, const struct feature_def *d, const struct aggregate *a, const char *over, int ring,
                              int value, double parameter, int64_t delay_ms, struct error *err)
{
    struct made m = {.aggregate = a, .value = value, .others = d->others || a->others, .parameter = parameter}, *made;
    struct span s = {WINDOW_LAST, 0, 1, 0};

    if ((over && span_of(d, a, over, &s, err) != OK) || (d->resolution && tiles_of(d, a, over, &s, err) != OK))
        return err->status;
    if (a->only_ever)
        parameter = (double)s.ms;
    if (a->only_ever)
        s.kind = WINDOW_EVER;
    if (!make_window(&f->plan, ring, &s, delay_ms, &m.window) ||
        !make_parts(&f->plan, a, &m.window, s.tile_ms, delay_ms, value, a->only_ever ? parameter : 0, m.parts))
        return err_set(err, ERR_FATAL, "feature '%s': more than %d different ends of windows, or %d aggregates, over one input and condition",
                       d->name, CURSORS_MAX - 1, PARTS_MAX);
    m.is_tiled = s.tile_ms > 0;
    made = features_add_made(f, d->name, over ? arena_strdup(&f->arena, over) : NULL, a->type);
    m.col = made->col;
    m.family = made->family;
    m.over = made->over;
    *made = m;
    return OK;
}

static enum status check_parameter(const struct feature_def *d, const struct aggregate *a, double *ret, struct error *err)
{
    *ret = d->has_parameter ? d->parameter : a->parameter_default;
    if (a->parameter && !(*ret >= a->parameter_min && *ret <= a->parameter_max))
        return err_set(err, ERR_FATAL, "feature '%s': %s needs \"%s\" from %g to %g", d->name, a->name, a->parameter, a->parameter_min,
                       a->parameter_max);
    if (a->takes != TAKES_TOPIC && a->parameter && a->parameter_max > 1 && *ret != floor(*ret))
        return err_set(err, ERR_FATAL, "feature '%s': %s needs a whole number as \"%s\"", d->name, a->name, a->parameter);
    return OK;
}

static enum status unknown(const struct feature_def *d, struct error *err)
{
    struct feature_col names[64] = {0};
    char all[400] = "";
    const char *near;

    for (size_t i = 0; i < n_aggregates; i++) {
        names[i].name = aggregates[i].name;
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? ", " : "", aggregates[i].name);
    }
    near = expr_nearest(d->aggregate, names, n_aggregates);
    return err_set(err, ERR_FATAL, "feature '%s': no aggregate '%s'%s%s%s; there are %s", d->name, d->aggregate,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "", all);
}

enum status features_find_aggregate(struct features *f, const struct feature_def *d, struct found_aggregate *ret, struct error *err)
{
    const struct aggregate *a = aggregate_find(d->aggregate);
    struct expr *e = NULL;
    size_t input = 0;
    bool is_text = false;

    if (a == NULL)
        return unknown(d, err);
    *ret = (struct found_aggregate){.aggregate = a, .ring = -1, .value = -1};
    if ((a->takes == TAKES_TOPIC ? features_find_topic(f, d, d->aggregate, d->of, &input, err) : find_value(f, d, a, &input, &e, &is_text, err)) != OK)
        return err->status;
    if (check_replaced(f, d, input, e, err) != OK || features_find_ring(f, d, input, &ret->ring, err) != OK || check_parameter(d, a, &ret->parameter, err) != OK) {
        expr_free(e);
        return err->status;
    }
    if (e) {
        const struct feature_col *col = expr_column(e);
        double factor = pow(10, col && col->scale >= 0 ? col->scale : SCALE_DEFAULT);

        ret->value = plan_value(&f->plan, ret->ring, e, arena_strdup(&f->arena, d->of), factor, is_text);
        if (ret->value < 0)
            return err_set(err, ERR_FATAL, "feature '%s': more than %d different values of one topic", d->name, VALUES_MAX);
    }
    return OK;
}

enum status features_add_aggregate(struct features *f, const struct feature_def *d, struct error *err)
{
    struct found_aggregate found;
    int64_t delay_ms = 0;

    if (features_find_aggregate(f, d, &found, err) != OK)
        return err->status;
    if (d->delay && !features_duration(d->delay, &delay_ms))
        return err_set(err, ERR_FATAL, "feature '%s': delay '%s' is no duration; examples: 7d, 12h, 30s", d->name, d->delay);
    if (d->n_over == 0 && !found.aggregate->only_latest)
        return err_set(err, ERR_FATAL, "feature '%s': %s needs \"over\": a list of windows such as [\"1d\", \"7d\"]", d->name,
                       d->aggregate);
    for (size_t i = 0; i < (d->n_over ? d->n_over : 1); i++)
        if (add_window(f, d, found.aggregate, d->n_over ? d->over[i] : NULL, found.ring, found.value, found.parameter, delay_ms, err) != OK)
            return err->status;
    return OK;
}
