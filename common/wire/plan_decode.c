/*
 * Decoding: one operation per wanted field or run of skipped ones, in the order of the bytes. A nullable
 * record is OP_NULLABLE with a jump over its operations; the columns between are then null. A value
 * that is wanted whole stands between OP_OPEN and OP_CLOSE.
 */
#include "wire/plan_ops.h"

static enum status make_record(struct maker *m, const struct schema *w, const struct schema *r, const char *prefix,
                               bool keep);

static struct op *add_op(struct maker *m, enum op_code code, const char *path)
{
    struct decode_plan *p = m->plan;

    if (p->n_ops == p->cap_ops) {
        p->cap_ops = p->cap_ops ? p->cap_ops * 2 : 32;
        p->ops = xrealloc(p->ops, p->cap_ops * sizeof(*p->ops));
    }
    p->ops[p->n_ops] = (struct op){.code = (uint8_t)code, .path = path};
    return &p->ops[p->n_ops++];
}

static struct op *add_col_op(struct maker *m, enum op_code code, size_t col)
{
    struct op *op = add_op(m, code, m->want[col].path);

    op->col = (uint16_t)col;
    return op;
}

static void add_skip(struct maker *m, enum op_code code, size_t n, const char *path)
{
    struct decode_plan *p = m->plan;

    if (p->n_ops > m->barrier && p->ops[p->n_ops - 1].code == code && code != OP_SKIP_INT)
        p->ops[p->n_ops - 1].n += n;
    else
        add_op(m, code, path)->n = n;
}

/* 1 + the index of null of a union of null and one other, else 0. */
static uint8_t null_at(const struct schema *s)
{
    if (schema_unwrap(s) == s)
        return 0;
    return s->branches[0]->type == SCHEMA_NULL ? 1 : 2;
}

/* What follows OP_NULLABLE at `jump` is at its end. */
static void end_nullable(struct maker *m, size_t jump)
{
    m->plan->ops[jump].to = (uint32_t)m->plan->n_ops;
    m->barrier = m->plan->n_ops;
}

/* The operation that skips a value of one form; its n in *ret_n. -1: none, it goes by its schema. */
static int skip_code(const struct schema *s, bool keep, size_t *ret_n)
{
    *ret_n = 1;
    switch (s->type) {
    case SCHEMA_FLOAT:
        *ret_n = 4;
        return OP_SKIP_FIXED;
    case SCHEMA_DOUBLE:
        *ret_n = 8;
        return OP_SKIP_FIXED;
    case SCHEMA_FIXED:
        *ret_n = s->fixed_bytes;
        return OP_SKIP_FIXED;
    case SCHEMA_INT:
        return OP_SKIP_INT;
    case SCHEMA_LONG:
        return OP_SKIP_LONGS;
    case SCHEMA_BYTES:
        return OP_SKIP_BYTES;
    case SCHEMA_STRING:
        return keep ? -1 : OP_SKIP_BYTES;
    default:
        return -1;
    }
}

/* Items of plain fields, each of a byte at least, for the first is. */
static bool are_plain(const struct schema *items, bool keep)
{
    size_t n;

    if (items->type != SCHEMA_RECORD || items->n == 0 || skip_code(items->fields[0].type, keep, &n) <= OP_SKIP_FIXED)
        return false;
    for (size_t i = 1; i < items->n; i++)
        if (skip_code(items->fields[i].type, keep, &n) < 0)
            return false;
    return true;
}

static void make_skip(struct maker *m, const struct schema *s, const char *path, bool keep);

static void make_skip_items(struct maker *m, const struct schema *s, const char *path, bool keep)
{
    size_t at = m->plan->n_ops;

    add_op(m, OP_SKIP_ITEMS, path);
    m->barrier = at + 1;
    make_skip(m, s->items, path, keep);
    m->plan->ops[at].to = (uint32_t)m->plan->n_ops;
    m->barrier = m->plan->n_ops;
}

static void make_skip(struct maker *m, const struct schema *s, const char *path, bool keep)
{
    size_t jump = m->plan->n_ops, n;
    int code = skip_code(schema_unwrap(s), keep, &n);

    if (code >= 0 && null_at(s) != 0) {
        struct op *op = add_op(m, (enum op_code)code, path);

        op->null_at = null_at(s);
        op->n = n;
        m->barrier = m->plan->n_ops;
        return;
    }
    if (null_at(s) != 0) {
        add_op(m, OP_NULLABLE, path)->null_at = null_at(s);
        make_skip(m, schema_unwrap(s), path, keep);
        end_nullable(m, jump);
        return;
    }
    if (code >= 0)
        add_skip(m, (enum op_code)code, n, path);
    else if (s->type == SCHEMA_RECORD)
        for (size_t i = 0; i < s->n; i++)
            make_skip(m, s->fields[i].type, arena_printf(&m->plan->arena, "%s.%s", path, s->fields[i].name), keep);
    else if (s->type == SCHEMA_ARRAY && are_plain(s->items, keep))
        make_skip_items(m, s, path, keep);
    else if (s->type != SCHEMA_NULL)
        add_op(m, keep ? OP_KEEP_VALUE : OP_SKIP_VALUE, path)->schema = s;
}

static bool is_micros(const struct schema *s)
{
    return s->logical != NULL &&
           (strcmp(s->logical, "timestamp-micros") == 0 || strcmp(s->logical, "local-timestamp-micros") == 0);
}

/* How a leaf of this type becomes a column of that type, or -1. */
static int leaf_code(const struct schema *s, enum col_type type)
{
    bool f64 = type == COL_DOUBLE;

    switch (s->type) {
    case SCHEMA_NULL:
        return OP_NULL;
    case SCHEMA_BOOLEAN:
        return type == COL_BOOL ? OP_BOOLEAN : -1;
    case SCHEMA_INT:
        return type == COL_INT ? OP_INT : f64 ? OP_INT_F64 : -1;
    case SCHEMA_LONG:
        if (is_micros(s))
            return type == COL_INT ? OP_MICROS : f64 ? OP_MICROS_F64 : -1;
        return type == COL_INT ? OP_LONG : f64 ? OP_LONG_F64 : -1;
    case SCHEMA_FLOAT:
        return f64 ? OP_FLOAT : -1;
    case SCHEMA_DOUBLE:
        return f64 ? OP_DOUBLE : -1;
    case SCHEMA_BYTES:
    case SCHEMA_STRING:
        return type == COL_STRING ? OP_TEXT : type == COL_BYTES ? OP_BYTES : -1;
    case SCHEMA_FIXED:
        return type == COL_BYTES ? OP_FIXED : -1;
    case SCHEMA_ENUM:
        return type == COL_STRING ? OP_ENUM : -1;
    default:
        return -1;
    }
}

/* What can be wanted whole. */
static bool is_nested(const struct schema *s)
{
    return s->type == SCHEMA_RECORD || s->type == SCHEMA_ARRAY || s->type == SCHEMA_MAP || s->type == SCHEMA_UNION;
}

static enum status wrong_want(struct maker *m, const struct want *w, const struct schema *s)
{
    return err_set(m->err, ERR_FATAL, "field '%s' is %s, wanted as %s", w->path, schema_type_name(s),
                   col_type_name(w->type));
}

static enum status make_leaf(struct maker *m, const struct schema *s, size_t col)
{
    const struct schema *leaf = schema_unwrap(s);
    int code = leaf_code(leaf, m->want[col].type);
    struct view *symbols;
    struct op *op;

    if (code < 0)
        return wrong_want(m, &m->want[col], leaf);
    op = add_col_op(m, (enum op_code)code, col);
    op->null_at = null_at(s);
    if (code == OP_FIXED)
        op->n = leaf->fixed_bytes;
    if (code == OP_ENUM) {
        op->n = leaf->n;
        symbols = arena_alloc(&m->plan->arena, leaf->n * sizeof(*symbols));
        for (size_t i = 0; i < leaf->n; i++) {
            const char *symbol = arena_strdup(&m->plan->arena, leaf->symbols[i]);

            symbols[i] = view_str(symbol);
        }
        op->symbols = symbols;
    }
    return OK;
}

/* What a default (not null, and it fits: the schema was checked) is in a column. */
static enum status constant_of(struct maker *m, const struct schema *s, const json_t *v, const struct want *w,
                               struct constant *c)
{
    struct arena *a = &m->plan->arena;
    struct bytes b = BYTES_EMPTY;
    enum status st;
    int64_t i;
    size_t head = 0;

    switch (w->type) {
    case COL_BOOL:
        c->i64 = json_is_true(v);
        return OK;
    case COL_INT:
        i = json_integer_value(v);
        c->i64 = is_micros(s) ? i / 1000 - (i % 1000 < 0) : i;
        return OK;
    case COL_DOUBLE:
        c->f64 = json_number_value(v) / (is_micros(s) ? 1000 : 1);
        return OK;
    case COL_STRING:
        if (s->type != SCHEMA_BYTES) {
            c->view = view_of(arena_copy(a, json_string_value(v), json_string_length(v)), json_string_length(v));
            return OK;
        }
        break;
    default:
        break;
    }
    st = schema_encode_default(s, v, &b, m->err);
    if (st == OK && (s->type == SCHEMA_BYTES || s->type == SCHEMA_STRING)) {
        while (b.data[head] >= 0x80)
            head++;
        head++;
    }
    if (st == OK)
        c->view = view_of(arena_copy(a, b.data + head, b.n - head), b.n - head);
    bytes_done(&b);
    return st;
}

static enum status missing(struct maker *m, const struct want *w, const struct schema *writer)
{
    const char *near = schema_nearest(writer, strrchr(w->path, '.') ? strrchr(w->path, '.') + 1 : w->path);

    return err_set(m->err, ERR_FATAL, "field '%s' is not in %s%s%s%s, and the reader has no default for it", w->path,
                   schema_type_name(writer), near[0] ? " (nearest: '" : "", near, near[0] ? "')" : "");
}

/* A wanted field that the writer lacks, at `rest` of the reader's record: its default or null. */
static enum status make_const(struct maker *m, const struct schema *writer, const struct schema *r, const char *rest,
                              size_t col)
{
    const struct want *w = &m->want[col];
    struct constant *c = arena_zalloc(&m->plan->arena, sizeof(*c));
    const struct schema *s = r ? schema_at(r, rest) : NULL;
    const json_t *v = NULL;
    bool nullable = false;
    bool first = true;

    if (s == NULL)
        return missing(m, w, writer);
    for (; rest[0] != '\0' && !json_is_null(v); first = false) {
        size_t n = strcspn(rest, ".");
        const char *name = arena_printf(&m->plan->arena, "%.*s", (int)n, rest);
        const struct schema_field *f = schema_field(schema_unwrap(r), name);
        const json_t *inner = first ? NULL : json_object_get(v, name);

        v = inner ? inner : f->deflt;
        nullable = nullable || null_at(f->type) != 0 || f->type->type == SCHEMA_NULL;
        if (v == NULL && !nullable)
            return missing(m, w, writer);
        if (v == NULL)
            break;
        r = f->type;
        rest += n + (rest[n] == '.');
    }
    if (w->type == COL_AVRO ? !is_nested(schema_unwrap(s)) : leaf_code(schema_unwrap(s), w->type) < 0)
        return wrong_want(m, w, s);
    c->is_null = v == NULL || json_is_null(v);
    add_col_op(m, OP_CONST, col)->constant = c;
    return c->is_null ? OK : constant_of(m, schema_unwrap(s), v, w, c);
}

/* Readers of a nested value know its schema as the reader's: the bytes must be of the same form. */
static enum status check_whole(struct maker *m, const struct schema *w, const struct schema *r, size_t col)
{
    struct bytes a = BYTES_EMPTY;
    struct bytes b = BYTES_EMPTY;
    bool same;

    if (r == NULL)
        return OK;
    schema_write_canonical(w, &a);
    schema_write_canonical(schema_unwrap(r), &b);
    same = a.n == b.n && memcmp(a.data, b.data, a.n) == 0;
    bytes_done(&a);
    bytes_done(&b);
    if (same)
        return OK;
    return err_set(m->err, ERR_FATAL,
                   "field '%s' is wanted whole, and the writer's schema of it is not the reader's", m->want[col].path);
}

static bool wanted_below(const struct maker *m, const char *path)
{
    size_t n = strlen(path);

    for (size_t i = 0; i < m->n_want; i++)
        if (strncmp(m->want[i].path, path, n) == 0 && m->want[i].path[n] == '.')
            return true;
    return false;
}

static long wanted_at(const struct maker *m, const char *path)
{
    for (size_t i = 0; i < m->n_want; i++)
        if (strcmp(m->want[i].path, path) == 0)
            return (long)i;
    return -1;
}

static enum status make_field(struct maker *m, const struct schema *w, const struct schema *r, const char *path,
                              bool keep)
{
    const struct schema *inner = schema_unwrap(w);
    bool below = wanted_below(m, path);
    long col = wanted_at(m, path);
    bool whole = col >= 0 && m->want[col].type == COL_AVRO;
    size_t jump = m->plan->n_ops;
    enum status st = OK;

    if (below && inner->type != SCHEMA_RECORD)
        return err_set(m->err, ERR_FATAL, "field '%s' is %s: it has no fields, but some are wanted", path,
                       schema_type_name(inner));
    if (col >= 0 && !whole)
        return make_leaf(m, w, (size_t)col);
    if (!below && col < 0) {
        make_skip(m, w, path, keep);
        return OK;
    }
    if (whole && leaf_code(inner, COL_AVRO) >= 0)
        return make_leaf(m, w, (size_t)col);
    if (whole && !is_nested(inner))
        return wrong_want(m, &m->want[col], inner);
    if (null_at(w) != 0)
        add_op(m, OP_NULLABLE, path)->null_at = null_at(w);
    if (whole) {
        st = check_whole(m, inner, r, (size_t)col);
        add_col_op(m, OP_OPEN, (size_t)col);
    }
    if (st == OK && below)
        st = make_record(m, inner, r ? schema_unwrap(r) : NULL, path, keep || whole);
    else if (st == OK)
        make_skip(m, inner, path, true);
    if (whole)
        add_col_op(m, OP_CLOSE, (size_t)col);
    if (null_at(w) != 0)
        end_nullable(m, jump);
    return st;
}

/* The wanted fields of a record that its writer lacks come last: so they are null when it is. */
static enum status make_record(struct maker *m, const struct schema *w, const struct schema *r, const char *prefix,
                               bool keep)
{
    size_t n_prefix = prefix[0] ? strlen(prefix) + 1 : 0;

    for (size_t i = 0; i < w->n; i++) {
        const char *path = arena_printf(&m->plan->arena, "%s%s%s", prefix, prefix[0] ? "." : "", w->fields[i].name);
        const struct schema_field *f = r ? schema_field(r, w->fields[i].name) : NULL;

        if (make_field(m, w->fields[i].type, f ? f->type : NULL, path, keep) != OK)
            return m->err->status;
    }
    for (size_t i = 0; i < m->n_want; i++) {
        const char *rest = m->want[i].path + n_prefix;
        char name[256];

        if (n_prefix != 0 && (strncmp(m->want[i].path, prefix, n_prefix - 1) != 0 || rest[-1] != '.'))
            continue;
        if (strcspn(rest, ".") >= sizeof(name))
            return missing(m, &m->want[i], w);
        memcpy(name, rest, strcspn(rest, "."));
        name[strcspn(rest, ".")] = '\0';
        if (schema_field(w, name) == NULL && make_const(m, w, r, rest, i) != OK)
            return m->err->status;
    }
    return OK;
}

enum status decode_plan_new(const struct schema *writer, const struct schema *reader, const struct want *want,
                            size_t n_want, struct decode_plan **ret_plan, struct error *err)
{
    struct decode_plan *p = xcalloc(1, sizeof(*p));
    struct maker m = {.plan = p, .want = want, .n_want = n_want, .err = err};
    enum status st = OK;

    p->n_cols = n_want;
    if (n_want > UINT16_MAX)
        st = err_set(err, ERR_FATAL, "%zu columns; at most %d", n_want, UINT16_MAX);
    else if (writer->type != SCHEMA_RECORD || (reader && reader->type != SCHEMA_RECORD))
        st = err_set(err, ERR_FATAL, "the schema is %s; a topic's values are records",
                     schema_type_name(writer->type != SCHEMA_RECORD ? writer : reader));
    for (size_t i = 0; i < n_want && st == OK; i++)
        if (wanted_at(&m, want[i].path) != (long)i)
            st = err_set(err, ERR_FATAL, "field '%s' is wanted twice", want[i].path);
    if (st == OK)
        st = make_record(&m, writer, reader, "", false);
    add_op(&m, OP_END, "");
    if (st != OK) {
        decode_plan_free(p);
        return st;
    }
    /* The paths are the caller's; a plan lives on its own. */
    for (size_t i = 0; i < p->n_ops; i++)
        p->ops[i].path = arena_strdup(&p->arena, p->ops[i].path);
    *ret_plan = p;
    return OK;
}

void decode_plan_free(struct decode_plan *p)
{
    if (p == NULL)
        return;
    arena_done(&p->arena);
    free(p->ops);
    free(p);
}

/* -- rows -- */
