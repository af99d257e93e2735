#include "workers/alert/alert.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/siphash.h"

#define RULES_MAX 256

struct spoken { /* the last alert of a rule for a key */
    int64_t ms;    /* event time */
    uint64_t once; /* the hash of what once_per was; 0: null, or the rule has none */
};

struct alert {
    const struct rule *rules;
    struct expr *conditions[RULES_MAX], *once[RULES_MAX]; /* once: NULL where the rule has none */
    size_t n_rules;
    struct bytes key;
};

enum status alert_open(struct stage *s, void **ret_ctx, struct error *err)
{
    const struct stage_def *def = stage_def(s);
    const struct schema *schema = stage_pipeline(s)->topics[def->from[0]].schema;
    struct alert *a = xcalloc(1, sizeof(*a));
    struct want leaves[512];
    struct feature_col cols[512];
    size_t n = schema_wants(schema, leaves, ARRAY_LEN(leaves));

    *ret_ctx = a;
    a->rules = def->rules;
    if (def->n_rules > RULES_MAX)
        return err_set(err, ERR_FATAL, "stage %s: at most %d rules", def->name, RULES_MAX);
    for (size_t i = 0; i < n; i++)
        cols[i] = (struct feature_col){leaves[i].path, leaves[i].type, schema_is_time(schema_at(schema, leaves[i].path)), -1};
    for (; a->n_rules < def->n_rules; a->n_rules++) {
        const struct rule *r = &def->rules[a->n_rules];
        enum col_type type;

        if (expr_new(r->when, cols, n, &a->conditions[a->n_rules], &type, err) != OK)
            return err_wrap(err, "rule '%s'", r->name);
        if (r->once_per && expr_new(r->once_per, cols, n, &a->once[a->n_rules], &type, err) != OK)
            return err_wrap(err, "rule '%s': once_per", r->name);
        for (size_t i = 0; i < n; i++)
            if (expr_needs(a->conditions[a->n_rules], leaves[i].path) ||
                (r->once_per && expr_needs(a->once[a->n_rules], leaves[i].path)) || (r->key && strcmp(r->key, leaves[i].path) == 0))
                stage_want(s, 0, leaves[i].path, leaves[i].type);
    }
    return OK;
}

static void put_text(struct bytes *b, const char *text)
{
    bytes_append(b, text, strlen(text) + 1);
}

/* What was said before is remembered by; with another field or expression the rule begins anew. */
static struct view silence_key(struct alert *a, const struct rule *rule, const struct rows *in, size_t r)
{
    const struct col *c = rule->key ? batch_col(in->cols, rule->key) : NULL;
    struct view text = in->keys[r];

    if (c && !c->null[r])
        text = c->type >= COL_STRING ? c->view[r] : view_str(arena_printf(in->cols->arena, "%" PRId64, c->i64[r]));
    bytes_clear(&a->key);
    put_text(&a->key, rule->name);
    put_text(&a->key, rule->key ? rule->key : "");
    if (rule->once_per)
        put_text(&a->key, rule->once_per);
    bytes_append(&a->key, text.data, text.n);
    return view_of(a->key.data, a->key.n);
}

/* Equal for equal values of one type, null included. */
static uint64_t value_hash(const struct col *c, size_t r)
{
    static const uint64_t key[2] = {0x6f6e63655f706572, 0};
    struct view v = {0};

    if (c->null[r])
        return 0;
    if (c->type >= COL_STRING)
        v = c->view[r];
    else
        v = view_of(c->type == COL_DOUBLE ? (const void *)&c->f64[r] : (const void *)&c->i64[r], 8);
    return siphash(key, v) | 1;
}

/* Whether the rule may speak now; remembers that it did. once: the rule's once_per, evaluated. */
static enum status may_alert(struct alert *a, const struct rule *rule, const struct col *once, struct rows *in, size_t r,
                             bool *ret_may, struct error *err)
{
    struct spoken now = {in->event_ms[r], once ? value_hash(once, r) : 0}, last;
    struct entry *e;

    *ret_may = true;
    if (rule->cooldown_ms == 0 && once == NULL)
        return OK;
    e = state_get(in->state, silence_key(a, rule, in, r), err);
    if (e == NULL)
        return err->status;
    if (e->n_bytes != 0) {
        memcpy(&last, e->value, sizeof(last));
        *ret_may = (rule->cooldown_ms == 0 || now.ms >= last.ms + rule->cooldown_ms) && (once == NULL || now.once != last.once);
    } else if (state_resize(in->state, e, sizeof(last), err) != OK) {
        return err->status;
    }
    if (*ret_may) {
        memcpy(e->value, &now, sizeof(now));
        state_dirty(in->state, e, 0, sizeof(now), in->commit);
    }
    return OK;
}

enum status alert_transform(void *ctx, struct rows *in, struct out *outs, struct error *err)
{
    struct alert *a = ctx;
    struct col *holds = arena_alloc(in->cols->arena, (2 * a->n_rules + 1) * sizeof(*holds)), *once = holds + a->n_rules;
    struct out *out = &outs[0];
    struct col *name, *severity;

    for (size_t i = 0; i < a->n_rules; i++)
        if (expr_eval(a->conditions[i], in->cols, &holds[i], err) != OK ||
            (a->once[i] && expr_eval(a->once[i], in->cols, &once[i], err) != OK))
            return err_wrap(err, "rule '%s'", a->rules[i].name);
    out_begin(out, in->cols->arena, in->cols->n_rows * (a->n_rules + 1));
    batch_add_col(&out->cols, "rule", COL_STRING);
    batch_add_col(&out->cols, "severity", COL_STRING);
    name = &out->cols.cols[0];
    severity = &out->cols.cols[1];
    for (uint32_t r = 0; r < in->cols->n_rows; r++)
        for (size_t i = 0; i < a->n_rules && in->bad[r] == NULL; i++) {
            size_t o = out->cols.n_rows;
            bool may;

            if (holds[i].null[r] || !holds[i].i64[r])
                continue;
            if (may_alert(a, &a->rules[i], a->once[i] ? &once[i] : NULL, in, r, &may, err) != OK)
                return err->status;
            if (!may)
                continue;
            out->parent[o] = r;
            name->view[o] = view_str(a->rules[i].name);
            severity->view[o] = a->rules[i].severity ? view_str(a->rules[i].severity) : view_of("", 0);
            out->cols.n_rows++;
        }
    return OK;
}

enum status alert_check(void *ctx, struct view value, struct error *err)
{
    (void)ctx;
    if (value.n == 0 || value.n == sizeof(struct spoken))
        return OK;
    return err_set(err, ERR_FATAL, "what a rule said last has %zu bytes, expected %zu: it is of another version; raise the stage's `epoch`", value.n, sizeof(struct spoken));
}

void alert_close(void *ctx)
{
    struct alert *a = ctx;

    for (size_t i = 0; i < a->n_rules; i++)
        expr_free(a->conditions[i]);
    for (size_t i = 0; i < RULES_MAX; i++)
        expr_free(a->once[i]);
    bytes_done(&a->key);
    free(a);
}
