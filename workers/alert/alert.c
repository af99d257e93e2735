#include "workers/alert/alert.h"

#include <inttypes.h>
#include <stdlib.h>

#define RULES_MAX 256

struct alert {
    const struct rule *rules;
    struct expr *conditions[RULES_MAX];
    size_t n_rules;
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
        for (size_t i = 0; i < n; i++)
            if (expr_needs(a->conditions[a->n_rules], leaves[i].path) || (r->key && strcmp(r->key, leaves[i].path) == 0))
                stage_want(s, 0, leaves[i].path, leaves[i].type);
    }
    return OK;
}

static struct view cooldown_key(const struct rule *rule, const struct rows *in, size_t r)
{
    const struct col *c = rule->key ? batch_col(in->cols, rule->key) : NULL;
    struct view text = in->keys[r];
    const char *field = rule->key ? rule->key : "";
    size_t n = strlen(rule->name) + 1, n_field = strlen(field) + 1;
    uint8_t *p;

    if (c && !c->null[r])
        text = c->type >= COL_STRING ? c->view[r] : view_str(arena_printf(in->cols->arena, "%" PRId64, c->i64[r]));
    p = arena_alloc(in->cols->arena, n + n_field + text.n);
    memcpy(p, rule->name, n);
    memcpy(p + n, field, n_field); /* with another field the rule begins anew */
    if (text.n)
        memcpy(p + n + n_field, text.data, text.n);
    return view_of(p, n + n_field + text.n);
}

/* Whether the rule may speak now; remembers that it did. */
static enum status may_alert(const struct rule *rule, struct rows *in, size_t r, bool *ret_may, struct error *err)
{
    struct entry *e;
    int64_t last;

    *ret_may = true;
    if (rule->cooldown_ms == 0)
        return OK;
    e = state_get(in->state, cooldown_key(rule, in, r), err);
    if (e == NULL)
        return err->status;
    if (e->n_bytes != 0) {
        memcpy(&last, e->value, sizeof(last));
        *ret_may = in->event_ms[r] >= last + rule->cooldown_ms;
    } else if (state_resize(in->state, e, sizeof(last), err) != OK) {
        return err->status;
    }
    if (*ret_may) {
        memcpy(e->value, &in->event_ms[r], sizeof(last));
        state_dirty(in->state, e, 0, sizeof(last), in->commit);
    }
    return OK;
}

enum status alert_transform(void *ctx, struct rows *in, struct out *outs, struct error *err)
{
    const struct alert *a = ctx;
    struct col *holds = arena_alloc(in->cols->arena, (a->n_rules + 1) * sizeof(*holds));
    struct out *out = &outs[0];
    struct col *name, *severity;

    for (size_t i = 0; i < a->n_rules; i++)
        if (expr_eval(a->conditions[i], in->cols, &holds[i], err) != OK)
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
            if (may_alert(&a->rules[i], in, r, &may, err) != OK)
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
    if (value.n == 0 || value.n == sizeof(int64_t))
        return OK;
    return err_set(err, ERR_FATAL, "a cooldown's time has %zu bytes, expected %zu", value.n, sizeof(int64_t));
}

void alert_close(void *ctx)
{
    struct alert *a = ctx;

    for (size_t i = 0; i < a->n_rules; i++)
        expr_free(a->conditions[i]);
    free(a);
}
