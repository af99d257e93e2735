#include "base/batch.h"

#include <string.h>

const char *col_type_name(enum col_type type)
{
    static const char *const names[] = {"boolean", "integer", "number", "string", "bytes", "nested value"};

    return names[type];
}

void batch_init(struct batch *b, struct arena *arena, size_t cap_rows)
{
    *b = (struct batch){.arena = arena, .cap_rows = cap_rows};
}

static struct col *next_col(struct batch *b)
{
    if (b->n_cols == b->cap_cols) {
        size_t cap = b->cap_cols ? b->cap_cols * 2 : 32;
        struct col *cols = arena_alloc(b->arena, cap * sizeof(*cols));

        if (b->n_cols != 0)
            memcpy(cols, b->cols, b->n_cols * sizeof(*cols));
        b->cols = cols;
        b->cap_cols = cap;
    }
    return &b->cols[b->n_cols++];
}

struct col *batch_add_col(struct batch *b, const char *name, enum col_type type)
{
    struct col *c = next_col(b);
    size_t size = type >= COL_STRING ? sizeof(struct view) : sizeof(int64_t);

    c->name = name;
    c->type = type;
    c->null = arena_zalloc(b->arena, b->cap_rows);
    c->i64 = arena_zalloc(b->arena, b->cap_rows * size);
    return c;
}

void batch_share_col(struct batch *b, const struct col *col)
{
    *next_col(b) = *col;
}

struct col *batch_col(const struct batch *b, const char *name)
{
    for (size_t i = 0; i < b->n_cols; i++)
        if (strcmp(b->cols[i].name, name) == 0)
            return &b->cols[i];
    return NULL;
}
