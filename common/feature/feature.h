/* common/feature/feature.h */
/*
 * feature: declared features, compiled once, computed the same way when serving, backfilling, training.
 *
 * Shape    inputs (columns of each topic that feeds the stage) and definitions go in; a struct features comes
 *          out: which input columns it needs, which columns it makes, and the step that makes them.
 * Windows  (t-w-delay, t-delay], t the row's event time, the row itself included when delay is 0 unless it is `others`; the last N events, or
 *          those of a session, up to t-delay; all up to there. `over` gives one column per window, named <name>_<window>; an expression over
 *          such a family makes a family. How: docs/adr/0007.
 * Joins    the fields, as they are, of the last event up to t-delay of another input: text is text; or of what was known by then of times ahead.
 * Exact    values are rounded once to the column's declared scale (default 6 decimals) and summed as 128-bit
 *          integers: no order of arrival shows in any bit. Rows out of order are inserted in place.
 * Replaced where an input's rows take each other's place, features are of the rows as they are now. docs/adr/0010.
 * Null     a null or absent value is not counted, summed or averaged; mean of nothing is null; an operation on
 *          null is null; division by zero is null.
 * Wide     words and ngrams give k columns, <name>_0 to <name>_<k-1>: a family, as windows are.
 * Errors   features_new: ERR_FATAL with feature, position and nearest name. features_apply: per row, in `bad`.
 * Threads  immutable but for the state that the caller passes.
 */
#ifndef FEATURE_FEATURE_H
#define FEATURE_FEATURE_H

#include "base/batch.h"
#include "state/state.h"

struct feature_col {
    const char *name;
    enum col_type type;
    bool is_time; /* of COL_INT: a time, no integer, to expressions */
    int scale;    /* decimals for exact sums; -1: 6 */
};

struct feature_input {
    const char *name; /* the topic's name in the wiring */
    const struct feature_col *cols;
    size_t n_cols;
    int64_t replaces_ms; /* a row takes the place of the one of its key and time, which may be this far behind; 0: each is a row of its own */
    const struct feature_col *passed; /* of the emitting input, what goes on with a row and no feature speaks of: lists, fields of records within */
    size_t n_passed;
};

struct schema;

struct feature_def {
    const char *name;
    const char *expr;      /* an expression, or NULL */
    const char *aggregate; /* a name of the table in aggregates.c, or NULL */
    const char *join;      /* the name of an input before the emitting one, or NULL: its latest event's fields, as columns <name>_<field> */
    const char *const *fields;
    size_t n_fields;
    const char *within;    /* of a join: what is as old as this is not there; NULL: however old */
    const char *valid;     /* of a join: the time that a record is for, over the fields of that input: columns <name>_<field>_ahead<k> of what it says of
                              the steps 1 to `ahead` behind the event, each `every` long, a day of `zone` (NULL: UTC); NULL: the latest event's */
    const char *every, *zone;
    size_t ahead;
    const char *list;      /* or a field of the emitting input that is a list of records, or NULL: `fields` of its first n_items, as columns <name>_<field>_<k> */
    const struct schema *item;
    size_t n_items;
    const char *of;        /* an input's name (count, rate, since), or an expression over the columns of one input */
    const char *const *over; /* windows as written: "1d"; "last10": events; "gap30m": a session; "ever" */
    size_t n_over;
    const char *resolution; /* of windows by time: their tail is kept as tiles of this length (tiles.c); NULL: as events */
    const char *delay; /* NULL: none */
    const char *where; /* a condition over the same input: other events are not there; NULL: none */
    bool others;       /* without the event itself */
    bool has_parameter;
    double parameter;  /* quantile's share, top's rank */
    bool has_fill;     /* of a tumbling window alone (tumbling.h) */
    double fill;
};

struct features;

/* emit: the input whose rows come out with features; the others only feed state. */
enum status features_new(const struct feature_input *inputs, size_t n_inputs, size_t emit, const struct feature_def *defs,
                         size_t n_defs, struct features **ret_features, struct error *err);
void features_free(struct features *f);

/* Columns made, in order of definition. */
size_t features_n_cols(const struct features *f);
const struct feature_col *features_cols(const struct features *f);
/* The definition that makes column i: several, with several windows or words. */
const char *features_family(const struct features *f, size_t i);
/* How far back column i looks by time, its delay included, and into which input; 0: it does not (an expression; the last n and since ever without a delay). */
int64_t features_reach(const struct features *f, size_t i, size_t *ret_input);
/* Whether input column i must be decoded. */
bool features_needs(const struct features *f, size_t input, const char *col);
/* 16 hex digits over the canonical definitions, and the zone data's version where they name a zone: equal definitions, equal feature set. */
const char *features_fingerprint(const struct features *f);
bool features_has_state(const struct features *f);

/* Rows of one input, in the order in which the log decided. keys[r] and event_ms[r] belong to row r; rows with
 * bad[r] != NULL are passed over; a row that cannot be computed gets bad[r] (arena text). For the emitting
 * input the feature columns are added to `in`. at: the event-time progress of the emitting input before the batch, and lateness_ms
 * how far behind it that input's rows may be: nothing older than at - lateness_ms - longest window - delay is kept, for no row can
 * ask for it, however far the other inputs are. commit: see state_dirty. */
enum status features_apply(const struct features *f, struct state *s, size_t input, struct batch *in,
                           const struct view *keys, const int64_t *event_ms, const char **bad, int64_t at,
                           int64_t lateness_ms, int64_t commit, struct error *err);

/* Whether the emitting input's rows take each other's place, and features rest on more than the row itself: features_again goes before
 * features_apply then. */
bool features_has_again(const struct features *f);

/* Rows made of a batch's, in the order in which they come out. */
struct features_rows {
    struct batch cols;  /* of the emitting input, the passed ones too */
    uint32_t *parent;   /* per row: the batch's */
    struct view *keys;
    int64_t *event_ms;
    const char **bad;   /* none is */
};

/* Each good row of the batch, and behind it those later ones of its key that are out already and rest on it, as they were; with the field
 * `revision`, where there is one, as how often it came out before. Those that cannot be taken get bad[r]. The other arguments are those of
 * features_apply, which then goes over what comes of it, all of which lives in the batch's arena. */
enum status features_again(const struct features *f, struct state *s, struct batch *in, const struct view *keys, const int64_t *event_ms,
                           const char **bad, int64_t at, int64_t lateness_ms, int64_t commit, struct features_rows *ret, struct error *err);

/* Whether features_apply may go on with a key's value that comes from outside (a changelog); ERR_FATAL says what cannot be. */
enum status features_check(const struct features *f, struct view value, struct error *err);

/* Aggregates, functions and what a key takes as Markdown tables: what docs/features.md holds. */
void features_reference(struct bytes *out);

/* One expression over the columns of a batch (rules, "when" conditions). cols are not kept. */
struct expr;
enum status expr_new(const char *text, const struct feature_col *cols, size_t n_cols, struct expr **ret_expr,
                     enum col_type *ret_type, struct error *err);
void expr_free(struct expr *e);
/* A word of the language, which can be no column's name. */
bool expr_is_word(const char *name);
bool expr_needs(const struct expr *e, const char *col);
/* The result as a column that is not part of the batch (its arena's memory, or the field's that it is). */
enum status expr_eval(const struct expr *e, const struct batch *in, struct col *ret_col, struct error *err);

#endif
