/*
 * again: the emitting input's rows where they take each other's place: a correction, and the rows behind it that rest on it.
 *
 * A ring beside those of the aggregates keeps each row whole (fields.h), with how often it came out, until none of its time or before
 * can come any more. A row that comes is put there, in the place of its former one; those behind it, which are out already, come out
 * again as they are kept. To features_apply all of them are rows that take their own former place. docs/adr/0010.
 */
#include "feature/features_made.h"
#include "feature/fields.h"
#include "feature/tumbling.h"

static bool rests_on_past(const struct features *f)
{
    for (size_t i = 0; i < f->plan.n_rings; i++)
        if (f->plan.rings[i].input == f->emit)
            return true;
    return false;
}

static const struct feature_col *whole_row(struct features *f, const struct feature_input *input)
{
    struct feature_col *all = arena_alloc(&f->arena, (input->n_cols + input->n_passed + 1) * sizeof(*all));

    if (input->n_cols)
        memcpy(all, input->cols, input->n_cols * sizeof(*all));
    if (input->n_passed)
        memcpy(all + input->n_cols, input->passed, input->n_passed * sizeof(*all));
    return all;
}

enum status features_keep_rows(struct features *f, struct error *err)
{
    const struct feature_input *input = &f->inputs[f->emit];

    for (size_t i = 0; i < f->n_inputs; i++)
        f->replaces_ms = f->inputs[i].replaces_ms > f->replaces_ms ? f->inputs[i].replaces_ms : f->replaces_ms;
    for (size_t i = 0; i < f->plan.n_rings; i++) {
        struct ring_def *r = &f->plan.rings[i];
        int64_t reach_ms = r->keeps_all ? INT64_MAX : r->horizon_ms;

        r->replaces = f->inputs[r->input].replaces_ms != 0;
        if (r->input == f->emit && reach_ms > f->reach_ms)
            f->reach_ms = reach_ms;
    }
    if (input->replaces_ms == 0 || !rests_on_past(f))
        return OK;
    if (f->n_items)
        return err_set(err, ERR_FATAL, "a list, and features of the rows before, of rows that take each other's place: take '%s' apart in a stage of its own",
                       f->items[0].list);
    f->kept = plan_ring(&f->plan, KEPT, NULL, NULL, NULL, NULL);
    if (f->kept < 0)
        return err_set(err, ERR_FATAL, "more than %d different inputs and conditions in one stage", RINGS_MAX - 1);
    f->plan.rings[f->kept].fields = whole_row(f, input);
    f->plan.rings[f->kept].n_fields = input->n_cols + input->n_passed;
    for (size_t i = 0; i < input->n_cols; i++)
        if (strcmp(input->cols[i].name, TUMBLING_REVISION) == 0 && input->cols[i].type == COL_INT)
            f->revision = (int)i;
    return OK;
}

bool features_has_again(const struct features *f)
{
    return f->kept >= 0;
}

struct again {
    const struct features *f;
    const struct ring_def *def;
    struct past past;
    const struct batch *in;
    const struct col **cols; /* of the input's columns, those of the batch */
    const struct view *keys;
    struct features_rows *out;
};

static size_t value_bytes(enum col_type type)
{
    return type >= COL_STRING ? sizeof(struct view) : sizeof(int64_t);
}

/* Twice the room. */
static void grow(struct features_rows *rows)
{
    struct batch *to = &rows->cols, old = *to;
    size_t n = old.n_rows;

    batch_init(to, old.arena, old.cap_rows * 2);
    to->n_rows = n;
    for (size_t i = 0; i < old.n_cols; i++) {
        struct col *c = batch_add_col(to, old.cols[i].name, old.cols[i].type);

        memcpy(c->null, old.cols[i].null, n);
        memcpy(c->i64, old.cols[i].i64, n * value_bytes(c->type));
    }
    rows->parent = memcpy(arena_alloc(old.arena, to->cap_rows * sizeof(*rows->parent)), rows->parent, n * sizeof(*rows->parent));
    rows->keys = memcpy(arena_alloc(old.arena, to->cap_rows * sizeof(*rows->keys)), rows->keys, n * sizeof(*rows->keys));
    rows->event_ms = memcpy(arena_alloc(old.arena, to->cap_rows * sizeof(*rows->event_ms)), rows->event_ms, n * sizeof(*rows->event_ms));
}

static void begin_rows(const struct again *a)
{
    struct features_rows *rows = a->out;
    size_t cap = a->in->n_rows + 1;

    *rows = (struct features_rows){.parent = arena_alloc(a->in->arena, cap * sizeof(*rows->parent)),
                                   .keys = arena_alloc(a->in->arena, cap * sizeof(*rows->keys)),
                                   .event_ms = arena_alloc(a->in->arena, cap * sizeof(*rows->event_ms))};
    batch_init(&rows->cols, a->in->arena, cap);
    for (size_t i = 0; i < a->def->n_fields; i++)
        batch_add_col(&rows->cols, a->def->fields[i].name, a->def->fields[i].type);
}

static size_t add_row(const struct again *a, size_t parent, int64_t event_ms)
{
    struct features_rows *rows = a->out;
    size_t r = rows->cols.n_rows;

    if (r == rows->cols.cap_rows)
        grow(rows);
    rows->parent[r] = (uint32_t)parent;
    rows->keys[r] = a->keys[parent];
    rows->event_ms[r] = event_ms;
    rows->cols.n_rows++;
    return r;
}

static void add_taken(const struct again *a, size_t parent, int64_t event_ms)
{
    size_t r = add_row(a, parent, event_ms);

    for (size_t i = 0; i < a->def->n_fields; i++) {
        struct col *to = &a->out->cols.cols[i];

        to->null[r] = a->cols[i]->null[parent];
        if (to->type >= COL_STRING)
            to->view[r] = a->cols[i]->view[parent];
        else
            to->i64[r] = a->cols[i]->i64[parent];
    }
}

static void add_kept(const struct again *a, size_t parent, uint32_t row)
{
    size_t r = add_row(a, parent, row_of(&a->past, row)->ms);
    uint32_t place = (uint32_t)row_of(&a->past, row)->v[0];

    for (size_t i = 0; i < a->def->n_fields; i++)
        fields_get(&a->past, a->def, place, i, a->in->arena, &a->out->cols.cols[i], r);
}

static void set_revision(struct again *a, uint32_t place, int64_t revision)
{
    if (a->f->revision >= 0)
        fields_set(&a->past, a->def, place, (size_t)a->f->revision, revision);
}

static int64_t revision_of(const struct again *a, uint32_t row)
{
    return a->f->revision < 0 ? 0 : fields_int(&a->past, a->def, (uint32_t)row_of(&a->past, row)->v[0], (size_t)a->f->revision);
}

static void add_later(struct again *a, size_t parent, int64_t event_ms)
{
    uint32_t row = ring_find(&a->past, a->def, event_ms).row;

    while ((row = ring_next(&a->past, a->def, row)) != 0 && row_of(&a->past, row)->ms - event_ms < a->f->reach_ms) {
        set_revision(a, (uint32_t)row_of(&a->past, row)->v[0], revision_of(a, row) + 1);
        add_kept(a, parent, row);
    }
}

/* False: there is no room, and the past says why. */
static bool put_row(struct again *a, size_t r, int64_t event_ms, int64_t floor)
{
    const struct moments m = {INT64_MIN, floor};
    struct past *p = &a->past;
    uint32_t former, place;

    ring_seek(p, a->def, m);
    ring_trim(p, a->def);
    add_taken(a, r, event_ms);
    if (event_ms <= floor) /* later than it may be: nothing is kept any more of its time */
        return true;
    former = ring_find(p, a->def, event_ms).row;
    if (former && a->f->revision >= 0)
        a->out->cols.cols[a->f->revision].i64[a->out->cols.n_rows - 1] = revision_of(a, former) + 1;
    place = fields_put(p, a->def, a->cols, r);
    if (place == 0)
        return false;
    if (former) {
        set_revision(a, place, revision_of(a, former) + 1);
        ring_remove(p, a->def, m, event_ms);
    }
    ring_put(p, a->def, m, event_ms, &(double){place});
    if (p->st == OK)
        add_later(a, r, event_ms);
    return p->st == OK;
}

static void judge_size(const struct again *a, const char **bad)
{
    for (size_t r = 0; r < a->in->n_rows; r++)
        if (bad[r] == NULL && fields_bytes(a->def, a->cols, r) > FIELDS_BYTES_MAX)
            bad[r] = arena_printf(a->in->arena, "range: the row has %zu bytes; where rows take each other's place, %zu is the most",
                                  fields_bytes(a->def, a->cols, r), FIELDS_BYTES_MAX);
}

enum status features_again(const struct features *f, struct state *s, struct batch *in, const struct view *keys, const int64_t *event_ms,
                           const char **bad, int64_t at, int64_t lateness_ms, int64_t commit, struct features_rows *ret, struct error *err)
{
    struct again a = {.f = f, .def = &f->plan.rings[f->kept], .in = in, .keys = keys, .out = ret,
                      .past = {.plan = &f->plan, .state = s, .arena = in->arena, .commit = commit, .err = err}};

    a.cols = arena_alloc(in->arena, a.def->n_fields * sizeof(*a.cols));
    for (size_t i = 0; i < a.def->n_fields; i++)
        a.cols[i] = batch_col(in, a.def->fields[i].name);
    if (features_judge(f, f->emit, in, bad, err) != OK)
        return err->status;
    judge_size(&a, bad);
    begin_rows(&a);
    lateness_ms = lateness_ms > f->replaces_ms ? lateness_ms : f->replaces_ms;
    for (size_t r = 0; r < in->n_rows; r++) {
        struct entry *e;

        if (bad[r])
            continue;
        at = event_ms[r] > at ? event_ms[r] : at;
        e = state_get(s, keys[r], err);
        if (e == NULL)
            return err->status;
        past_open(&a.past, e);
        if (a.past.st != OK || !put_row(&a, r, event_ms[r], at > INT64_MIN + lateness_ms ? at - lateness_ms : INT64_MIN))
            return a.past.st;
        state_dirty(s, e, 0, 1, commit);
    }
    ret->bad = arena_zalloc(in->arena, (ret->cols.n_rows + 1) * sizeof(*ret->bad));
    return OK;
}
