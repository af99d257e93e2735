/* common/model/ubj_walk.h */
/*
 * ubj_walk: a bounded cursor over UBJSON, for ubj.c, ubj_model.c and ubj_tree.c alone.
 *
 * Every function returns false after it has set w->err; a read never passes w->end. Views and arrays point into the
 * bytes.
 */
#ifndef MODEL_UBJ_WALK_H
#define MODEL_UBJ_WALK_H

#include "model/ubj.h"

#define WALK_ITEMS_MAX 2000000 /* keys and items of untyped arrays: 20 of each tree's are ours */

struct walk {
    const uint8_t *begin, *p, *end;
    int depth;
    int n_items;
    struct error *err;
};

struct walk_field {
    const char *name;
    bool (*read)(struct walk *w, void *into);
    bool optional;
};

struct walk_array {
    uint8_t type;        /* 0: untyped; its items follow, see walk_next */
    bool open;           /* untyped without a count */
    size_t n;
    size_t i;
    const uint8_t *data; /* typed: n packed numbers, already passed over */
};

bool walk_fail(struct walk *w, const char *fmt, ...) PRINTF(2, 3);
bool walk_type(struct walk *w, uint8_t *ret_type);
bool walk_mark(struct walk *w, char mark, const char *what);
bool walk_text(struct walk *w, struct view *ret_text);
bool walk_int(struct walk *w, int64_t *ret);
bool walk_count(struct walk *w, int64_t max, int64_t *ret); /* a decimal number in a string: what *_param objects hold */
bool walk_array(struct walk *w, struct walk_array *ret_array);
int walk_next(struct walk *w, struct walk_array *a); /* untyped: 1: an item follows, 0: the end, -1: failed */
bool walk_skip(struct walk *w);

/* Reads an object: known keys by their function, at most once, unknown ones are passed over. n <= 32. */
bool walk_object(struct walk *w, const struct walk_field *fields, size_t n, void *into);

size_t walk_type_bytes(uint8_t type); /* 0: not a number */
int64_t walk_int_at(const uint8_t *p, uint8_t type);
float walk_float_at(const uint8_t *p);

/* The tree at a place of the list; nodes lie in `memory`. */
bool ubj_tree_read(struct walk *w, size_t place, struct arena *memory, struct ubj_tree *ret_tree, uint32_t *ret_n_features);

#endif
