/* common/feature/features_made.h: what the definitions become (features.c, features_windows.c) and each row runs (features_apply.c). */
#ifndef FEATURE_FEATURES_MADE_H
#define FEATURE_FEATURES_MADE_H

#include "feature/aggregates.h"
#include "feature/ahead.h"
#include "feature/expr.h"
#include "feature/items.h"

#define SCALE_DEFAULT 6

/* One output column. */
struct made {
    struct feature_col col;
    const char *family; /* the definition's name */
    const char *over;   /* the window as written, or NULL */
    struct expr *expr;  /* or an aggregate: */
    size_t width;       /* columns that the expression gives: this one and those behind it */
    bool is_input;      /* the expression is the input column of that name: nothing to make */
    const struct aggregate *aggregate;
    struct window window;
    int parts[2]; /* of the window's ring; -1: none */
    int value;
    bool others; /* without the event itself */
    bool is_tiled; /* its tail is kept as tiles */
    double parameter;
    bool is_filled; /* or what a struct ahead or items puts there */
    bool is_join; /* or field `value` of the window's last event; */
    int64_t within_ms; /* as old as this it is not there; 0: however old */
};

struct features {
    struct arena arena;
    struct feature_input *inputs;
    size_t n_inputs, emit;
    struct made *made;
    struct feature_col *cols;
    size_t n_made;
    struct plan plan;
    struct question *asked[2]; /* with the event itself, and without */
    size_t n_asked[2];
    struct count_asked *counts[2]; /* the first ones of asked, as they are asked when no row is late */
    size_t n_counts[2];
    struct ahead *aheads;
    size_t n_aheads;
    struct items *items;
    size_t n_items;
    const char *zone_data; /* the version, where one of them names a zone */
    int64_t replaces_ms;  /* of the input whose is the longest; 0: no row takes another one's place */
    int kept;             /* the ring of the emitting input's rows that may come again; -1: none */
    int revision;         /* its column; -1: none */
    int64_t reach_ms;     /* how far behind a row features may still rest on it */
    struct tumbling *tumbling; /* NULL: features of each row */
    char fingerprint[17];
};

/* An aggregate, and where what it is about lies in the plan. */
struct found_aggregate {
    const struct aggregate *aggregate;
    int ring, value; /* value -1: none */
    double parameter;
};

/* features.c: empty, over copies of the inputs' columns. */
struct features *features_begin(const struct feature_input *inputs, size_t n_inputs, size_t emit);
struct made *features_add_made(struct features *f, const char *name, const char *over, enum col_type type);
/* Once all is made. head: what the definitions do not say. */
void features_set_fingerprint(struct features *f, const char *head, const struct feature_def *defs, size_t n_defs);
enum status features_find_aggregate(struct features *f, const struct feature_def *d, struct found_aggregate *ret, struct error *err);
/* features_apply.c: the number as which an expression's value counts. False: it is not finite, or too large to be summed exactly. */
bool features_value(const struct value *value, const struct col *c, size_t r, double *ret);
/* Sets bad[r] where a row cannot be taken. */
enum status features_judge(const struct features *f, size_t input, const struct batch *in, const char **bad, struct error *err);
/* again.c, once all is made. */
enum status features_keep_rows(struct features *f, struct error *err);
/* features_windows.c: "7d"; false: it is none. */
bool features_duration(const char *text, int64_t *ret_ms);
/* The input of that name; what: who needs it. */
enum status features_find_topic(struct features *f, const struct feature_def *d, const char *what, const char *name, size_t *ret_input,
                                struct error *err);
/* Of the definition's condition, and its time. */
enum status features_find_ring(struct features *f, const struct feature_def *d, size_t input, int *ret_ring, struct error *err);
/* The window of the last event; false: there is no room. */
bool features_last_event(struct plan *p, int ring, int64_t delay_ms, struct window *ret);
/* A definition that is an aggregate, one column for each of its windows. */
enum status features_add_aggregate(struct features *f, const struct feature_def *d, struct error *err);
/* features_columns.c: one column for each field and item of a list. */
enum status features_add_list(struct features *f, const struct feature_def *d, struct error *err);
/* The same of a join, one column for each of its fields. */
enum status features_add_join(struct features *f, const struct feature_def *d, struct error *err);

#endif
