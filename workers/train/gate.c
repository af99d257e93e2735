#include "workers/train/gate.h"

#include <math.h>

#include "base/batch.h"

static double metric_of(const struct model_record *r, const char *name, bool champions)
{
    for (size_t i = 0; i < r->n_metrics; i++)
        if (strcmp(r->metrics[i].name, name) == 0)
            return champions ? r->metrics[i].champion : r->metrics[i].value;
    return (double)NAN;
}

/* One row: the metrics, then the champion's. */
static void fill(const struct stage_def *def, const struct model_record *r, struct arena *arena, struct batch *ret)
{
    size_t n = def->n_promotion / 2;

    batch_init(ret, arena, 1);
    ret->n_rows = 1;
    for (size_t i = 0; i < def->n_promotion; i++) {
        struct col *c = batch_add_col(ret, def->promotion[i].name, COL_DOUBLE);

        c->f64[0] = metric_of(r, def->promotion[i % n].name, i >= n);
        c->null[0] = (uint8_t)(isnan(c->f64[0]) != 0);
    }
}

/* What the condition speaks of, with its numbers. */
static const char *numbers(const struct stage_def *def, const struct expr *e, const struct batch *row, struct arena *arena)
{
    const char *text = "";

    for (size_t i = 0; i < row->n_cols; i++) {
        const char *comma = text[0] ? ", " : "";

        if (!expr_needs(e, def->promotion[i].name))
            continue;
        text = row->cols[i].null[0] ? arena_printf(arena, "%s%s%s none", text, comma, row->cols[i].name)
                                    : arena_printf(arena, "%s%s%s %.6g", text, comma, row->cols[i].name, row->cols[i].f64[0]);
    }
    return text;
}

enum status gate_judge(const struct stage_def *def, const struct model_record *r, bool has_champion, struct arena *arena, bool *ret_promoted,
                       const char **ret_reason, struct error *err)
{
    bool compared = r->champion >= 0, alone = !has_champion || (!compared && r->holdout_rows != 0);
    const char *beside = compared ? arena_printf(arena, " beside version %d", r->champion) : "";
    struct expr *e = NULL;
    enum col_type type;
    struct batch row;
    struct col holds;

    if (expr_new(def->promote_when, def->promotion, def->n_promotion, &e, &type, err) != OK)
        return err_wrap(err, "promote_when");
    fill(def, r, arena, &row);
    if (expr_eval(e, &row, &holds, err) != OK) {
        expr_free(e);
        return err_wrap(err, "promote_when");
    }
    *ret_promoted = holds.null[0] ? alone : holds.i64[0] != 0;
    *ret_reason = arena_printf(arena, "promote_when %s: %s%s%s", holds.null[0] ? "is null" : *ret_promoted ? "holds" : "does not hold",
                               numbers(def, e, &row, arena), beside,
                               !holds.null[0] ? "" : !has_champion ? "; there is no champion" : alone ? "; the champion is of other rows" : "");
    expr_free(e);
    return OK;
}
