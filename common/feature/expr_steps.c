/* common/feature/expr_steps.c: a tree as a list of steps over columns, and the run of it over a batch. */
#include <math.h>

#include "feature/expr_tree.h"

static void set_const(struct vec *v, const struct node *n, struct arena *arena)
{
    struct view *value = arena_alloc(arena, sizeof(*value));

    v->null = arena_zalloc(arena, 1);
    v->null[0] = n->is_null;
    v->view = value;
    v->mask = 0;
    if (n->type == TYPE_TEXT)
        *value = n->view;
    else
        v->i64[0] = n->i64; /* a number's bits too */
}

void step_once(kernel *run, const void *with, struct node *const *args, size_t n_args, struct node *ret, struct arena *arena)
{
    struct vec vecs[STEP_ARGS_MAX + 1];
    uint32_t at[STEP_ARGS_MAX];
    struct step s = {.run = run, .with = with, .args = at, .out = STEP_ARGS_MAX};
    struct frame f = {vecs, 1, arena};

    set_const(&vecs[STEP_ARGS_MAX], ret, arena);
    for (size_t i = 0; i < n_args; i++) {
        set_const(&vecs[i], args[i], arena);
        at[i] = (uint32_t)i;
    }
    run(&s, &f);
    ret->is_null = vecs[STEP_ARGS_MAX].null[0];
    if (ret->type == TYPE_TEXT)
        ret->view = vecs[STEP_ARGS_MAX].view[0];
    else
        ret->i64 = vecs[STEP_ARGS_MAX].i64[0];
}

/* ---- the tree in order ---- */
struct arranging {
    struct expr *e;
    uint32_t *idle; /* slots that nobody needs any more */
    size_t n_idle;
};

/* Counts first (then the arrays are there), then numbers columns and constants. */
static void number_leaves(struct expr *e, struct node *n, bool counts)
{
    for (size_t i = 0; i < n->n_args; i++)
        number_leaves(e, n->args[i], counts);
    if (n->kind == NODE_STEP) {
        e->n_steps += counts;
    } else if (counts) {
        e->n_cols += n->kind == NODE_COL;
        e->n_consts += n->kind == NODE_CONST;
    } else if (n->kind == NODE_COL) {
        n->vec = 0;
        while (n->vec < e->n_cols && strcmp(e->cols[n->vec]->name, n->col->name) != 0)
            n->vec++;
        if (n->vec == e->n_cols)
            e->cols[e->n_cols++] = n->col;
    }
}

static void number_consts(struct expr *e, struct node *n)
{
    for (size_t i = 0; i < n->n_args; i++)
        number_consts(e, n->args[i]);
    if (n->kind == NODE_CONST) {
        n->vec = (uint32_t)(e->n_cols + e->n_consts);
        set_const(&e->consts[e->n_consts++], n, &e->arena);
    }
}

static uint32_t slot(struct arranging *a)
{
    return a->n_idle ? a->idle[--a->n_idle] : (uint32_t)(a->e->n_cols + a->e->n_consts + a->e->n_slots++);
}

/* A result never takes its operands' slot: kernels may write a row before they have read it all. */
static void add_steps(struct arranging *a, struct node *n)
{
    struct step *s;

    if (n->kind != NODE_STEP)
        return;
    for (size_t i = 0; i < n->n_args; i++)
        add_steps(a, n->args[i]);
    n->vec = n == a->e->root ? n->vec : slot(a);
    s = &a->e->steps[a->e->n_steps++];
    *s = (struct step){.run = n->run, .with = n->with, .args = arena_alloc(&a->e->arena, n->n_args * sizeof(*s->args)), .out = n->vec};
    for (size_t i = 0; i < n->n_args; i++) {
        s->args[i] = n->args[i]->vec;
        if (n->args[i]->kind == NODE_STEP)
            a->idle[a->n_idle++] = n->args[i]->vec;
    }
    if (n->type == TYPE_TEXT)
        a->e->slot_bytes = sizeof(struct view);
}

void expr_arrange(struct expr *e, struct node *root)
{
    struct arranging a = {.e = e};

    e->root = root;
    e->slot_bytes = sizeof(int64_t);
    number_leaves(e, root, /* counts= */ true);
    e->cols = arena_alloc(&e->arena, (e->n_cols + 1) * sizeof(const struct feature_col *));
    e->consts = arena_alloc(&e->arena, (e->n_consts + 1) * sizeof(*e->consts));
    e->steps = arena_alloc(&e->arena, (e->n_steps + 1) * sizeof(*e->steps));
    a.idle = arena_alloc(&e->arena, (e->n_steps + 1) * sizeof(*a.idle));
    e->n_cols = e->n_consts = e->n_steps = 0;
    number_leaves(e, root, /* counts= */ false);
    number_consts(e, root);
    if (root->kind == NODE_STEP) { /* its columns are the first slots */
        root->vec = (uint32_t)(e->n_cols + e->n_consts);
        e->n_slots = root->width;
    }
    add_steps(&a, root);
}

/* ---- a run ---- */
static bool all_finite(const struct col *c, size_t n)
{
    uint64_t worst = 0;

    for (size_t r = 0; r < n; r++) {
        uint64_t exponent = (uint64_t)c->i64[r] & UINT64_C(0x7ff0000000000000);

        worst = exponent > worst ? exponent : worst;
    }
    return worst < UINT64_C(0x7ff0000000000000);
}

/* NaN and infinities of a field are null to whatever is done with it. */
static struct vec column(const struct col *c, size_t n, struct arena *arena)
{
    struct vec v = {.null = c->null, .i64 = c->i64, .mask = SIZE_MAX};

    if (c->type != COL_DOUBLE || all_finite(c, n))
        return v;
    v.null = arena_copy(arena, c->null, n);
    v.f64 = arena_copy(arena, c->f64, n * sizeof(double));
    for (size_t r = 0; r < n; r++)
        if (!isfinite(v.f64[r])) {
            v.null[r] = 1;
            v.f64[r] = 0;
        }
    return v;
}

static enum status find_columns(const struct expr *e, const struct batch *in, struct vec *vecs, struct col *ret_root, struct error *err)
{
    for (size_t i = 0; i < e->n_cols; i++) {
        const struct col *c = batch_col(in, e->cols[i]->name);

        if (c == NULL || c->type != e->cols[i]->type)
            return err_set(err, ERR_FATAL, "no column '%s' of type %s", e->cols[i]->name, col_type_name(e->cols[i]->type));
        if (e->root->kind == NODE_COL)
            *ret_root = *c; /* the field itself, as it is */
        else
            vecs[i] = column(c, in->n_rows, in->arena);
    }
    return OK;
}

enum status expr_eval(const struct expr *e, const struct batch *in, struct col *ret_cols, struct error *err)
{
    size_t first = e->n_cols + e->n_consts;
    struct vec *vecs = arena_alloc(in->arena, (first + e->n_slots) * sizeof(*vecs));
    struct frame f = {vecs, in->n_rows, in->arena};

    if (find_columns(e, in, vecs, ret_cols, err) != OK)
        return err->status;
    if (e->root->kind == NODE_COL)
        return OK;
    memcpy(vecs + e->n_cols, e->consts, e->n_consts * sizeof(*vecs));
    for (size_t i = 0; i < e->n_slots; i++) {
        vecs[first + i].null = arena_alloc(in->arena, in->n_rows);
        vecs[first + i].view = arena_alloc(in->arena, in->n_rows * e->slot_bytes);
        vecs[first + i].mask = SIZE_MAX;
    }
    for (size_t i = 0; i < e->n_steps; i++)
        e->steps[i].run(&e->steps[i], &f);
    for (size_t i = 0; i < e->root->width; i++) {
        ret_cols[i] = (struct col){.name = "", .type = expr_col_type(e), .null = vecs[e->root->vec + i].null};
        ret_cols[i].view = vecs[e->root->vec + i].view;
    }
    return OK;
}

static const enum col_type col_types[] = {COL_BOOL, COL_BOOL, COL_INT, COL_DOUBLE, COL_INT, COL_STRING};

enum col_type expr_col_type(const struct expr *e)
{
    return col_types[e->root->type];
}

bool expr_is_time(const struct expr *e)
{
    return e->root->type == TYPE_TIME;
}

size_t expr_width(const struct expr *e)
{
    return e->root->width;
}

const char *expr_zone_data(const struct expr *e)
{
    return e->zone_data;
}

const struct feature_col *expr_column(const struct expr *e)
{
    return e->root->kind == NODE_COL ? e->root->col : NULL;
}

bool expr_needs(const struct expr *e, const char *col)
{
    for (size_t i = 0; i < e->n_cols; i++)
        if (strcmp(e->cols[i]->name, col) == 0)
            return true;
    return false;
}
